"""The MONAI Label app and its datastores."""
