"""What the cases share: two-node clusters with the policy that admits the client, and faults of one command."""

from __future__ import annotations

from .faults import Command, Fault
from .felix import selector_set
from .model import ClusterSpec
from .presets import cluster, web_ingress

CLIENT = "default/client-a"
SERVER = "shop/web-1"
CLIENT_SET = selector_set({"role": "client"}, "shop", "default")


def bgp(calico: str = "v3.33", backend: str = "nft", count: int = 2) -> ClusterSpec:
    return cluster("bgp", calico, backend, count, policies=(web_ingress("client"),))


def vxlan(calico: str = "v3.27", backend: str = "nft", count: int = 2, subnets: int = 2) -> ClusterSpec:
    return cluster("vxlan", calico, backend, count, subnets, policies=(web_ingress("client"),))


def one(on: str, breaks: str, repairs: str) -> Fault:
    return Fault((Command(on, breaks),), (Command(on, repairs),))
