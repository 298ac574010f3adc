"""lasthop: where did the packet die? Offline analysis of Calico/Kubernetes evidence bundles."""

__version__ = "0.1.0"
