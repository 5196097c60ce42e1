"""What the project claims about speed and memory, each as a ratio measured in one run."""
