"""Zero-shot masks to learn from: `write_pseudo_labels`, and `apply_gate` with a `Gate`, which keeps the good ones."""
