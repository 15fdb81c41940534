"""Filters that look at what a server sends, and at what it would make a site send."""
