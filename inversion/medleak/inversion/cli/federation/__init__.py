"""Commands for a federation that is to be run, before it is."""
