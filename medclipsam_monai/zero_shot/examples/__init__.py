"""Classes that labelled examples show: "segment what looks like this"."""
