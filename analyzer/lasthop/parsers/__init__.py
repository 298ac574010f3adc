"""Text to facts, one module per tool. A strange line never raises: it is counted as unparsed."""
