"""Code that makes this project's own weights, figures and campaigns, and tries its limits. It is not installed."""
