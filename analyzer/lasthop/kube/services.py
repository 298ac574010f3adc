"""Services as the objects describe them: which one has an address and port, and which backends stand behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.kube import EndpointAddress, EndpointSlice, Service, ServicePort
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Backend:
    """One endpoint of a service port. `ready` None (no condition given) counts as ready, as the API says."""

    ip: Ip
    port: int
    ready: bool | None
    node: str = ""
    pod: str = ""
    terminating: bool | None = None
    serving: bool | None = None
    source: SourceRef | None = None

    @property
    def usable(self) -> bool:
        return self.ready is not False


@dataclass(frozen=True, slots=True)
class ServiceHit:
    """A Service that answers to an address and port. `via` is cluster-ip, external-ip, load-balancer or node-port.

    `complete` is True when the endpoint objects were collected whole: then no backends means that there are none.
    """

    service: Service
    port: ServicePort
    via: str
    backends: tuple[Backend, ...]
    complete: bool

    @property
    def ready(self) -> tuple[Backend, ...]:
        return tuple(backend for backend in self.backends if backend.usable)


def resolve(
    snapshot: Snapshot, ip: Ip, port: int, proto: str, node_addresses: frozenset[Ip] = frozenset()
) -> ServiceHit | None:
    """The service port behind an address. NodePorts match on the addresses of nodes that the caller names."""
    for service in snapshot.cluster.services.values:
        via = _via(service, ip)
        for item in service.ports:
            if item.proto != proto:
                continue
            if via and item.port == port:
                return hit(snapshot, service, item, via)
            if item.node_port == port and ip in node_addresses:
                return hit(snapshot, service, item, "node-port")
    return None


def _via(service: Service, ip: Ip) -> str:
    if ip in service.cluster_ips:
        return "cluster-ip"
    if ip in service.external_ips:
        return "external-ip"
    return "load-balancer" if ip in service.load_balancer_ips else ""


def hit(snapshot: Snapshot, service: Service, port: ServicePort, via: str = "cluster-ip") -> ServiceHit:
    complete = isinstance(snapshot.cluster.endpoint_slices, Complete)
    return ServiceHit(service, port, via, backends(snapshot, service, port), complete)


def find_port(service: Service, port: int | None, proto: str = "tcp") -> ServicePort | None:
    """The port with this number and protocol; with no number the only port, if it is the only one."""
    if port is None:
        return service.ports[0] if len(service.ports) == 1 else None
    return next((item for item in service.ports if item.port == port and item.proto == proto), None)


def backends(snapshot: Snapshot, service: Service, port: ServicePort) -> tuple[Backend, ...]:
    """The endpoints of one service port, ready or not, each once. EndpointSlices win over old Endpoints objects, which
    mirror them; ports are joined by name."""
    mine = [
        item
        for item in snapshot.cluster.endpoint_slices.values
        if item.service == service.name and item.namespace == service.namespace
    ]
    found: dict[tuple[Ip, int], Backend] = {}
    for item, address, number in _listed(mine, port):
        key = (address.ip, number)
        backend = Backend(
            address.ip,
            number,
            address.ready,
            address.node,
            address.pod,
            address.terminating,
            address.serving,
            item.source,
        )
        if key not in found or (backend.usable and not found[key].usable):
            found[key] = backend
    return tuple(found.values())


def slices_by_service(snapshot: Snapshot) -> dict[tuple[str, str], list[EndpointSlice]]:
    """(namespace, name) of a Service -> its slices, for those who ask for many Services."""
    found: dict[tuple[str, str], list[EndpointSlice]] = {}
    for item in snapshot.cluster.endpoint_slices.values:
        found.setdefault((item.namespace, item.service), []).append(item)
    return found


def listed_addresses(mine: Sequence[EndpointSlice], port: ServicePort) -> dict[tuple[Ip, int], None]:
    """Address and port of each backend of the Service to which all the slices belong."""
    return dict.fromkeys((address.ip, number) for _, address, number in _listed(mine, port))


def _listed(mine: Sequence[EndpointSlice], port: ServicePort) -> Iterator[tuple[EndpointSlice, EndpointAddress, int]]:
    slices = [item for item in mine if item.kind == "EndpointSlice"]
    for item in slices or mine:
        for number in _numbers(item, port):
            for address in item.addresses:
                yield item, address, number


def _numbers(item: EndpointSlice, port: ServicePort) -> tuple[int, ...]:
    return tuple(number for name, proto, number in item.ports if name == port.name and proto == port.proto)
