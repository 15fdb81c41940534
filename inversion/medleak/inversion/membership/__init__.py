"""Who was in it: whether given images are among those that an update was computed from."""
