"""Whether a name that leaves a site is a patient's: of a class, of a site, of a set of images."""
