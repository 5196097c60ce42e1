"""Saliency methods, one call signature: ``method(encoder, image, text) -> (B, K, H, W)`` in [0, 1]."""
