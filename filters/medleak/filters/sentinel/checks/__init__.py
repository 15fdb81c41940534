"""One file a check: what it looks at, its statistic, its limit."""
