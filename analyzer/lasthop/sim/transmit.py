"""From POSTROUTING to the next netns: tunnel, veth or wire, with the neighbour that each needs.

A veth leads to the pod or host at its other end, a tunnel device to an outer packet, any other interface of a host to
the wire. The wire is not simulated: the stated assumption is that the underlay forwards what is addressed to a
collected node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network

from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip, Link
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from . import links, routing
from .fib import whole
from .kernel_state import KernelState
from .routing import Decision
from .tunnels import crossed, ipip_outer, vxlan_outer
from .veth import Veths
from .walk import WIRE, End, Walk, lost, stop
from .world import HOST, Place, World

WIREGUARD_NAMES = frozenset({"wireguard.cali", "wg-v6.cali"})
UNDERLAY = "the underlay forwards what is addressed to a collected node"


@dataclass(frozen=True, slots=True)
class Encapsulated:
    """The packet goes on as an outer packet that the same netns sends."""

    walk: Walk


Moved = Walk | Encapsulated | End


class Transmitter:
    def __init__(self, world: World) -> None:
        self.world = world
        self.veths = Veths(world)

    def transmit(self, walk: Walk, state: KernelState, decision: Decision) -> Iterator[Moved]:
        """Sends the packet out of `decision.dev`: the walk in the next netns, an outer packet, or ends."""
        dev = decision.dev
        blocked = links.link_step(state, walk.packet, dev)
        if blocked is not None and blocked.outcome is Outcome.STOP:
            yield stop(walk, blocked)
            return
        if blocked is not None:
            yield lost(walk, blocked)
            walk = walk.doubt(blocked)
        link = state.links.get(dev)
        target = decision.gateway or walk.packet.dst
        if state.name != HOST:
            yield from self.veths.from_pod(walk, state, dev, target)
        elif link is not None and links.is_vxlan(link):
            yield from self._vxlan(walk, state, link, target)
        elif link is not None and (link.kind == "ipip" or link.link_type == "ipip"):
            yield from self._ipip(walk, state, link, target)
        elif link is not None and (link.kind == "wireguard" or (not link.kind and link.name in WIREGUARD_NAMES)):
            yield lost(
                walk,
                Step(
                    "encap",
                    Outcome.UNKNOWN,
                    f"{dev} is WireGuard: which peer takes the packet is not modelled yet",
                    (link.source,),
                    where=dev,
                ),
            )
        elif self.veths.workload(state, dev, walk.packet.dst) is not None:
            yield from self.veths.to_pod(walk, state, dev, target)
        elif link is not None and link.kind in ("bridge", "tun", "gre", "sit", "vrf", "macvlan", "ipvlan"):
            yield lost(
                walk, Step("link", Outcome.UNKNOWN, f"{dev} is a {link.kind}: not modelled", (link.source,), where=dev)
            )
        else:
            yield from self._wire(walk, state, dev, target)

    # tunnels

    def _vxlan(self, walk: Walk, state: KernelState, link: Link, target: Ip) -> Iterator[Moved]:
        found = links.resolve(state, walk.packet, link.name, target)
        if not found.mac or found.entry is None:
            if not state.neighbours_known(target.version) and not found.failed:
                yield lost(
                    walk,
                    Step(
                        "neighbour",
                        Outcome.UNKNOWN,
                        f"the neighbour of {target} on {link.name} is not known",
                        where=link.name,
                        decides=f"ip{target.version}_neigh",
                    ),
                )
                return
            sources = (found.entry.source,) if found.entry is not None else whole(state.netns.neighbours)
            step = Step(
                "neighbour",
                Outcome.STOP,
                f"no neighbour entry for {target} on {link.name}",
                sources,
                where=f"neighbour {target} dev {link.name}",
                before=walk.packet,
                disposition=Disposition.NEIGHBOUR_FAILED,
            )
            yield stop(walk, step)
            return
        if found.step is not None:
            walk = walk.step(found.step)
        entry, why = links.vtep_of(state, link.name, found.mac)
        if entry is None or entry.dst is None:
            if not state.fdb_known:
                yield lost(
                    walk,
                    Step(
                        "fdb",
                        Outcome.UNKNOWN,
                        f"the FDB of {link.name} is not known",
                        where=link.name,
                        decides="bridge_fdb",
                    ),
                )
                return
            yield stop(
                walk,
                Step(
                    "fdb",
                    Outcome.STOP,
                    why,
                    whole(state.netns.fdb),
                    where=f"fdb {found.mac}",
                    before=walk.packet,
                    disposition=Disposition.NEIGHBOUR_FAILED,
                ),
            )
            return
        walk = walk.step(
            Step(
                "fdb",
                Outcome.PASS,
                f"{found.mac} is behind {entry.dst}",
                (entry.source,),
                where=f"fdb {found.mac} dst {entry.dst}",
            )
        )
        local = link.vxlan_local or self._source_toward(state, entry.dst)
        vni, port = entry.vni or link.vxlan_id, entry.port or link.vxlan_port or 4789
        if local is None or vni is None:
            yield lost(
                walk,
                Step(
                    "encap",
                    Outcome.UNKNOWN,
                    f"VNI or local address of {link.name} are not known",
                    (link.source,),
                    where=link.name,
                    decides="ip_link",
                ),
            )
            return
        outer = vxlan_outer(walk.packet, link, local, entry.dst, vni, port, found.mac)
        yield self._wrapped(walk, outer, link.name, (link.source,), f"VXLAN {vni} to {entry.dst}")

    def _ipip(self, walk: Walk, state: KernelState, link: Link, target: Ip) -> Iterator[Moved]:
        fixed = link.tunnel_local if link.tunnel_local is not None and int(link.tunnel_local) else None
        remote = link.tunnel_remote if link.tunnel_remote is not None and int(link.tunnel_remote) else target
        local = fixed or self._source_toward(state, remote)
        if local is None:
            yield lost(
                walk,
                Step(
                    "encap",
                    Outcome.UNKNOWN,
                    f"no source address toward {remote} is known",
                    (link.source,),
                    where=link.name,
                    decides="ip_addr",
                ),
            )
            return
        outer = ipip_outer(walk.packet, link, local, remote)
        yield self._wrapped(walk, outer, link.name, (link.source,), f"IPIP to {remote}")

    @staticmethod
    def _source_toward(state: KernelState, remote: Ip) -> Ip | None:
        decision = routing.route_output(state, Packet(remote.version, "", remote, remote, local_out=True))[0]
        return decision.src

    @staticmethod
    def _wrapped(walk: Walk, outer: Packet, dev: str, sources: tuple[SourceRef, ...], detail: str) -> Encapsulated:
        step = Step(
            "encap",
            Outcome.PASS,
            f"{detail} ({outer.src} → {outer.dst})",
            sources,
            where=dev,
            before=walk.packet,
            after=outer,
        )
        return Encapsulated(replace(walk.step(step), packet=outer, inner=(*walk.inner, walk.packet), iif=""))

    # wire

    def _wire(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Moved]:
        packet = walk.packet
        owner = self.world.host_addresses.get(target)
        owner_link = self._link(owner)
        if not links.needs_neighbour(state.links.get(dev)):
            yield from self._beyond(walk, state, dev, target)
            return
        found = links.resolve(state, packet, dev, target)
        if found.failed and found.step is not None:
            yield stop(walk, found.step)
            return
        if found.mac and found.entry is not None:
            others = [place for place in self.world.macs.get(found.mac, ()) if place.node != state.node]
            if owner is not None and owner_link is not None and owner_link.mac:
                if owner_link.mac.lower() == found.mac:
                    yield self._arrive(self._passed(walk, found.step), owner, dev)
                    return
                if not others:
                    detail = (
                        f"{target} is {owner.node}'s {owner.dev} ({owner_link.mac}), but its neighbour entry "
                        f"says {found.mac}"
                    )
                    yield stop(
                        walk,
                        Step(
                            "neighbour",
                            Outcome.STOP,
                            detail,
                            (found.entry.source, owner_link.source),
                            where=f"neighbour {target} dev {dev}",
                            before=packet,
                            disposition=Disposition.WRONG_VNI_OR_MAC,
                        ),
                    )
                    return
            if len({place.node for place in others}) > 1 and owner is not None:
                detail = f"{target} is at {found.mac}, which several nodes have"
                yield lost(walk, Step("neighbour", Outcome.UNKNOWN, detail, (found.entry.source,), where=dev))
                return
            if others and owner is not None:
                detail = f"{target} is at {found.mac}, which is {others[0].node}'s {others[0].dev}"
                walk = walk.step(
                    Step(
                        "neighbour", Outcome.INFO, detail, (found.entry.source,), where=f"neighbour {target} dev {dev}"
                    )
                )
                yield self._arrive(walk, others[0], dev)
                return
            yield from self._beyond(self._passed(walk, found.step), state, dev, target)
            return
        if not state.neighbours_known(target.version):
            step = Step(
                "neighbour",
                Outcome.UNKNOWN,
                f"the neighbour table of {state.node} is not known",
                where=dev,
                decides=f"ip{target.version}_neigh",
            )
            yield lost(walk, step)
            walk = walk.doubt(step)
        if owner is not None:
            if not _on_link(state, dev, target):
                step = Step(
                    "neighbour",
                    Outcome.UNKNOWN,
                    f"{target} is in no subnet of {dev}: whether it answers there is not known",
                    where=f"neighbour {target} dev {dev}",
                    decides=f"ip{target.version}_neigh",
                )
                yield lost(walk, step)
                walk = walk.doubt(step)
            yield self._arrive(walk, owner, dev)
            return
        yield from self._beyond(walk, state, dev, target)

    @staticmethod
    def _passed(walk: Walk, step: Step | None) -> Walk:
        return walk.step(step) if step is not None else walk

    def _link(self, place: Place | None) -> Link | None:
        if place is None:
            return None
        state = self.world.state(place.node, place.netns)
        return state.links.get(place.dev) if state is not None else None

    def _arrive(self, walk: Walk, place: Place, oif: str, assumption: str = UNDERLAY) -> Moved:
        """The frame is received by `place`, after an empty hop for the wire."""
        packet = crossed(walk.packet)
        step = Step("wire", Outcome.PASS, f"to {place.node} {place.dev} (assumed: {assumption})", before=packet)
        wire = walk.enter("", WIRE, "", packet, oif=oif).step(step).assume(assumption)
        entered = wire.enter(place.node, HOST, place.dev, packet)
        link = self._link(place)
        state = self.world.state(place.node, HOST)
        if state is not None and link is not None:
            blocked = links.link_step(state, packet, place.dev)
            if blocked is not None and blocked.outcome is Outcome.STOP:
                return stop(entered, blocked)
        return entered

    def _is_uplink(self, place: Place) -> bool:
        """An address of a bridge inside the node (docker0) is not one that routers between nodes know."""
        link = self._link(place)
        return link is None or link.kind not in ("bridge", "dummy")

    def _beyond(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Moved]:
        """The next hop is a machine that was not collected: a router, or a node without bundle."""
        dst = walk.packet.dst
        place = self.world.host_addresses.get(dst)
        if place is not None and place.node != state.node and target != dst and self._is_uplink(place):
            yield self._arrive(walk, place, dev)
            return
        node = self.world.node_addresses.get(target)
        pod = self.world.pod_addresses.get((walk.inner[0] if walk.inner else walk.packet).dst)
        if node is not None and node not in self.world.snapshot.nodes:
            detail = f"the packet leaves for {target} (node {node}), which was not collected"
            decides = f"bundle of {node}"
        elif pod is not None and pod.node and pod.node not in self.world.snapshot.nodes:
            detail = f"the packet leaves by {dev} toward {target}; the pod's node {pod.node} was not collected"
            decides = f"bundle of {pod.node}"
        else:
            detail = f"the packet leaves the collected nodes by {dev} toward {target}"
            decides = ""
        link = state.links.get(dev)
        step = Step(
            "wire",
            Outcome.UNKNOWN,
            detail,
            (link.source,) if link is not None else (),
            where=dev,
            before=walk.packet,
            disposition=Disposition.LEFT_EVIDENCE,
            decides=decides,
        )
        yield End(Disposition.LEFT_EVIDENCE, walk.step(step).close(dev))


def _on_link(state: KernelState, dev: str, target: Ip) -> bool:
    """Whether an address of `dev` has `target` in its subnet, so that both are on one segment."""
    return any(
        target in ip_network(f"{a.ip}/{a.prefixlen}", strict=False) for a in state.addresses(dev, target.version)
    )
