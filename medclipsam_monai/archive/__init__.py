"""`medclipsam archive`: many images on many processors, errors as rows of a table, started again where it ended."""
