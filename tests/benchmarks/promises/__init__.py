"""Parts of the benchmark of ε: mechanisms that are as they say, and such as are not."""
