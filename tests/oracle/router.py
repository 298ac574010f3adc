"""The same router simulated: the hooks of the product's Firewall around the fixed routes of `layout`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from lasthop.facts.evidence import Complete, Evidence, SourceRef
from lasthop.facts.netfilter import IpSet, Ruleset
from lasthop.facts.network import Address, Ip, Link, Sysctl
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import MatchResult, Packet, Truth
from lasthop.sim.conntrack import ConntrackTable
from lasthop.sim.netfilter import Firewall, HookResult

from .layout import BY_NAME, OWN_SOURCES, PORTS, networks, out_interface, own_addresses

RuleKey = tuple[str, int, str, str, int]
"""Back end, family, table, chain, index from 1 (0: the chain's policy)."""
NOWHERE = SourceRef("oracle", 0)


class Roads:
    """The surroundings that matches ask, answered from the fixed layout."""

    def address_type(self, ip: Ip, dev: str | None) -> str | None:
        if ip.is_multicast:
            return "MULTICAST"
        own = own_addresses(ip.version)
        loopback = ip.is_loopback
        if ip in own or loopback:
            if dev is None:
                return "LOCAL"
            if loopback or ip == ip_address(OWN_SOURCES[ip.version]):
                return "LOCAL" if dev == "lo" else "UNICAST"
            port = next(port for port in PORTS if str(ip) in (port.own4, port.own6))
            return "LOCAL" if port.name == dev else "UNICAST"
        if ip.version == 4 and any(prefix.prefixlen == 24 and ip == prefix.broadcast_address
                                   for prefix, name in networks(4) if dev in (None, name)):  # fmt: skip
            return "BROADCAST"
        return "UNICAST"

    def reverse_path(self, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool) -> MatchResult:
        if packet.src in own_addresses(packet.family):
            return MatchResult(Truth.YES if accept_local and loose else Truth.NO)
        road = out_interface(packet.src)
        right = road is not None and (loose or road == packet.iif)
        return MatchResult(Truth.YES if right else Truth.NO)

    def masquerade_source(self, packet: Packet, oif: str) -> Ip | None:
        port = BY_NAME[oif]
        return ip_address(port.own4 if packet.family == 4 else port.own6)

    def primary_address(self, dev: str) -> Ip | None:
        return ip_address(BY_NAME[dev].own4)


@dataclass
class Fate:
    """What the simulation says of one packet: where it came out ("" = delivered here, None = nowhere)."""

    verdict: str
    where: str | None
    packet: Packet
    trail: list[HookResult] = field(default_factory=list)


class SimulatedRouter:
    """One netns with the given rulesets and sets; conntrack goes on from packet to packet."""

    def __init__(
        self, rulesets: dict[tuple[str, int], Ruleset], sets: Iterable[IpSet], loose: bool, level: str = "short"
    ) -> None:
        links = tuple(Link(port.name, port.number, NOWHERE, kind="veth") for port in PORTS)
        addresses = tuple(
            Address(port.name, ip_address(own), size, NOWHERE)
            for port in PORTS
            for own, size in ((port.own4, 24), (port.own6, 64))
        )
        every: dict[tuple[str, int], Evidence[Ruleset]]
        every = {(backend, family): Complete(()) for backend in ("nft", "legacy") for family in (4, 6)}
        every |= {key: Complete((ruleset,)) for key, ruleset in rulesets.items()}
        self.netns = NetNS(
            "router",
            links=Complete(links),
            addresses=Complete(addresses),
            rulesets=every,
            ipsets=Complete(tuple(sets)),
            nft_chains=Complete(()),
            conntrack=Complete(()),
            sysctls=Complete((Sysctl("net.netfilter.nf_conntrack_tcp_loose", "1" if loose else "0", NOWHERE),)),
        )
        self.firewall = Firewall(self.netns, order=("nft", "legacy"))
        self.conntrack = ConntrackTable.of(self.netns)
        self.roads = Roads()
        self.level = level
        self.hits: Counter[RuleKey] = Counter()
        self.unknown = 0

    def _hook(self, hook: str, packet: Packet, fate: Fate) -> HookResult | None:
        """The single result of a hook; None when the packet ends there."""
        results = self.firewall.run(hook, packet, self.conntrack, self.roads, level=self.level)
        if len(results) != 1 or results[0].assumed or results[0].verdict == "unknown":
            self.unknown += 1
            fate.verdict = "unknown"
            return None
        (result,) = results
        fate.trail.append(result)
        for step in result.steps:
            for visit in step.visits:
                if visit.truth is Truth.YES:
                    rule = visit.rule
                    self.hits[(rule.backend, rule.family, rule.table, rule.chain, rule.index)] += 1
            if step.where.endswith(" policy"):
                table, backend = step.stage.split()[0], step.detail.rsplit("(", 1)[1].rstrip(")")
                self.hits[(backend, packet.family, table, hook, 0)] += 1
        self.conntrack = result.conntrack
        fate.packet = result.packet
        if result.verdict != "accept":
            fate.verdict = result.verdict
            return None
        return result

    def carry(self, packet: Packet) -> Fate:
        """One packet from where it enters to where it ends."""
        fate = Fate("accept", None, packet)
        if packet.local_out:
            road = out_interface(packet.dst)
            if not road:
                return fate
            result = self._hook("OUTPUT", replace(packet, oif=road), fate)
            if result is None:
                return fate
            road = out_interface(result.packet.dst)
        else:
            result = self._hook("PREROUTING", packet, fate)
            if result is None:
                return fate
            road = out_interface(result.packet.dst)
            if road == "":
                result = self._hook("INPUT", result.packet, fate)
                if result is not None:
                    fate.where = ""
                return fate
            if road is None:
                return fate
            moved = replace(result.packet, oif=road, ttl=result.packet.ttl - 1)
            if moved.ttl < 1:
                return fate
            result = self._hook("FORWARD", moved, fate)
            if result is None:
                return fate
        if not road:
            return fate
        result = self._hook("POSTROUTING", replace(result.packet, oif=road), fate)
        if result is not None:
            fate.where = road
        return fate
