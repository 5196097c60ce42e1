"""Training of the small networks that are shipped, and of small ones on real images."""
