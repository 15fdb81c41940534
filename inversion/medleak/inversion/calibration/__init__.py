"""The least noise at which nothing leaks, per site."""
