"""CLIP, cut in two at a vision block."""
