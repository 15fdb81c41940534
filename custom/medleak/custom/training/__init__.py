"""What a site does in a round: load, train, score."""

REPORT = "medleak_report"
"""Under this name a site's client puts its report among the metrics of a tested model."""
