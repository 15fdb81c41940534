"""How a user's folder of images is arranged: recognised, and read as what the user says it is."""
