"""The report: an audit directory as one self-contained HTML file, for two readers."""
