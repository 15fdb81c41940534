"""What ``medleak doctor`` needs of NVFlare: its loaders, and a chain of filters that runs."""
