"""What is written back into a DICOM archive: segmentations and pictures of them."""
