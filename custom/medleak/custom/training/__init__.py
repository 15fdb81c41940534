"""What a site does in a round: load, train, score."""
