"""What stands around a command: how it starts, and how far it is."""
