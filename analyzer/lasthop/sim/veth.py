"""A veth pair between a pod and its node: who is at the other end, and whether frames get across.

Sources: drivers/net/veth.c, net/ipv4/arp.c, net/ipv6/ndisc.c (pndisc proxy), net/core/neighbour.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from lasthop.facts.evidence import Complete
from lasthop.facts.network import Ip, Link
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from . import links, proxy_arp
from .fib import whole
from .kernel_state import USABLE_STATES, KernelState
from .tunnels import crossed
from .walk import End, Walk, lost, stop
from .world import HOST, PodPlace, World


class Veths:
    """The veth pairs of a World."""

    def __init__(self, world: World) -> None:
        self.world = world

    def workload(self, state: KernelState, dev: str, dst: Ip) -> PodPlace | None:
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

    def from_pod(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Walk | End]:
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
            step = Step(
                "veth",
                Outcome.STOP,
                f"{host_dev} does not exist on {state.node}",
                whole(host.netns.links),
                where=host_dev,
                before=walk.packet,
                disposition=Disposition.NO_SANDBOX,
            )
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
                yield after.enter(state.node, HOST, host_dev, crossed(after.packet), oif=dev)

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
                step = Step(
                    "gateway-neighbour",
                    Outcome.STOP,
                    detail,
                    (found.entry.source, host.links[host_dev].source),
                    where=dev,
                    before=walk.packet,
                    disposition=Disposition.WRONG_VNI_OR_MAC,
                )
                yield stop(walk, step)
                return
            detail = f"{target} is at {found.mac}, the MAC of {host_dev}"
            yield walk.step(Step("gateway-neighbour", Outcome.PASS, detail, (found.entry.source,), where=dev))
            return
        if not pod.neighbours_known(target.version):
            step = Step(
                "gateway-neighbour",
                Outcome.UNKNOWN,
                "the pod's neighbour table is not known",
                where=dev,
                decides=f"ip{target.version}_neigh",
            )
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
            yield stop(
                walk,
                Step(
                    "gateway-neighbour",
                    Outcome.STOP,
                    detail,
                    whole(host.netns.addresses),
                    where=host_dev,
                    disposition=Disposition.NEIGHBOUR_FAILED,
                ),
            )
            return
        step = Step(
            "gateway-neighbour",
            Outcome.UNKNOWN,
            f"whether {host_dev} answers for {target} is not known",
            where=host_dev,
            decides="ip_addr",
        )
        yield lost(walk, step)
        yield walk.doubt(step)

    def to_pod(self, walk: Walk, state: KernelState, dev: str, target: Ip) -> Iterator[Walk | End]:
        place = self.workload(state, dev, target)
        assert place is not None
        found = links.resolve(state, walk.packet, dev, target)
        pod_mac = self.world.pod_mac(place)
        if found.mac and found.entry is not None:
            if pod_mac and found.mac != pod_mac:
                pod_link = self.world.pod_device(place)
                cited = pod_link.source if pod_link is not None else place.sources[0]
                detail = f"{target} is at {found.mac} on {dev}, but the pod has {pod_mac}"
                yield stop(
                    walk,
                    Step(
                        "neighbour",
                        Outcome.STOP,
                        detail,
                        (found.entry.source, cited),
                        where=f"neighbour {target} dev {dev}",
                        before=walk.packet,
                        disposition=Disposition.WRONG_VNI_OR_MAC,
                    ),
                )
                return
            if found.step is not None:
                walk = walk.step(found.step)
        elif not state.neighbours_known(target.version):
            step = Step(
                "neighbour",
                Outcome.UNKNOWN,
                f"the neighbour table of {state.node} is not known",
                where=dev,
                decides=f"ip{target.version}_neigh",
            )
            yield lost(walk, step)
            walk = walk.doubt(step)
        yield from self._into_pod(walk, state, dev, target, place)

    def _into_pod(self, walk: Walk, state: KernelState, dev: str, target: Ip, place: PodPlace) -> Iterator[Walk | End]:
        packet = crossed(walk.packet)
        pod = self.world.state(place.node, f"pod:{place.name}")
        if pod is None:
            walk = walk.enter(state.node, f"pod:{place.name}", "", packet, oif=dev)
            step = Step(
                "netns",
                Outcome.UNKNOWN,
                f"the inside of pod {place.name} was not collected",
                decides=f"pod {place.name}",
            )
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
            yield stop(
                entered,
                Step(
                    "neighbour",
                    Outcome.STOP,
                    detail,
                    whole(pod.netns.addresses),
                    where=inside.name,
                    before=packet,
                    disposition=Disposition.NEIGHBOUR_FAILED,
                ),
            )
            return
        yield entered

    @staticmethod
    def _resolved(state: KernelState, dev: str, target: Ip) -> bool:
        entry = state.neighbours.get((dev, target))
        return entry is not None and bool(entry.mac) and entry.state in USABLE_STATES
