"""Linear layers: what enters them, and weights that two thin factors make."""
