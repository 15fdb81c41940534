"""How images are shared out among the sites."""
