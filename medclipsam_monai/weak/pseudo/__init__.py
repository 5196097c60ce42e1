"""Zero-shot masks to learn from, and the gate that keeps the good ones."""
