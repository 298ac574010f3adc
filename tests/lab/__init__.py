"""Clusters of nodes as Linux namespaces: real veth, routes, iptables, ipset, VXLAN, BIRD and conntrack, on one
machine, as root.

`cluster.Cluster(spec)` brings a cluster up, `traffic` proves what a client sees, `faults.Fault` breaks and repairs it
with recorded
commands, `samples` collects the bundles under `samples/`. What is not real: kubectl, calicoctl and the process named
calico-felix
(`standins/`), and the programs that would write the state: Felix and kube-proxy are replaced by `felix.py` and
`kubeproxy.py`, which
render the same text.
"""
