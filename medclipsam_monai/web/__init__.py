"""A page in the browser: open an image, ask by words, correct by hand, take the files home. Needs the extra `web`."""
