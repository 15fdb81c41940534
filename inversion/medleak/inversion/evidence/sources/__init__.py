"""Sources of evidence, a file each; see `medleak.inversion.evidence.source`."""
