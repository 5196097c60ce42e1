"""Tables of images into folders."""
