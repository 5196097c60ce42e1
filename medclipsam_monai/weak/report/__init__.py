"""How a run went: `evaluate` scores it on images with true masks, `write_report` makes a page for people."""
