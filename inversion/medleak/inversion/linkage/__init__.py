"""What updates tell of a site as a whole: that two are of one site, and what its patients are."""
