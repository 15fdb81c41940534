"""Public data sets by name, and what turns images into the lists that jobs read."""
