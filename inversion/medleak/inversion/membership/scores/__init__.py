"""What makes an image look like a member, a score a file."""
