"""The directory nnU-Net searches for the external trainer; nothing but that one module belongs here."""
