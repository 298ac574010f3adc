"""Captures: reading pcap and laying packets on the walk."""
