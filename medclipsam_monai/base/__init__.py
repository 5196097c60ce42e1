"""What everything stands on: errors, files, devices, checked settings. Nothing here knows an image."""
