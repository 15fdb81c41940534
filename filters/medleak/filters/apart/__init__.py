"""Measures on the site's own images, each run in a process of its own that can be stopped."""
