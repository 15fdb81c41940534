"""Local optimisers: one rule for all that replay them, and a first step of Adam undone."""
