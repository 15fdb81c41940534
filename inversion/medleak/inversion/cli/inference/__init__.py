"""What outputs tell of who was in: membership, and bounds of ε by trial."""
