"""What is done to one image of many, in steps that may run in different processes."""
