"""One view model; terminal, JSON, HTML."""
