"""Native nftables: rules compiled from the tokens of `nft list ruleset`, and the walk of one base chain."""
