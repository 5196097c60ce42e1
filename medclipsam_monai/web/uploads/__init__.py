"""Files that a browser sends: on their way, unpacked, and told apart into images."""
