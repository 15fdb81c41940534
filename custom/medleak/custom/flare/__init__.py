"""NVFlare components beside the filters: recorder, workflows' parts."""
