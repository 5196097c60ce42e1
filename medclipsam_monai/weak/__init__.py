"""Weak supervision: zero-shot masks train an nnU-Net, whose checkpoints give a mask and how unsure they are of it."""
