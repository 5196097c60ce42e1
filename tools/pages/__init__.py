"""The documentation's generated pages, and what the site's builder (mkdocs) calls."""
