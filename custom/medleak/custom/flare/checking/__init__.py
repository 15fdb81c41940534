"""``medleak attach --check``: a job built and tried with made-up weights."""
