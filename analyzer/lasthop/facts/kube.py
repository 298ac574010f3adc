"""Kubernetes objects, allowed fields only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .evidence import SourceRef
from .network import Ip, Prefix


@dataclass(frozen=True, slots=True)
class Pod:
    namespace: str
    name: str
    source: SourceRef
    uid: str = ""
    node: str = ""
    ips: tuple[Ip, ...] = ()
    host_network: bool = False
    phase: str = ""
    ready: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[str, int], ...] = ()
    """(protocol lower case, containerPort) pairs."""
    named_ports: tuple[tuple[str, str, int], ...] = ()
    """(name, protocol lower case, containerPort)."""
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class KubeNode:
    name: str
    source: SourceRef
    addresses: tuple[tuple[Ip, str], ...] = ()
    pod_cidrs: tuple[Prefix, ...] = ()
    ready: bool | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServicePort:
    """`target_port` is a number as text or a container port's name, "" when not given (then = port)."""

    name: str
    proto: str
    port: int
    target_port: str = ""
    node_port: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    namespace: str
    name: str
    source: SourceRef
    type: str = "ClusterIP"
    cluster_ips: tuple[Ip, ...] = ()
    headless: bool = False
    external_ips: tuple[Ip, ...] = ()
    load_balancer_ips: tuple[Ip, ...] = ()
    ports: tuple[ServicePort, ...] = ()
    selector: Mapping[str, str] = field(default_factory=dict)
    external_traffic_policy: str = "Cluster"
    internal_traffic_policy: str = "Cluster"
    session_affinity: str = "None"


@dataclass(frozen=True, slots=True)
class EndpointAddress:
    ip: Ip
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None
    node: str = ""
    pod: str = ""
    """"namespace/name" of the target pod, "" when none is named."""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """One EndpointSlice, or one subset of an old Endpoints object (`kind` says which)."""

    namespace: str
    service: str
    name: str
    source: SourceRef
    kind: str = "EndpointSlice"
    addresses: tuple[EndpointAddress, ...] = ()
    ports: tuple[tuple[str, str, int], ...] = ()
    """(name, protocol lower case, port)."""


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    source: SourceRef
    labels: Mapping[str, str] = field(default_factory=dict)
