"""nnU-Net: raw data set, plans, training in a process of its own."""
