"""What runs inside federated learning: data, networks, client training, records."""
