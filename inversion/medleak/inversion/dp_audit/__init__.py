"""ε put to the test: a lower bound from what an attacker can tell, beside the ledger's ε."""
