"""Which image is labelled next."""
