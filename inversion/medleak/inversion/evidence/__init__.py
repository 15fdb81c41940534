"""What an update tells of the images behind it, read from its layers."""
