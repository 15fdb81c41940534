"""Privacy filters on federated updates: pure functions, and thin NVFlare adapters."""
