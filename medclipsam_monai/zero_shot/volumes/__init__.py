"""A volume as one: what lights up in all of its slices, the slices that are segmented, and how they agree."""
