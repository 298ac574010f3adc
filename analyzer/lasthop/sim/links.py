"""From a routing decision to the frame: neighbour, FDB, encapsulation, MTU and link state of the outgoing interface.

Sources: net/ipv4/arp.c (arp_process, arp_fwd_proxy), net/core/neighbour.c, drivers/net/vxlan/vxlan_core.c
(vxlan_xmit, vxlan_xmit_one), net/ipv4/ip_tunnel.c (ip_tunnel_xmit, tnl_update_pmtu), net/ipv4/ipip.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from lasthop.facts.network import FdbEntry, Ip, Link, Neighbour
from lasthop.facts.trace import Disposition, Outcome, Packet, Step

from .fib import whole
from .kernel_state import USABLE_STATES, KernelState

VXLAN_OVERHEAD = {4: 50, 6: 70}
IPIP_OVERHEAD = 20
VXLAN_NAMES = frozenset({"vxlan.calico", "vxlan-v6.calico", "flannel.1"})


@dataclass(frozen=True, slots=True)
class Resolution:
    """What the neighbour table says of a next hop. `mac` "" means: ask the other end (or NOARP devices)."""

    step: Step | None
    mac: str = ""
    entry: Neighbour | None = None
    failed: bool = False


def needs_neighbour(link: Link | None) -> bool:
    return link is None or not ("NOARP" in link.flags or "LOOPBACK" in link.flags or link.kind in ("ipip", "wireguard"))


def resolve(state: KernelState, packet: Packet, dev: str, target: Ip) -> Resolution:
    """Looks `target` up in the neighbour table of `dev`; `failed` when the kernel's last resolution got no answer."""
    entry = state.neighbours.get((dev, target))
    if entry is not None and entry.mac and entry.state in USABLE_STATES:
        detail = f"{target} is at {entry.mac} ({entry.state})"
        return Resolution(Step("neighbour", Outcome.PASS, detail, (entry.source,), where=dev), entry.mac.lower(), entry)
    if entry is not None and entry.state in ("FAILED", "INCOMPLETE"):
        step = Step(
            "neighbour",
            Outcome.STOP,
            f"{target} did not answer on {dev}: {entry.state}",
            (entry.source,),
            where=f"neighbour {target} dev {dev}",
            before=packet,
            disposition=Disposition.NEIGHBOUR_FAILED,
        )
        return Resolution(step, "", entry, True)
    return Resolution(None, "", entry)


def link_step(state: KernelState, packet: Packet, dev: str) -> Step | None:
    """A stop when `dev` cannot send, an unknown when that is not evidenced, None when it can."""
    usable = state.link_state(dev)
    if usable:
        return None
    link = state.links.get(dev)
    sources = (link.source,) if link is not None else whole(state.netns.links)
    if usable is None:
        return Step("link", Outcome.UNKNOWN, f"the state of {dev} is not known", sources, where=dev, decides="ip_link")
    words = "does not exist" if link is None else "is down" if not link.up else "has no carrier"
    return Step(
        "link", Outcome.STOP, f"{dev} {words}", sources, where=dev, before=packet, disposition=Disposition.LINK_DOWN
    )


def vtep_of(state: KernelState, dev: str, mac: str) -> tuple[FdbEntry | None, str]:
    """The FDB entry that vxlan_xmit uses for `mac`: its own, else the default (00:00:00:00:00:00) entry.

    (None, why) when there is none: the frame is dropped silently.
    """
    for wanted in (mac, "00:00:00:00:00:00"):
        for entry in state.fdb.get((dev, wanted), ()):
            if entry.dst is not None:
                return entry, ""
    return None, f"no FDB entry of {dev} for {mac}"


def is_vxlan(link: Link | None) -> bool:
    """By its kind; by the names that Calico and flannel give theirs where `ip link` was taken without -d."""
    return link is not None and (link.kind == "vxlan" or (not link.kind and link.name in VXLAN_NAMES))


def kinds_known(state: KernelState) -> bool:
    """Whether a tunnel device that is not listed does not exist: all links are known, and with their kinds (-d)."""
    return state.links_complete and any(link.kind for link in state.links.values())


def vxlan_devices(state: KernelState, port: int | None) -> list[Link]:
    """VXLAN devices of the netns that listen on UDP `port` (IANA's 4789 when the device's own is not printed)."""
    return [link for link in state.links.values() if link.kind == "vxlan" and (link.vxlan_port or 4789) == port]


def ipip_device(state: KernelState, outer_src: Ip, outer_dst: Ip) -> Link | None:
    """ip_tunnel_lookup: exact remote and local, remote only, local only, then the fallback device; only those up."""
    candidates = [link for link in state.links.values() if link.kind == "ipip" or link.link_type == "ipip"]

    def rank(link: Link) -> int:
        remote = link.tunnel_remote if link.tunnel_remote is not None and int(link.tunnel_remote) else None
        local = link.tunnel_local if link.tunnel_local is not None and int(link.tunnel_local) else None
        if (remote is not None and remote != outer_src) or (local is not None and local != outer_dst):
            return -1
        return 2 * (remote is not None) + (local is not None)

    usable = sorted((link for link in candidates if link.up and rank(link) >= 0), key=rank, reverse=True)
    return usable[0] if usable else None
