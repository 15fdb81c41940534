"""Parts of the benchmark of membership: its cases, their images, training, and what is told."""
