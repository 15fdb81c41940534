"""The tables and figures of two papers, measured on the data at hand."""
