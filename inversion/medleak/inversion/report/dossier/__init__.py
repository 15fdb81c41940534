"""The evidence of an audit for programs: what it found, by which source it is asked, and signed."""
