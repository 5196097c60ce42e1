"""Small valid files of every kind that is read, the same bytes on every run; `fuzz_seeds` has the table of them."""
