"""Correction by hand: clicks and boxes in an opened image, and what the segmenter makes of them."""
