"""Tunnel devices: what an encapsulated packet looks like, and which device takes it apart on the other side.

Sources: drivers/net/vxlan/vxlan_core.c (vxlan_xmit_one, vxlan_rcv), net/ipv4/ip_tunnel.c (ip_tunnel_xmit,
ip_tunnel_lookup), net/ipv4/ipip.c, net/ipv4/tunnel4.c. The mark survives both directions inside one netns; conntrack
does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from lasthop.facts.evidence import SourceRef
from lasthop.facts.network import Ip, Link
from lasthop.facts.trace import Disposition, Encapsulation, Outcome, Packet, Step

from .fib import whole
from .kernel_state import KernelState
from .links import IPIP_OVERHEAD, VXLAN_OVERHEAD, ipip_device, kinds_known, vxlan_devices
from .walk import End, Walk, lost, stop


def fresh(packet: Packet) -> Packet:
    """The packet without its conntrack reference: after encapsulation, decapsulation and netns crossing."""
    return replace(
        packet,
        ctstate="",
        ctdir="original",
        ctstatus=frozenset(),
        ct_original=None,
        ct_reply=None,
        ctmark=type(packet.ctmark)(),
    )


def crossed(packet: Packet) -> Packet:
    """What a packet keeps when it leaves a netns: headers only."""
    return replace(fresh(packet), mark=type(packet.mark)(), iif="", oif="", local_out=False)


def vxlan_outer(inner: Packet, link: Link, local: Ip, remote: Ip, vni: int, port: int, mac: str) -> Packet:
    """The outer UDP packet: DF clear unless the device asks for it, source port from a hash of the inner flow."""
    carried = Encapsulation("vxlan", inner.src, inner.dst, vni, port, link.mac.lower(), mac)
    return Packet(
        local.version,
        "udp",
        local,
        remote,
        sport=49152,
        dport=port,
        length=inner.length + VXLAN_OVERHEAD[local.version],
        df=False,
        ttl=64,
        mark=inner.mark,
        encaps=(*inner.encaps, carried),
        local_out=True,
    )


def ipip_outer(inner: Packet, link: Link, local: Ip, remote: Ip) -> Packet:
    """The outer protocol-4 packet: DF and TTL inherited from the inner one (tunnel_pmtudisc off, ttl inherit)."""
    carried = Encapsulation("ipip", inner.src, inner.dst)
    return Packet(
        4,
        "ipencap",
        local,
        remote,
        length=inner.length + IPIP_OVERHEAD,
        df=inner.df or bool(link.tunnel_pmtudisc),
        ttl=link.tunnel_ttl or inner.ttl,
        mark=inner.mark,
        encaps=(*inner.encaps, carried),
        local_out=True,
    )


def decapsulate(walk: Walk, state: KernelState) -> Iterator[Walk | End]:
    """Hands the outer packet, delivered to the netns, to the tunnel device that takes it."""
    outer = walk.packet
    carried = outer.encaps[-1]
    inner = replace(fresh(walk.inner[-1]), mark=outer.mark, iif="", oif="", local_out=False)
    if carried.kind == "vxlan":
        chosen = _vxlan_receiver(state, outer, carried)
    else:
        chosen = _ipip_receiver(state, outer)
    if isinstance(chosen, Step):
        yield stop(walk, chosen) if chosen.outcome is Outcome.STOP else lost(walk, chosen)
        return
    step = Step(
        "decap",
        Outcome.PASS,
        f"{chosen.name} takes the {carried.kind} packet",
        (chosen.source,),
        where=chosen.name,
        before=outer,
        after=inner,
    )
    yield replace(walk.step(step), packet=inner, inner=walk.inner[:-1], iif=chosen.name)


def _refused(detail: str, outer: Packet, sources: tuple[SourceRef, ...], disposition: Disposition, where: str) -> Step:
    return Step("decap", Outcome.STOP, detail, sources, where=where, before=outer, disposition=disposition)


def _not_shown(what: str, outer: Packet, sources: tuple[SourceRef, ...] = ()) -> Step:
    return Step("decap", Outcome.UNKNOWN, f"{what} is not known", sources, before=outer, decides="ip_link")


def _vxlan_receiver(state: KernelState, outer: Packet, carried: Encapsulation) -> Link | Step:
    listening = vxlan_devices(state, outer.dport)
    links = whole(state.netns.links)
    if not listening and not kinds_known(state):
        return _not_shown(f"which device of {state.node} takes VXLAN", outer, links)
    if not listening:
        others = [link for link in state.links.values() if link.kind == "vxlan"]
        if others:
            detail = f"no VXLAN device listens on UDP {outer.dport}; {others[0].name} uses {others[0].vxlan_port}"
            return _refused(detail, outer, (others[0].source,), Disposition.WRONG_VNI_OR_MAC, others[0].name)
        detail = f"there is no VXLAN device for UDP {outer.dport}"
        return _refused(detail, outer, links, Disposition.LINK_DOWN, "vxlan")
    same = [link for link in listening if link.vxlan_id == carried.vni]
    if not same and (carried.vni is None or any(link.vxlan_id is None for link in listening)):
        return _not_shown(f"the VNI of {listening[0].name}", outer, (listening[0].source,))
    if not same:
        detail = f"VNI {carried.vni} arrives, {listening[0].name} has {listening[0].vxlan_id}"
        return _refused(detail, outer, (listening[0].source,), Disposition.WRONG_VNI_OR_MAC, listening[0].name)
    link = same[0]
    if link.flags and not link.up:
        return _refused(f"{link.name} is down", outer, (link.source,), Disposition.LINK_DOWN, link.name)
    if carried.inner_dst_mac and link.mac and carried.inner_dst_mac != link.mac.lower():
        detail = f"the inner frame is for {carried.inner_dst_mac}, {link.name} is {link.mac}"
        return _refused(detail, outer, (link.source,), Disposition.WRONG_VNI_OR_MAC, link.name)
    return link


def _ipip_receiver(state: KernelState, outer: Packet) -> Link | Step:
    link = ipip_device(state, outer.src, outer.dst)
    if link is not None:
        return link
    down = [candidate for candidate in state.links.values() if "ipip" in (candidate.kind, candidate.link_type)]
    if any(not candidate.flags for candidate in down) or (not down and not kinds_known(state)):
        return _not_shown(f"which device of {state.node} takes IPIP", outer, whole(state.netns.links))
    if down:
        return _refused(
            f"{down[0].name} is down: ICMP protocol 4 unreachable",
            outer,
            (down[0].source,),
            Disposition.LINK_DOWN,
            down[0].name,
        )
    return _refused("there is no IPIP device", outer, whole(state.netns.links), Disposition.LINK_DOWN, "ipip")
