"""Does a host answer a pod's ARP request for its gateway? The kernel's own conditions, one by one.

Source: net/ipv4/arp.c (arp_process, arp_fwd_proxy): an input route lookup of the request itself (source = the pod's
address, destination = the gateway, source validation and policy routing rules included) must give a unicast route
through another interface; the interface must forward and have proxy_arp; a local address is answered as such.
"""

from __future__ import annotations

from dataclasses import replace

from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from .kernel_state import KernelState
from .routing import Decision, route_input


def answers(host: KernelState, dev: str, packet: Packet) -> Step:
    """The step "gateway-neighbour": PASS when the host would answer `packet`'s ARP request received on `dev`.

    `packet` carries the asking address as `src` and the asked one as `dst`.
    """
    decisions = route_input(host, replace(packet, iif=dev), dev)
    steps = [_answer(host, dev, packet, decision) for decision in decisions]
    if len({step.outcome for step in steps}) > 1:
        # One hash of the two addresses picks the next hop, for good; which one is not computed here.
        return replace(
            steps[0],
            outcome=Outcome.UNKNOWN,
            detail=f"proxy ARP on {dev} depends on the next hop chosen",
            disposition=None,
        )
    return steps[0]


def _answer(host: KernelState, dev: str, packet: Packet, decision: Decision) -> Step:
    last = decision.steps[-1] if decision.steps else None
    if decision.kind == "local":
        return Step(
            "gateway-neighbour",
            Outcome.PASS,
            f"{packet.dst} is an address of the node",
            last.sources if last else (),
            where=dev,
        )
    if decision.kind == "drop" and last is not None:
        return _silent(packet, f"its route lookup fails ({last.detail})", dev, last.sources)
    if decision.kind == "unknown":
        why = last.detail if last is not None else ""
        return Step(
            "gateway-neighbour",
            Outcome.UNKNOWN,
            f"proxy ARP on {dev} depends on: {why}",
            last.sources if last else (),
            where=dev,
            decides=last.decides if last else "",
        )
    if decision.dev == dev:
        return _silent(packet, f"the route to {packet.dst} leaves by {dev} itself", dev, last.sources if last else ())
    proxy = host.conf_or(dev, "proxy_arp")
    key = f"net.ipv4.conf.{dev}.proxy_arp"
    if proxy is None:
        return Step("gateway-neighbour", Outcome.UNKNOWN, f"{key} is not known", where=dev, decides="sysctl")
    if not proxy:
        sources = (*host.sysctl_source(key), *host.sysctl_source("net.ipv4.conf.all.proxy_arp"))
        return _silent(packet, f"{key} = 0", dev, sources)
    return Step(
        "gateway-neighbour",
        Outcome.PASS,
        f"{dev} answers for {packet.dst} by proxy ARP",
        host.sysctl_source(key),
        where=dev,
    )


def _silent(packet: Packet, why: str, dev: str, sources: tuple[SourceRef, ...]) -> Step:
    return Step(
        "gateway-neighbour",
        Outcome.STOP,
        f"nobody answers ARP for {packet.dst} on {dev}: {why}",
        sources,
        where=dev,
        before=packet,
        disposition=Disposition.NEIGHBOUR_FAILED,
    )
