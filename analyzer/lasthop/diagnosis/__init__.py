"""Questions to verdicts: discovers flows, walks them, runs rules, ranks, names repairs."""
