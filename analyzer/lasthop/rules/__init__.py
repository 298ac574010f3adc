"""Rule book: load, guard, run, test, explain."""
