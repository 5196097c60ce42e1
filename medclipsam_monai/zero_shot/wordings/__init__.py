"""The same class in other words: how much a mask depends on the wording."""
