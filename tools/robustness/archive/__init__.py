"""What kills do to `medclipsam archive`."""
