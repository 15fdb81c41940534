"""``medleak data``: datalists from images."""
