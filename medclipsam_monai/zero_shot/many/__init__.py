"""Many images of one request: what is done to each, and reading and writing beside the networks."""
