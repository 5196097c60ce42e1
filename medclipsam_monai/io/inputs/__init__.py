"""Which images lie behind the files, folders and globs that a user names."""
