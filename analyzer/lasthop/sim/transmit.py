"""From POSTROUTING to the next netns: tunnel, veth or wire, with the neighbour that each needs.

A veth leads to the pod or host at its other end, a tunnel device to an outer packet, any other interface of a host to
the wire. The wire is not simulated: the stated assumption is that the underlay forwards what is addressed to a
collected node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_network

from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.network import Ip, Link
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from . import links, proxy_arp, routing
from .fib import whole
from .kernel_state import USABLE_STATES, KernelState
from .routing import Decision
from .tunnels import fresh, ipip_outer, vxlan_outer
from .walk import WIRE, End, Walk, lost, stop
from .world import HOST, Place, PodPlace, World

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
            yield from self._pod_to_host(walk, state, dev, target)
        elif link is not None and links.is_vxlan(link):
            yield from self._vxlan(walk, state, link, target)
        elif link is not None and (link.kind == "ipip" or link.link_type == "ipip"):
            yield from self._ipip(walk, state, link, target)
        elif link is not None and (link.kind == "wireguard" or (not link.kind and link.name in WIREGUARD_NAMES)):
            yield lost(walk, Step("encap", Outcome.UNKNOWN, f"{dev} is WireGuard: which peer takes the packet is not "
                                  "modelled yet", (link.source,), where=dev))  # fmt: skip
        elif self._workload(state, dev, walk.packet.dst) is not None:
            yield from self._host_to_pod(walk, state, dev, target)
        elif link is not None and link.kind in ("bridge", "tun", "gre", "sit", "vrf", "macvlan", "ipvlan"):
            yield lost(walk, Step("link", Outcome.UNKNOWN, f"{dev} is a {link.kind}: not modelled", (link.source,),
                                  where=dev))  # fmt: skip
        else:
            yield from self._wire(walk, state, dev, target)

    def _workload(self, state: KernelState, dev: str, dst: Ip) -> PodPlace | None:
        """The pod at the other end of `dev`: by endpoint, by pod.meta or by veth index; None for an uplink."""
        behind = self.world.pod_behind(state.node, dev)
        if behind is not None:
            return behind
        link = state.links.get(dev)
        if link is None or link.kind not in ("veth", "") or link.peer_ifindex is None:
            return None
        return self._pairs.get((state.node, link.ifindex, link.peer_ifindex))

    @cached_property
    def _pairs(self) -> dict[tuple[str, int | None, int | None], PodPlace]:
        """(node, index of the host's side, index of the pod's side) of every collected pod's interfaces."""
        found: dict[tuple[str, int | None, int | None], PodPlace] = {}
        for place in self.world.pods.values():
            pod = self.world.state(place.node, f"pod:{place.name}") if place.collected else None
            for inside in pod.links.values() if pod is not None else ():
                if inside.peer_ifindex is not None:
                    found.setdefault((place.node, inside.peer_ifindex, inside.ifindex), place)
        return found

    # veth

    def _pod_to_host(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Moved]:
        place = self.world.pods.get(state.name.removeprefix("pod:"))
        inside = state.links.get(dev)
        host = self.world.state(state.node)
        host_dev = self._host_side(host, place, inside)
        if host is None or host_dev is None:
            why = "the host's side of the pod's interface is not known"
            yield lost(walk, Step("veth", Outcome.UNKNOWN, why, where=dev, decides="ip_link"))
            return
        host_link = host.links.get(host_dev)
        if host_link is None and host.links_complete:
            step = Step("veth", Outcome.STOP, f"{host_dev} does not exist on {state.node}", whole(host.netns.links),
                        where=host_dev, before=walk.packet, disposition=Disposition.NO_SANDBOX)  # fmt: skip
            yield stop(walk, step)
            return
        blocked = links.link_step(host, walk.packet, host_dev)
        if blocked is not None and blocked.outcome is Outcome.STOP:
            yield stop(walk, blocked)
            return
        if blocked is not None:
            yield lost(walk, blocked)
            walk = walk.doubt(blocked)
        for after in self._gateway(walk, state, host, dev, host_dev, target):
            if isinstance(after, End):
                yield after
            else:
                yield after.enter(state.node, HOST, host_dev, _crossed(after.packet), oif=dev)

    def _host_side(self, host: KernelState | None, place: PodPlace | None, inside: Link | None) -> str | None:
        if host is None:
            return None
        if inside is not None and inside.peer_ifindex is not None:
            for link in host.links.values():
                if link.ifindex == inside.peer_ifindex and link.peer_ifindex in (None, inside.ifindex):
                    return link.name
        if place is not None and place.interface:
            return place.interface
        return None

    def _gateway(
        self, walk: Walk, pod: KernelState, host: KernelState, dev: str, host_dev: str, target: Ip
    ) -> Iterator[Walk | End]:
        """The pod's neighbour entry for its gateway, else the host's answer to the ARP request."""
        found = links.resolve(pod, walk.packet, dev, target)
        host_mac = (host.links[host_dev].mac if host_dev in host.links else "").lower()
        if found.mac and found.entry is not None:
            if host_mac and found.mac != host_mac:
                detail = f"{target} is at {found.mac} in the pod, but {host_dev} has {host_mac}"
                step = Step("gateway-neighbour", Outcome.STOP, detail,
                            (found.entry.source, host.links[host_dev].source), where=dev, before=walk.packet,
                            disposition=Disposition.WRONG_VNI_OR_MAC)  # fmt: skip
                yield stop(walk, step)
                return
            detail = f"{target} is at {found.mac}, the MAC of {host_dev}"
            yield walk.step(Step("gateway-neighbour", Outcome.PASS, detail, (found.entry.source,), where=dev))
            return
        if not pod.neighbours_known(target.version):
            step = Step("gateway-neighbour", Outcome.UNKNOWN, "the pod's neighbour table is not known", where=dev,
                        decides=f"ip{target.version}_neigh")  # fmt: skip
            yield lost(walk, step)
            walk = walk.doubt(step)
        if target.version == 6:
            yield from self._ndp(walk, host, host_dev, target)
            return
        packet = walk.packet
        asker = packet.src
        step = proxy_arp.answers(host, host_dev, Packet(4, "", asker, target, iif=host_dev))
        if step.outcome is Outcome.STOP:
            if found.entry is not None:
                step = replace(step, sources=(*step.sources, found.entry.source))
            yield stop(walk, replace(step, before=packet))
        elif step.outcome is Outcome.UNKNOWN:
            yield lost(walk, step)
            yield walk.doubt(step)
        else:
            yield walk.step(step)

    def _ndp(self, walk: Walk, host: KernelState, host_dev: str, target: Ip) -> Iterator[Walk | End]:
        owned = any(address.ip == target for address in host.addresses(host_dev, 6))
        if owned or host.conf(6, host_dev, "proxy_ndp"):
            yield walk.step(Step("gateway-neighbour", Outcome.PASS, f"{host_dev} answers for {target}", where=host_dev))
            return
        known = isinstance(host.netns.addresses, Complete) and host.conf(6, host_dev, "proxy_ndp") == 0
        detail = f"nobody answers neighbour solicitations for {target} on {host_dev}"
        if known:
            yield stop(walk, Step("gateway-neighbour", Outcome.STOP, detail, whole(host.netns.addresses),
                                  where=host_dev, disposition=Disposition.NEIGHBOUR_FAILED))  # fmt: skip
            return
        step = Step("gateway-neighbour", Outcome.UNKNOWN, f"whether {host_dev} answers for {target} is not known",
                    where=host_dev, decides="ip_addr")  # fmt: skip
        yield lost(walk, step)
        yield walk.doubt(step)

    def _host_to_pod(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Moved]:
        place = self._workload(state, dev, target)
        assert place is not None
        found = links.resolve(state, walk.packet, dev, target)
        pod_mac = self.world.pod_mac(place)
        if found.mac and found.entry is not None:
            if pod_mac and found.mac != pod_mac:
                pod_link = self.world.pod_device(place)
                cited = pod_link.source if pod_link is not None else place.sources[0]
                detail = f"{target} is at {found.mac} on {dev}, but the pod has {pod_mac}"
                yield stop(walk, Step("neighbour", Outcome.STOP, detail, (found.entry.source, cited),
                                      where=f"neighbour {target} dev {dev}", before=walk.packet,
                                      disposition=Disposition.WRONG_VNI_OR_MAC))  # fmt: skip
                return
            if found.step is not None:
                walk = walk.step(found.step)
        elif not state.neighbours_known(target.version):
            step = Step("neighbour", Outcome.UNKNOWN, f"the neighbour table of {state.node} is not known", where=dev,
                        decides=f"ip{target.version}_neigh")  # fmt: skip
            yield lost(walk, step)
            walk = walk.doubt(step)
        yield from self._into_pod(walk, state, dev, target, place)

    def _into_pod(self, walk: Walk, state: KernelState, dev: str, target: Ip, place: PodPlace) -> Iterator[Moved]:
        packet = _crossed(walk.packet)
        pod = self.world.state(place.node, f"pod:{place.name}")
        if pod is None:
            walk = walk.enter(state.node, f"pod:{place.name}", "", packet, oif=dev)
            step = Step("netns", Outcome.UNKNOWN, f"the inside of pod {place.name} was not collected",
                        decides=f"pod {place.name}")  # fmt: skip
            yield lost(walk, step)
            yield End(Disposition.DELIVERED, walk.doubt(step).close())
            return
        inside = self.world.pod_device(place)
        if inside is None:
            step = Step("netns", Outcome.UNKNOWN, f"the interface of pod {place.name} is not known", decides="ip_link")
            yield lost(walk.enter(state.node, pod.name, "", packet, oif=dev), step)
            return
        blocked = links.link_step(pod, packet, inside.name)
        entered = walk.enter(state.node, pod.name, inside.name, packet, oif=dev)
        if blocked is not None and blocked.outcome is Outcome.STOP:
            yield stop(entered, blocked)
            return
        if blocked is not None:
            yield lost(entered, blocked)
            entered = entered.doubt(blocked)
        if pod.owns(target) is False and target == packet.dst and not self._resolved(state, dev, target):
            detail = f"pod {place.name} has no address {target}: it does not answer ARP"
            yield stop(entered, Step("neighbour", Outcome.STOP, detail, whole(pod.netns.addresses), where=inside.name,
                                     before=packet, disposition=Disposition.NEIGHBOUR_FAILED))  # fmt: skip
            return
        yield entered

    @staticmethod
    def _resolved(state: KernelState, dev: str, target: Ip) -> bool:
        entry = state.neighbours.get((dev, target))
        return entry is not None and bool(entry.mac) and entry.state in USABLE_STATES

    # tunnels

    def _vxlan(self, walk: Walk, state: KernelState, link: Link, target: Ip) -> Iterator[Moved]:
        found = links.resolve(state, walk.packet, link.name, target)
        if not found.mac or found.entry is None:
            if not state.neighbours_known(target.version) and not found.failed:
                yield lost(walk, Step("neighbour", Outcome.UNKNOWN, f"the neighbour of {target} on {link.name} is not "
                                      "known", where=link.name, decides=f"ip{target.version}_neigh"))  # fmt: skip
                return
            sources = (found.entry.source,) if found.entry is not None else whole(state.netns.neighbours)
            step = Step("neighbour", Outcome.STOP, f"no neighbour entry for {target} on {link.name}", sources,
                        where=f"neighbour {target} dev {link.name}", before=walk.packet,
                        disposition=Disposition.NEIGHBOUR_FAILED)  # fmt: skip
            yield stop(walk, step)
            return
        if found.step is not None:
            walk = walk.step(found.step)
        entry, why = links.vtep_of(state, link.name, found.mac)
        if entry is None or entry.dst is None:
            if not state.fdb_known:
                yield lost(walk, Step("fdb", Outcome.UNKNOWN, f"the FDB of {link.name} is not known", where=link.name,
                                      decides="bridge_fdb"))  # fmt: skip
                return
            yield stop(walk, Step("fdb", Outcome.STOP, why, whole(state.netns.fdb), where=f"fdb {found.mac}",
                                  before=walk.packet, disposition=Disposition.NEIGHBOUR_FAILED))  # fmt: skip
            return
        walk = walk.step(Step("fdb", Outcome.PASS, f"{found.mac} is behind {entry.dst}", (entry.source,),
                              where=f"fdb {found.mac} dst {entry.dst}"))  # fmt: skip
        local = link.vxlan_local or self._source_toward(state, entry.dst)
        vni, port = entry.vni or link.vxlan_id, entry.port or link.vxlan_port or 4789
        if local is None or vni is None:
            yield lost(walk, Step("encap", Outcome.UNKNOWN, f"VNI or local address of {link.name} are not known",
                                  (link.source,), where=link.name, decides="ip_link"))  # fmt: skip
            return
        outer = vxlan_outer(walk.packet, link, local, entry.dst, vni, port, found.mac)
        yield self._wrapped(walk, outer, link.name, (link.source,), f"VXLAN {vni} to {entry.dst}")

    def _ipip(self, walk: Walk, state: KernelState, link: Link, target: Ip) -> Iterator[Moved]:
        fixed = link.tunnel_local if link.tunnel_local is not None and int(link.tunnel_local) else None
        remote = link.tunnel_remote if link.tunnel_remote is not None and int(link.tunnel_remote) else target
        local = fixed or self._source_toward(state, remote)
        if local is None:
            yield lost(walk, Step("encap", Outcome.UNKNOWN, f"no source address toward {remote} is known",
                                  (link.source,), where=link.name, decides="ip_addr"))  # fmt: skip
            return
        outer = ipip_outer(walk.packet, link, local, remote)
        yield self._wrapped(walk, outer, link.name, (link.source,), f"IPIP to {remote}")

    @staticmethod
    def _source_toward(state: KernelState, remote: Ip) -> Ip | None:
        decision = routing.route_output(state, Packet(remote.version, "", remote, remote, local_out=True))[0]
        return decision.src

    @staticmethod
    def _wrapped(walk: Walk, outer: Packet, dev: str, sources: tuple[SourceRef, ...], detail: str) -> Encapsulated:
        step = Step("encap", Outcome.PASS, f"{detail} ({outer.src} → {outer.dst})", sources, where=dev,
                    before=walk.packet, after=outer)  # fmt: skip
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
                    detail = f"{target} is {owner.node}'s {owner.dev} ({owner_link.mac}), but its neighbour entry " \
                             f"says {found.mac}"  # fmt: skip
                    yield stop(walk, Step("neighbour", Outcome.STOP, detail, (found.entry.source, owner_link.source),
                                          where=f"neighbour {target} dev {dev}", before=packet,
                                          disposition=Disposition.WRONG_VNI_OR_MAC))  # fmt: skip
                    return
            if len({place.node for place in others}) > 1 and owner is not None:
                detail = f"{target} is at {found.mac}, which several nodes have"
                yield lost(walk, Step("neighbour", Outcome.UNKNOWN, detail, (found.entry.source,), where=dev))
                return
            if others and owner is not None:
                detail = f"{target} is at {found.mac}, which is {others[0].node}'s {others[0].dev}"
                walk = walk.step(Step("neighbour", Outcome.INFO, detail, (found.entry.source,),
                                      where=f"neighbour {target} dev {dev}"))  # fmt: skip
                yield self._arrive(walk, others[0], dev)
                return
            yield from self._beyond(self._passed(walk, found.step), state, dev, target)
            return
        if not state.neighbours_known(target.version):
            step = Step("neighbour", Outcome.UNKNOWN, f"the neighbour table of {state.node} is not known", where=dev,
                        decides=f"ip{target.version}_neigh")  # fmt: skip
            yield lost(walk, step)
            walk = walk.doubt(step)
        if owner is not None:
            if not _on_link(state, dev, target):
                step = Step("neighbour", Outcome.UNKNOWN, f"{target} is in no subnet of {dev}: whether it answers there "
                            "is not known", where=f"neighbour {target} dev {dev}",
                            decides=f"ip{target.version}_neigh")  # fmt: skip
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
        packet = _crossed(walk.packet)
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
        if node is not None and node not in self.world.snapshot.nodes:
            detail = f"the packet leaves for {target} (node {node}), which was not collected"
            decides = f"bundle of {node}"
        else:
            detail = f"the packet leaves the collected nodes by {dev} toward {target}"
            decides = ""
        link = state.links.get(dev)
        step = Step("wire", Outcome.UNKNOWN, detail, (link.source,) if link is not None else (), where=dev,
                    before=walk.packet, disposition=Disposition.LEFT_EVIDENCE, decides=decides)  # fmt: skip
        yield End(Disposition.LEFT_EVIDENCE, walk.step(step).close(dev))


def _on_link(state: KernelState, dev: str, target: Ip) -> bool:
    """Whether an address of `dev` has `target` in its subnet, so that both are on one segment."""
    return any(target in ip_network(f"{a.ip}/{a.prefixlen}", strict=False) for a in state.addresses(dev, target.version))


def _crossed(packet: Packet) -> Packet:
    """What a packet keeps when it leaves a netns: headers only."""
    return replace(fresh(packet), mark=type(packet.mark)(), iif="", oif="", local_out=False)
