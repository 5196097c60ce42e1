"""How an opened image and a segmentation show themselves: as a picture, a figure of the stages, or a volume to turn."""
