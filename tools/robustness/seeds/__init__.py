"""Small valid files of every kind that is read, the same bytes on every run; `table` lists them."""
