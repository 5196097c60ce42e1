"""Parquet tables with a row an image, such as `medclipsam archive` writes: reading them, and choosing rows by SQL."""
