"""DICOM: headers, series, geometry, pixels, and how a viewer shows them."""
