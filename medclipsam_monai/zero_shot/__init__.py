"""Text and image in, masks out: the stages, the network they make, images kept open, and what is saved."""
