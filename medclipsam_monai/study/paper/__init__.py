"""The papers' main table, run with the weights that this machine has, and the published figures beside it."""
