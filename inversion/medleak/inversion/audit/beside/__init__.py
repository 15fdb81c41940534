"""What an audit answers beside its attacks: each a file in its directory, read by the report."""
