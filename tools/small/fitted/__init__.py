"""What is fitted to trained weights and goes into a preset: kinds of pictures that are known, and presence."""
