"""What a visitor has: the image, what was asked of it, the answer; all that needs no web framework."""
