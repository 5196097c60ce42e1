"""What the app infers and trains."""
