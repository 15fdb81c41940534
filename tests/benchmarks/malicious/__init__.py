"""Parts of the sentinel's benchmark: honest federations, tampered models, what attacks recover."""
