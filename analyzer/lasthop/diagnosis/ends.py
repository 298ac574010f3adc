"""The two ends of a question, resolved against the snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from lasthop.errors import NotInEvidence, UsageError
from lasthop.facts.kube import Service
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Question, Snapshot
from lasthop.sim.world import HOST, World

from .result import Endpoint


@dataclass(frozen=True, slots=True)
class FlowEnds:
    """`dst` may be a Service: its backend is known only after the walk. `port` None: the protocol has none."""

    src: Endpoint
    dst: Endpoint
    proto: str
    port: int | None
    origin: str


def resolve(world: World, question: Question) -> FlowEnds:
    """Raises NotInEvidence when an end cannot be found, UsageError when a port is needed and cannot be derived; both
    with a sentence."""
    dst = endpoint(world, question.dst, None)
    family = dst.ip.version if dst.ip is not None else 4
    src = endpoint(world, question.src, family)
    if src.ip is not None and src.ip.version != family:
        dst = endpoint(world, question.dst, src.ip.version)
    if src.ip is not None and dst.ip is not None and src.ip.version != dst.ip.version:
        raise UsageError(f"{question.src} ({src.ip}) and {question.dst} ({dst.ip}) have no IP family in common.")
    port = question.port
    if port is None and question.proto not in ("icmp", "icmpv6"):
        port = _usual_port(world, dst, question.proto)
        if port is None:
            raise UsageError(f"--to {question.dst}: which port? Write {question.dst}:PORT/{question.proto}.")
    proto = "icmpv6" if question.proto == "icmp" and dst.ip is not None and dst.ip.version == 6 else question.proto
    return FlowEnds(src, dst, proto, port, question.origin)


def endpoint(world: World, text: str, family: int | None) -> Endpoint:
    """The endpoint that `text` names (facts.snapshot.Question); of two addresses the first of `family` is taken."""
    if text.startswith("node:"):
        return _node(world, text.removeprefix("node:"), family)
    if text.startswith("svc:"):
        return _service(world.snapshot, text.removeprefix("svc:"), family)
    if "/" in text:
        place = world.pods.get(text)
        if place is None:
            return _host_network_pod(world, text, family)
        ip = _of_family(place.ips, family)
        return Endpoint("pod", text, ip, place.node, place.interface)
    try:
        return of_address(world, ip_address(text))
    except ValueError:
        raise UsageError(f"{text!r} is no address, NAMESPACE/POD, node:NAME or svc:NAMESPACE/NAME.") from None


def _host_network_pod(world: World, text: str, family: int | None) -> Endpoint:
    """A pod in its node's own netns is the node."""
    for pod in world.snapshot.cluster.pods.values:
        if pod.host_network and f"{pod.namespace}/{pod.name}" == text and pod.node:
            return _node(world, pod.node, family)
    raise NotInEvidence(f"pod {text} is not in the bundle.")


def of_address(world: World, ip: Ip) -> Endpoint:
    """What the snapshot knows of an address: a pod, a node, a Service or only an address."""
    place = world.pod_addresses.get(ip)
    if place is not None:
        return Endpoint("pod", place.name, ip, place.node, place.interface)
    service = service_of(world.snapshot, ip)
    if service is not None:
        return Endpoint("service", f"{service.namespace}/{service.name}", ip)
    node = world.node_addresses.get(ip)
    if node is not None:
        return Endpoint("node", node, ip, node)
    return Endpoint("address", str(ip), ip)


def service_of(snapshot: Snapshot, ip: Ip) -> Service | None:
    for service in snapshot.cluster.services.values:
        if ip in service.cluster_ips or ip in service.external_ips or ip in service.load_balancer_ips:
            return service
    return None


def find_service(snapshot: Snapshot, name: str) -> Service | None:
    for service in snapshot.cluster.services.values:
        if f"{service.namespace}/{service.name}" == name:
            return service
    return None


def _of_family(ips: tuple[Ip, ...], family: int | None) -> Ip | None:
    return next((ip for ip in ips if family is None or ip.version == family), ips[0] if ips else None)


def _node(world: World, name: str, family: int | None) -> Endpoint:
    state = world.state(name, HOST)
    for calico in world.snapshot.cluster.calico_nodes.values:
        text = calico.bgp_ipv6 if family == 6 else calico.bgp_ipv4
        if calico.name == name and text:
            return Endpoint("node", name, ip_address(text.split("/")[0]), name)
    for kube in world.snapshot.cluster.nodes.values:
        internal = tuple(ip for ip, kind in kube.addresses if kind == "InternalIP")
        if kube.name == name and internal:
            return Endpoint("node", name, _of_family(internal, family), name)
    if state is not None:
        own = tuple(ip for ip, place in world.host_addresses.items() if place.node == name)
        if own:
            return Endpoint("node", name, _of_family(own, family), name)
    raise NotInEvidence(f"node {name} has no address in the bundle.")


def _service(snapshot: Snapshot, name: str, family: int | None) -> Endpoint:
    service = find_service(snapshot, name)
    if service is None:
        raise NotInEvidence(f"service {name} is not in the bundle.")
    if not service.cluster_ips:
        raise UsageError(f"service {name} is headless: name one of its pods.")
    return Endpoint("service", name, _of_family(service.cluster_ips, family))


def _usual_port(world: World, dst: Endpoint, proto: str) -> int | None:
    """The port to ask for when none was named: a Service's only one, or the first that the pod listens on."""
    if dst.kind == "service":
        service = find_service(world.snapshot, dst.name)
        ports = [port.port for port in service.ports if port.proto == proto] if service is not None else []
        return ports[0] if len(ports) == 1 else None
    netns = f"pod:{dst.name}" if dst.kind == "pod" else HOST
    state = world.state(dst.node, netns) if dst.node else None
    if state is None:
        return None
    listening = sorted(
        socket.port
        for socket in state.netns.sockets.values
        if socket.proto.startswith(proto) and (socket.state == "LISTEN" or proto == "udp") and not _loopback(socket.ip)
    )
    return listening[0] if listening else None


def _loopback(ip: Ip | None) -> bool:
    return ip is not None and ip.is_loopback
