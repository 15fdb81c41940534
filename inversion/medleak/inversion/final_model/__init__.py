"""What is left when only the trained model is published: members, and images that come out."""
