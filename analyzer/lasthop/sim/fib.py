"""Route lookup as the kernel does it: policy routing rules, tables, longest match, metrics, next hops.

Sources: ip-rule(8), ip-route(8), net/core/fib_rules.c, net/ipv4/fib_rules.c, net/ipv4/fib_trie.c (fib_table_lookup),
net/ipv4/fib_semantics.c. IPv6 uses the same walk; net/ipv6/route.c differs in tie-breaks that metrics decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from ipaddress import ip_network
from typing import Any

from lasthop.facts.evidence import Absent, Complete, Evidence, Partial, SourceRef
from lasthop.facts.network import Ip, NextHop, NexthopObject, PolicyRoutingRule, Route
from lasthop.facts.snapshot import NetNS
from lasthop.facts.trace import Mark

from .edits import Edit

MAIN, LOCAL, DEFAULT = 254, 255, 253
NAMED_TABLES = {"main": MAIN, "local": LOCAL, "default": DEFAULT}
PROTOCOL_NUMBERS = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58, "ipv6-icmp": 58, "sctp": 132, "ipip": 4}

NO_MARK = Mark()

TableKey = int | str


@dataclass(frozen=True, slots=True)
class FlowKey:
    """What a lookup is asked for (struct flowi4). `iif` "lo" means locally generated, as the kernel has it."""

    dst: Ip
    src: Ip | None = None
    iif: str = "lo"
    oif: str = ""
    mark: Mark = NO_MARK
    tos: int = 0
    proto: str = ""
    sport: int | None = None
    dport: int | None = None
    uid: int | None = None
    """0 for received packets (sock_net_uid); None: the socket's owner, which no evidence names."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """The answer. `type` is a route type, "none" (no rule gave a route) or "unknown" (`why` and `decides` say more).

    `nexthops` holds every usable way with its exact share of flows. `sources` cite the route and, when it is not one
    of the three default rules, the rule; for "none" the whole route artifact.
    """

    type: str
    route: Route | None = None
    nexthops: tuple[tuple[NextHop, Fraction], ...] = ()
    rule: PolicyRoutingRule | None = None
    why: str = ""
    decides: str = ""
    sources: tuple[SourceRef, ...] = ()

    @property
    def dev(self) -> str:
        return self.nexthops[0][0].dev if self.nexthops else ""


def _default_rules(family: int) -> tuple[PolicyRoutingRule, ...]:
    nowhere = SourceRef("", 0)
    rules = [
        PolicyRoutingRule(0, family, nowhere, table=LOCAL),
        PolicyRoutingRule(32766, family, nowhere, table=MAIN),
    ]
    if family == 4:
        rules.append(PolicyRoutingRule(32767, family, nowhere, table=DEFAULT))
    return tuple(rules)


def whole(evidence: Evidence[Any]) -> tuple[SourceRef, ...]:
    """Cites the artifacts as a whole: proof by absence."""
    return tuple(SourceRef(artifact.path, 0) for artifact in evidence.artifacts[:1])


class Fib:
    """All tables and rules of one family in one netns. Built once; lookups are pure."""

    def __init__(self, netns: NetNS, family: int = 4, edits: tuple[Edit, ...] = ()) -> None:
        self.netns = netns
        self.family = family
        self.bits = 32 if family == 4 else 128
        self.routes: Evidence[Route] = netns.routes if family == 4 else netns.routes6
        rules = netns.routing_rules if family == 4 else netns.routing_rules6
        self.rules_evidence: Evidence[PolicyRoutingRule] = rules
        self._ignore_linkdown: dict[str, bool | None] = {}
        self._tables: dict[TableKey, dict[int, dict[int, list[Route]]]] = {}
        removed = {route for edit in edits for route in edit.routes_removed}
        added = tuple(route for edit in edits for route in edit.routes_added)
        for route in (*self.routes.values, *added):
            if route.cached or route.dst.version != family or route in removed:
                continue
            key: TableKey = route.table if route.table is not None else route.table_name
            lengths = self._tables.setdefault(key, {})
            lengths.setdefault(route.dst.prefixlen, {}).setdefault(int(route.dst.network_address), []).append(route)
        if LOCAL not in self._tables and not isinstance(self.routes, Absent):
            self._add_local_routes()
        for lengths in self._tables.values():
            for prefixes in lengths.values():
                for same in prefixes.values():
                    same.sort(key=lambda route: (-route.tos, route.metric))
        self._nexthop_objects: dict[int, NexthopObject] = {entry.id: entry for entry in netns.nexthop_objects.values}
        self._sysctls = {
            entry.key: entry.value
            for entry in netns.sysctls.values
            if entry.key.endswith("ignore_routes_with_linkdown")
        }
        self.assumed_rules = ""
        self._rules = self._usable_rules(rules)

    def _add_local_routes(self) -> None:
        """`ip route` without `table all` hides the local table; every address of the netns implies its entry."""
        for address in self.netns.addresses.values:
            if address.ip.version == self.family:
                host = Route(
                    ip_network(f"{address.ip}/{self.bits}"),
                    address.source,
                    type="local",
                    table=LOCAL,
                    nexthops=(NextHop(address.dev),),
                )
                prefixes = self._tables.setdefault(LOCAL, {}).setdefault(self.bits, {})
                prefixes.setdefault(int(address.ip), []).append(host)

    def _usable_rules(self, rules: Evidence[PolicyRoutingRule]) -> tuple[PolicyRoutingRule, ...] | None:
        if isinstance(rules, Complete) and rules.values:
            return tuple(sorted(rules.values, key=lambda rule: rule.priority))
        if isinstance(rules, Partial):
            return None
        known = {MAIN, LOCAL, DEFAULT}
        if isinstance(self.routes, Complete) and LOCAL in self._tables and set(self._tables) <= known:
            self.assumed_rules = "ip rule was not collected; no table but local and main has routes: default rules"
            return _default_rules(self.family)
        return None

    @property
    def known(self) -> bool:
        return not isinstance(self.routes, Absent) and self._rules is not None

    def lookup(self, flow: FlowKey) -> Lookup:
        """The route that the kernel would use for `flow`."""
        if isinstance(self.routes, Absent):
            return Lookup("unknown", why=f"routes: {self.routes.reason.value}", decides=f"ip{self.family}_route_all")
        if self._rules is None:
            return Lookup("unknown", why="policy routing rules are not known", decides=f"ip{self.family}_rule")
        index = 0
        rules = self._rules
        while index < len(rules):
            rule = rules[index]
            index += 1
            matched = self._rule_matches(rule, flow)
            if matched is None:
                return Lookup(
                    "unknown",
                    why=f"rule {rule.priority} depends on a mark or value that is not known",
                    decides=f"ip{self.family}_rule",
                    sources=(rule.source,),
                )
            if not matched:
                continue
            if rule.action == "goto":
                # Only a rule of exactly that priority is a target; without one the goto does nothing ("unresolved").
                index = next((i for i, other in enumerate(rules) if other.priority == rule.goto), index)
                continue
            if rule.action == "nop":
                continue
            if rule.action in ("blackhole", "unreachable", "prohibit"):
                return Lookup(rule.action, rule=rule, sources=(rule.source,))
            if rule.action != "lookup" or rule.l3mdev:
                return Lookup(
                    "unknown",
                    why=f"rule {rule.priority} uses {'l3mdev' if rule.l3mdev else rule.action}, which is not modelled",
                    decides="",
                    sources=(rule.source,),
                )
            found = self._table_lookup(rule, flow)
            if found is not None:
                return found
        return Lookup("none", why=f"no route to {flow.dst}", sources=whole(self.routes))

    def _rule_matches(self, rule: PolicyRoutingRule, flow: FlowKey) -> bool | None:
        result = self._selectors_match(rule, flow)
        return result if result is None or not rule.negated else not result

    def _selectors_match(self, rule: PolicyRoutingRule, flow: FlowKey) -> bool | None:
        if rule.iif and rule.iif != flow.iif:
            return False
        if rule.oif and rule.oif != flow.oif:
            return False
        if rule.dst is not None and rule.dst.prefixlen and flow.dst not in rule.dst:
            return False
        if rule.src is not None and rule.src.prefixlen and (flow.src is None or flow.src not in rule.src):
            return False
        if rule.tos and rule.tos != flow.tos & 0x1E:
            return False
        if rule.ipproto and rule.ipproto != flow.proto:
            wanted = PROTOCOL_NUMBERS.get(rule.ipproto, rule.ipproto)
            if str(wanted) != str(PROTOCOL_NUMBERS.get(flow.proto, flow.proto)):
                return False
        for ports, port in ((rule.sport, flow.sport), (rule.dport, flow.dport)):
            if ports is not None and (port is None or not ports[0] <= port <= ports[1]):
                return False
        if rule.uidrange is not None and flow.uid is not None and not rule.uidrange[0] <= flow.uid <= rule.uidrange[1]:
            return False
        if rule.fwmark is not None:
            value, mask = rule.fwmark
            if (flow.mark.value ^ value) & mask & flow.mark.known:
                return False
            if mask & ~flow.mark.known:
                return None
        return None if rule.uidrange is not None and flow.uid is None else True

    def _table_lookup(self, rule: PolicyRoutingRule, flow: FlowKey) -> Lookup | None:
        key: TableKey = rule.table if rule.table is not None else rule.table_name
        if isinstance(key, str) and key in NAMED_TABLES:
            key = NAMED_TABLES[key]
        lengths = self._tables.get(key, {})
        cited = (rule.source,) if rule.source.path and rule.priority not in (0, 32766, 32767) else ()
        address = int(flow.dst)
        doubt = self._doubt(key, flow.dst)
        for length in sorted(lengths, reverse=True):
            network = address >> (self.bits - length) << (self.bits - length)
            if doubt is not None and doubt[0] > length:
                break
            for route in lengths[length].get(network, ()):
                if route.tos and route.tos != flow.tos & 0x1E:
                    continue
                if route.src_prefix is not None and (flow.src is None or flow.src not in route.src_prefix):
                    continue
                if route.type == "throw":
                    return None
                if route.type in ("blackhole", "unreachable", "prohibit"):
                    return Lookup(route.type, route, rule=rule, sources=(route.source, *cited))
                usable = self._usable_nexthops(route, flow.oif)
                if usable is None:
                    return Lookup("unknown", route, why="the nexthop object is not known", decides="ip_nexthop")
                if not usable:
                    continue
                # fib_rules_lookup asks suppress() only of a lookup that succeeded: error routes are never suppressed.
                if rule.suppress_prefixlength is not None and length <= rule.suppress_prefixlength:
                    return None
                total = sum(hop.weight for hop in usable)
                shares = tuple((hop, Fraction(hop.weight, total)) for hop in usable)
                return Lookup(route.type, route, shares, rule, sources=(route.source, *cited))
        if doubt is not None:
            return Lookup("unknown", why=doubt[1], decides=f"ip{self.family}_route_all", sources=cited)
        return None

    def _doubt(self, table: TableKey, dst: Ip) -> tuple[int, str] | None:
        """(length of the longest prefix that a line not understood may give, why), or None."""
        if not isinstance(self.routes, Partial):
            return None
        worst: tuple[int, str] | None = None
        if not self.routes.doubts:
            return (self.bits + 1, self.routes.why)
        for doubt in self.routes.doubts:
            if not doubt.touches:
                return (self.bits + 1, doubt.why)
            length = _covers(doubt.touches, dst, table)
            if length is not None and (worst is None or length >= worst[0]):
                worst = (length + 1, doubt.why)
        return worst

    def _usable_nexthops(self, route: Route, oif: str) -> list[NextHop] | None:
        hops = route.nexthops
        if route.nhid is not None and not hops:
            expanded = self._expand(route.nhid)
            if expanded is None:
                return None
            hops = expanded
        usable = []
        for hop in hops:
            if "dead" in hop.flags:
                continue
            if oif and hop.dev and hop.dev != oif:
                continue
            if "linkdown" in hop.flags and self._ignores_linkdown(hop.dev):
                continue
            usable.append(hop)
        if not hops and route.type in ("local", "broadcast", "anycast", "multicast"):
            usable.append(NextHop("lo"))
        return usable

    def _expand(self, nhid: int) -> tuple[NextHop, ...] | None:
        entry = self._nexthop_objects.get(nhid)
        if entry is None:
            return None
        if not entry.group:
            return entry.nexthops
        hops: list[NextHop] = []
        for member, weight in entry.group:
            single = self._nexthop_objects.get(member)
            if single is None:
                return None
            hops.extend(NextHop(hop.dev, hop.via, weight, hop.flags) for hop in single.nexthops)
        return tuple(hops)

    def _ignores_linkdown(self, dev: str) -> bool:
        prefix = f"net.ipv{self.family}.conf"
        values = [self._sysctls.get(f"{prefix}.{name}.ignore_routes_with_linkdown", "0") for name in ("all", dev)]
        return "1" in values

    def has_local(self, ip: Ip) -> bool | None:
        """Whether `ip` is one of this netns's own addresses (a local route); None when routes are not known."""
        table = self._tables.get(LOCAL)
        if table is None or isinstance(self.routes, Absent):
            return None
        for length in sorted(table, reverse=True):
            network = int(ip) >> (self.bits - length) << (self.bits - length)
            for route in table[length].get(network, ()):
                return route.type == "local"
        return False

    def lookup_local(self, ip: Ip) -> tuple[str, frozenset[str]] | None:
        """(address type, devices) of `ip` as __inet_dev_addr_type sees it: the local table alone decides.

        Anything without an entry there is UNICAST. None when the local table is not known.
        """
        table = self._tables.get(LOCAL)
        if table is None:
            return None
        for length in sorted(table, reverse=True):
            network = int(ip) >> (self.bits - length) << (self.bits - length)
            same = table[length].get(network)
            if same:
                return same[0].type.upper(), frozenset(hop.dev for route in same for hop in route.nexthops)
        return "UNICAST", frozenset()


def _covers(touches: str, dst: Ip, table: TableKey) -> int | None:
    """Length of the doubtful prefix when it covers dst, else None.

    `touches` is a prefix, "default", or "table <id>" for a table that was not collected.
    """
    text = touches.split()[0]
    if text == "default":
        return 0
    if text == "table":
        return 128 if touches.split()[1:] == [str(table)] else None
    try:
        prefix = ip_network(text, strict=False)
    except ValueError:
        return 128
    if prefix.version != dst.version or dst not in prefix:
        return None
    return prefix.prefixlen
