"""kube-proxy's chain names in iptables mode, and the way back from a chain to its Service.

Source: kubernetes pkg/proxy/iptables/proxier.go (portProtoHash, servicePortEndpointChainName): the first 16 letters of
base32(SHA256(service port name + protocol [+ endpoint])).
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from ipaddress import IPv6Address

from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Snapshot

from .services import listed_addresses, slices_by_service


def _hash(*parts: str) -> str:
    # 16 letters of 5 bits are the first 10 bytes
    return b32encode(hashlib.sha256("".join(parts).encode()).digest()[:10]).decode()


def service_port_name(namespace: str, name: str, port_name: str) -> str:
    """ "namespace/name:port", without the colon for a port that has no name."""
    return f"{namespace}/{name}:{port_name}" if port_name else f"{namespace}/{name}"


def service_hash(namespace: str, name: str, port_name: str, proto: str) -> str:
    return _hash(service_port_name(namespace, name, port_name), proto.lower())


def service_chain(namespace: str, name: str, port_name: str, proto: str, prefix: str = "KUBE-SVC-") -> str:
    """The chain of one service port; the prefix is KUBE-SVC-, KUBE-SVL-, KUBE-EXT-, KUBE-FW- or KUBE-XLB-."""
    return prefix + service_hash(namespace, name, port_name, proto)


def endpoint_chain(namespace: str, name: str, port_name: str, proto: str, ip: Ip, port: int) -> str:
    """The KUBE-SEP chain of one endpoint of a service port."""
    target = f"[{ip}]:{port}" if isinstance(ip, IPv6Address) else f"{ip}:{port}"
    return "KUBE-SEP-" + _hash(service_port_name(namespace, name, port_name), proto.lower(), target)


def endpoint_chains(snapshot: Snapshot) -> frozenset[str]:
    """The KUBE-SEP chains of every Service and known endpoint of the snapshot. One of a node that is not among them
    sends to an endpoint that no object names (any more)."""
    slices = slices_by_service(snapshot)
    found = set()
    for service in snapshot.cluster.services.values:
        mine = slices.get((service.namespace, service.name), ())
        for port in service.ports:
            for ip, number in listed_addresses(mine, port):
                found.add(endpoint_chain(service.namespace, service.name, port.name, port.proto, ip, number))
    return frozenset(found)
