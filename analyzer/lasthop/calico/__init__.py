"""What Calico means: names, pools, blocks, expected routes, policy."""
