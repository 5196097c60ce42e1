"""The `small` networks: trained on real images whose terms allow it, and on phantoms."""
