"""SAM, its image encoder and its decoder apart."""
