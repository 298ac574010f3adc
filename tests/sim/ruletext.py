"""A firewall from rule text, for tests: unmentioned chains are empty with policy ACCEPT."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from lasthop.facts.evidence import Complete, Evidence, Partial, SourceRef
from lasthop.facts.netfilter import IpSet, Ruleset
from lasthop.facts.network import Ip
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import MatchResult, Packet, Truth
from lasthop.parsers.ipset import parse_ipsets
from lasthop.parsers.iptables import parse_iptables_save
from lasthop.sim.conntrack import ConntrackTable
from lasthop.sim.netfilter import TABLES, Firewall, HookResult

HERE = SourceRef("test", 1)


class Nowhere:
    """Surroundings that know nothing but one own address."""

    def __init__(self, own: str = "192.0.2.1") -> None:
        self.own = ip_address(own)

    def address_type(self, ip: Ip, dev: str | None) -> str | None:
        return "LOCAL" if ip == self.own else None

    def reverse_path(self, packet: Packet, *, loose: bool, validmark: bool, accept_local: bool) -> MatchResult:
        return MatchResult(Truth.UNKNOWN, "no routes", "ip4_route_all")

    def masquerade_source(self, packet: Packet, oif: str) -> Ip | None:
        return self.own if oif == "eth0" else None

    def primary_address(self, dev: str) -> Ip | None:
        return self.own if dev == "eth0" else None


def ruleset(text: str, backend: str = "nft", family: int = 4) -> Ruleset:
    """`text` holds `*table` lines, `:CHAIN POLICY` where it is not ACCEPT, and rules; user chains are declared from
    the rules that stand in them."""
    lines: list[str] = []
    tables: dict[str, list[str]] = {}
    for line in text.strip().splitlines():
        line = line.strip()
        if line.startswith("*"):
            lines = tables.setdefault(line[1:], [])
        elif line:
            lines.append(line)
    out: list[str] = []
    for table, body in tables.items():
        declared = {line.split()[0][1:]: line.split()[1] for line in body if line.startswith(":")}
        hooks = [hook for hook, names in TABLES.items() if table in names]
        chains = {hook: declared.get(hook, "ACCEPT") for hook in hooks}
        for line in body:
            name = line.split()[0][1:] if line.startswith(":") else line.split()[1]
            chains.setdefault(name, "-")
        out.append(f"*{table}")
        out += [f":{name} {policy} [0:0]" for name, policy in chains.items()]
        out += [line for line in body if not line.startswith(":")]
        out.append("COMMIT")
    (parsed,) = parse_iptables_save("\n".join(out) + "\n", "rules", backend, family).values
    return parsed


def sets(text: str) -> tuple[IpSet, ...]:
    return parse_ipsets(text, "ipset").values


def netns(
    nft: str = "", legacy: str = "", ipsets: Evidence[IpSet] | str = "", family: int = 4, **facts: object
) -> NetNS:
    rulesets: dict[tuple[str, int], Evidence[Ruleset]] = {}
    for backend, text in (("nft", nft), ("legacy", legacy)):
        rulesets[(backend, family)] = Complete((ruleset(text, backend, family),)) if text else Complete(())
    found: Evidence[IpSet] = Complete(sets(ipsets)) if isinstance(ipsets, str) else ipsets
    base = NetNS("node", rulesets=rulesets, ipsets=found, nft_chains=Complete(()), conntrack=Complete(()))
    return replace(base, **facts)  # type: ignore[arg-type]


def partly(text: str, *doubts: object, why: str = "cut") -> Partial[Ruleset]:
    return Partial((ruleset(text),), why, doubts)  # type: ignore[arg-type]


def packet(src: str = "10.0.0.1", dst: str = "10.0.9.9", **fields: object) -> Packet:
    base = Packet(
        ip_address(src).version, "tcp", ip_address(src), ip_address(dst), 40000, 80, frozenset({"SYN"}), iif="eth0"
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def run(
    space: NetNS, hook: str, one: Packet, table: ConntrackTable | None = None, level: str = "normal"
) -> tuple[HookResult, ...]:
    firewall = Firewall(space)
    return firewall.run(hook, one, table or ConntrackTable.of(space), Nowhere(), level=level)


def verdicts(results: Iterable[HookResult]) -> list[str]:
    return sorted(result.verdict for result in results)
