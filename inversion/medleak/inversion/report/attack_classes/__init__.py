"""Every class of attack, and what an audit answers to it: one file a class, one row each."""
