"""Other zero-shot methods on the same networks and images, to be compared with: SaLIP and SAMAug."""
