"""What an audit found: rows, summaries, verdicts."""
