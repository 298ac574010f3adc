"""kube-proxy's chain names in iptables mode, and the way back from a chain to its Service.

Source: kubernetes pkg/proxy/iptables/proxier.go (portProtoHash, servicePortEndpointChainName): the first 16 letters of
base32(SHA256(service port name + protocol [+ endpoint])).
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from dataclasses import dataclass
from ipaddress import IPv6Address

from lasthop.facts.kube import Service, ServicePort
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Snapshot

from .services import Backend, listed_backends, slices_by_service

_PER_SERVICE = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-")


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


@dataclass(frozen=True, slots=True)
class ChainMeaning:
    """What a KUBE- chain stands for; `backend` only for KUBE-SEP-."""

    service: Service
    port: ServicePort
    backend: Backend | None = None


def meanings(snapshot: Snapshot) -> dict[str, ChainMeaning]:
    """Chain name -> meaning for every Service and known endpoint of the snapshot. A KUBE-SEP chain of a node that is
    not in it sends to an endpoint that no object names (any more)."""
    found: dict[str, ChainMeaning] = {}
    slices = slices_by_service(snapshot)
    for service in snapshot.cluster.services.values:
        for port in service.ports:
            key = service_hash(service.namespace, service.name, port.name, port.proto)
            for prefix in _PER_SERVICE:
                found[prefix + key] = ChainMeaning(service, port)
            for backend in listed_backends(slices.get((service.namespace, service.name), ()), port):
                name = endpoint_chain(service.namespace, service.name, port.name, port.proto, backend.ip, backend.port)
                found[name] = ChainMeaning(service, port, backend)
    return found
