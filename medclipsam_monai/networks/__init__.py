"""The networks: a CLIP cut in two, a promptable SAM, and the zero-shot segmenter that joins them."""
