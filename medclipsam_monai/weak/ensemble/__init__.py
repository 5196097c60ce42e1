"""Checkpoint ensembles: mean probability and how unsure it is."""
