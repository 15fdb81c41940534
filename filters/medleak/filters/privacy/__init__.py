"""What a guarantee costs: accounting, and the ledger of what was spent."""
