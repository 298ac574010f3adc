"""Ready clusters of two and three nodes that the samples and the tests start from."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network

from .model import ClusterSpec, Node, Pod, Policy, PolicyRule, Port, Service

HTTP = Port("http", 8080)
BLOCKS = ("10.65.10.0/26", "10.65.27.64/26", "10.65.42.128/26", "10.65.63.192/26")


def nodes(count: int, subnets: int = 1) -> tuple[Node, ...]:
    """node1, node2 … on 10.10.1.0/24, or spread over 10.10.1.0/24, 10.10.2.0/24 … when there is more than one
    subnet.
    """
    return tuple(
        Node(f"node{i + 1}", IPv4Interface(f"10.10.{i % subnets + 1}.{11 + i}/24"), IPv4Network(BLOCKS[i]))
        for i in range(count)
    )


def pods(count: int) -> tuple[Pod, ...]:
    """On each node one client in namespace default and one web server in namespace shop."""
    result = []
    for i in range(count):
        letter = "abcd"[i]
        result.append(Pod("default", f"client-{letter}", f"node{i + 1}", {"app": "client", "role": "client"}))
        result.append(Pod("shop", f"web-{i}", f"node{i + 1}", {"app": "web", "tier": "front"}, (HTTP,), "web"))
    return tuple(result)


WEB = Service("shop", "web", "10.96.10.10", 80, 8080, {"app": "web"}, node_port=30080)


def dns_pod() -> Pod:
    """The one DNS server, on node2."""
    return Pod("kube-system", "coredns-0", "node2", {"k8s-app": "kube-dns"}, (Port("dns", 53, "UDP"),), "coredns")


DNS = Service("kube-system", "kube-dns", "10.96.0.10", 53, 53, {"k8s-app": "kube-dns"}, "dns", "UDP")


def cluster(
    routing: str = "bgp",
    calico: str = "v3.33",
    backend: str = "nft",
    count: int = 2,
    subnets: int = 1,
    policies: tuple[Policy, ...] = (),
    extra_pods: tuple[Pod, ...] = (),
    services: tuple[Service, ...] = (WEB,),
) -> ClusterSpec:
    return ClusterSpec(
        nodes=nodes(count, subnets),
        pods=(*pods(count), *extra_pods),
        services=services,
        policies=policies,
        routing=routing,
        calico=calico,
        backend=backend,
    )


def web_ingress(role: str) -> Policy:
    """Policy shop/web-ingress: only pods of namespace default with this role may reach the web servers, on 8080."""
    rule = PolicyRule("Allow", "TCP", peer={"role": role}, peer_namespace="default", ports=(8080,))
    return Policy("shop", "web-ingress", {"app": "web"}, ingress=(rule,))


def web_only_egress() -> Policy:
    """Policy default/web-only: clients may reach the web servers and nothing else, not even DNS."""
    rule = PolicyRule("Allow", "TCP", peer={"app": "web"}, peer_namespace="shop", ports=(8080,))
    return Policy("default", "web-only", {"role": "client"}, egress=(rule,))


def crowded(pods_on_node1: int) -> ClusterSpec:
    """A VXLAN cluster whose node1 carries this many pods (at most 120)."""
    first, second = nodes(2)
    first.block = IPv4Network("10.65.64.0/25")
    crowd = tuple(
        Pod("load", f"worker-{i:03}", "node1", {"app": "worker"}, (HTTP,) if i % 10 == 0 else ())
        for i in range(pods_on_node1 - 2)
    )
    return ClusterSpec((first, second), (*pods(2), *crowd), (WEB,), (web_ingress("client"),), "vxlan")
