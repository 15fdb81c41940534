"""How attacks search: starts, coordinates, Adam and L-BFGS, budgets of time."""
