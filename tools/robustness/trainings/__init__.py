"""Trainings that are killed: fine-tuning of a CLIP by the bundle's own configuration, and nnU-Net's cyclic training."""
