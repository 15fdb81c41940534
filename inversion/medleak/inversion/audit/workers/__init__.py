"""Who does the cases of an audit: this process, new ones of this machine, or a cluster's."""
