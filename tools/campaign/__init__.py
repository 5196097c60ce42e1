"""Simulated annotation campaigns."""
