"""Builds NetNS, Node and Snapshot from artifacts; coverage, topology graph, fact tables."""
