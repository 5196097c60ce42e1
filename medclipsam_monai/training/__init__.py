"""Training of the small demo networks on phantoms; scripts/train_demo_models.py is its command."""
