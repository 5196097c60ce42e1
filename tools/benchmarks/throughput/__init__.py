"""How many pictures a second a folder takes beside what the networks take by themselves, and how much memory."""
