"""Weights as files: which exist, how they are got, checked, read, converted and written."""
