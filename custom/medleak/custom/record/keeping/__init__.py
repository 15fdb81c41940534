"""Large records: what was verified already, what may go, and how much disk is needed."""
