"""Gradient-inversion attacks: one file an attack, each a frozen record and a function."""
