"""Images from files, and lists of them."""
