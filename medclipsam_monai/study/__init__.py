"""Studies: one table of images and masks, many ways to segment it by text, scores for each."""
