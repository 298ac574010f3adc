"""Plain frozen values: what the parsers say, what the simulator answers. Import the submodules."""
