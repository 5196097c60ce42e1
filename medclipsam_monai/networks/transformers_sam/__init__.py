"""Promptable segmenters whose networks are the transformers library's own classes."""
