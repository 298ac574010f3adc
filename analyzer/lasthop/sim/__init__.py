"""The kernel: what Linux does to a packet, stage by stage, three-valued. Standard library and facts only."""
