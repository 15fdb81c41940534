"""Images of an audit: true ones, priors, and pictures on disk."""
