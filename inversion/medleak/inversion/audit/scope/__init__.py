"""How much of a large record an audit looks at: which updates, and for how long."""
