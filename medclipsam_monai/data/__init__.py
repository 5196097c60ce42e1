"""Data sets: image-text pairs and phantoms."""
