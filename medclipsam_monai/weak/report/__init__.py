"""What a run was worth: scores, curves and the page that shows them."""
