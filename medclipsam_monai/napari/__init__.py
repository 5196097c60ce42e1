"""The napari plugin: a dock that segments the selected image layer by text, and sample data.

What it does stands in modules that know layers by their attributes alone and import no napari; `dock` is its window.
"""
