"""What is drawn and written on the page: slices with layers, facts, suggestions; all that needs no web framework."""
