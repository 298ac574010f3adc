"""The single-file HTML page."""
