"""Swarm learning: sites send their updates to one of them, and not to the server."""
