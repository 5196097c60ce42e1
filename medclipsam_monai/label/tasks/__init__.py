"""What MONAI Label calls the tasks of a server: what it infers, and what it trains."""
