"""Image-text pairs, as tables, tensors and batches."""
