"""How like a reconstruction is to its truth, and what that figure means."""
