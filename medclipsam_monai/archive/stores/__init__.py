"""Where the outputs of an archive go: a folder, or a place that pyarrow's file systems reach by a URL."""
