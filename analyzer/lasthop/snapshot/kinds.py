"""Which artifacts a kind of network evidence is read from, and by which parser.

A kind's ids are in order of preference: what shows more comes first. Text is the citable form; JSON fills in where text
is missing (and, for links, the fields that text without -d hides).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from lasthop.facts.evidence import (
    NOT_COLLECTED,
    Absent,
    Artifact,
    Complete,
    Evidence,
    ParseResult,
    Partial,
)
from lasthop.facts.network import Counter, Link, Route

from .reading import Parser, Reader, best, joined, keep, with_doubt

MAIN, LOCAL, DEFAULT = 254, 255, 253


@dataclass(slots=True)
class Place:
    """The artifacts of one netns of one node, by id, the newest take first."""

    reader: Reader
    artifacts: dict[str, list[Artifact]]

    @classmethod
    def of(cls, reader: Reader, artifacts: Iterable[Artifact]) -> Place:
        by_id: dict[str, list[Artifact]] = {}
        for artifact in artifacts:
            by_id.setdefault(artifact.id, []).append(artifact)
        for takes in by_id.values():
            takes.sort(key=lambda a: (a.sample, a.start or 0.0), reverse=True)
        return cls(reader, by_id)

    def read(self, ids: Iterable[str], name: str, parser: Parser, may_be_empty: bool = True) -> list[Evidence[Any]]:
        """The evidence of each id that was taken: of several takes the newest good one, older ones are not read."""
        found: list[Evidence[Any]] = []
        for identity in ids:
            takes: list[Evidence[Any]] = []
            for artifact in self.artifacts.get(identity, ()):
                takes.append(self.reader.read(artifact, name, parser, may_be_empty))
                if isinstance(takes[-1], Complete):
                    break
            chosen = best(takes)
            if chosen is not None:
                found.append(chosen)
        return found

    def first(self, ids: Iterable[str], name: str, parser: Parser, may_be_empty: bool = True) -> Evidence[Any] | None:
        """The strongest of `read`, earlier ids first; stops reading at the first that is complete."""
        candidates: list[Evidence[Any]] = []
        for identity in ids:
            candidates += self.read([identity], name, parser, may_be_empty)
            if candidates and isinstance(candidates[-1], Complete):
                break
        return best(candidates)


def links(place: Place) -> Evidence[Link]:
    from lasthop.parsers.iproute_addr import parse_links_json
    from lasthop.parsers.iproute_link import parse_links

    texts = place.read(("ip_link", "ip_addr"), "links", parse_links, may_be_empty=False)
    json = place.read(("ip_link_json", "ip_addr_json"), "links", parse_links_json, may_be_empty=False)
    parts = [part for part in texts + json if not isinstance(part, Absent)]
    if not parts:
        return best(texts + json) or NOT_COLLECTED
    base = best(parts)
    assert base is not None and not isinstance(base, Absent)
    merged: dict[str, Link] = {link.name: link for link in base.values}
    for part in parts:
        if part is not base:
            for link in part.values:
                merged[link.name] = _filled(merged[link.name], link) if link.name in merged else link
    artifacts = tuple(dict.fromkeys(a for part in (base, *parts) for a in part.artifacts))
    if isinstance(base, Complete):
        return Complete(tuple(merged.values()), artifacts)
    return Partial(tuple(merged.values()), base.why, base.doubts, artifacts)


def _filled(link: Link, other: Link) -> Link:
    """`link` with what only `other` knows: the same interface from another command."""
    if link.ifindex is not None and other.ifindex is not None and link.ifindex != other.ifindex:
        return link  # deleted and made again between the two commands
    changes = {}
    for field in fields(Link):
        mine, theirs = getattr(link, field.name), getattr(other, field.name)
        if field.name not in ("source", "name") and mine in (None, "", False) and theirs not in (None, "", False):
            changes[field.name] = theirs
    return replace(link, **changes) if changes else link


def addresses(place: Place) -> Evidence[Any]:
    from lasthop.parsers.iproute_addr import parse_addresses, parse_addresses_json

    text = place.first(("ip_addr",), "addresses", parse_addresses, may_be_empty=False)
    if isinstance(text, Complete):
        return text
    json = place.first(("ip_addr_json",), "addresses", parse_addresses_json, may_be_empty=False)
    return best([e for e in (text, json) if e is not None]) or NOT_COLLECTED


def routes(place: Place, family: int) -> Evidence[Route]:
    """All tables of one family. Where only the main table (or another single one) was taken, the others are in doubt:
    `touches` of such a doubt is "table <id>", "" when not even the policy routing rules say which tables matter."""
    from lasthop.parsers.iproute_route import parse_proc_net_route, parse_route_n, parse_routes, parse_routes_json

    def text(data: str, path: str) -> ParseResult[Route]:
        return parse_routes(data, path, family)

    def json(data: str, path: str) -> ParseResult[Route]:
        return parse_routes_json(data, path, family)

    def own(evidence: Evidence[Route]) -> Evidence[Route]:
        return keep(evidence, lambda route: route.dst.version == family)

    name = f"routes{family}"
    whole = place.read((f"ip{family}_route_all", "ip_route_all"), name, text)
    if not any(isinstance(e, Complete) for e in whole):
        whole += place.read((f"ip{family}_route_all_json", "ip_route_all_json"), name + "json", json)
    found = best(whole)
    if isinstance(found, Complete):
        return own(found)
    main = place.read((f"ip{family}_route_main",), name, text)
    if not any(isinstance(e, Complete) for e in main):
        main += place.read((f"ip{family}_route_main_json",), name + "json", json)
    if family == 4 and not any(isinstance(e, Complete) for e in main):
        main += place.read(("route_n",), name, parse_route_n)
        main += place.read(("proc_net_route",), name, parse_proc_net_route)
    single = best(main)
    if found is not None and not isinstance(found, Absent):
        return own(found)
    if single is None or isinstance(single, Absent):
        return found or single or NOT_COLLECTED
    return _one_table(place, own(single), family, text, name)


def _one_table(place: Place, main: Evidence[Route], family: int, text: Parser, name: str) -> Evidence[Route]:
    prefix = f"ip{family}_route_table_"
    parts: list[Evidence[Any]] = [main]
    taken = {MAIN}
    for identity in sorted(place.artifacts):
        if identity.startswith(prefix) and not identity.endswith("_json"):
            word = identity.removeprefix(prefix)
            number = {"local": LOCAL, "default": DEFAULT, "main": MAIN}.get(word, int(word) if word.isdigit() else None)
            evidence = place.first((identity,), f"{name} {word}", text)
            if evidence is not None and not isinstance(evidence, Absent):
                parts.append(_in_table(evidence, number, word))
                if isinstance(evidence, Complete) and number is not None:
                    taken.add(number)
    evidence = joined(parts) or NOT_COLLECTED
    rules = routing_rules(place, family)
    if isinstance(rules, Complete) and rules.values:
        wanted = {rule.table for rule in rules.values if rule.action == "lookup"} - taken - {LOCAL}
        for table in sorted(t for t in wanted if t is not None):
            evidence = with_doubt(evidence, f"the routes of table {table} were not collected", f"table {table}")
        if None in wanted:
            evidence = with_doubt(evidence, "the routes of a named table were not collected")
        return evidence
    return with_doubt(evidence, "only the main table was collected", "")


def _in_table(evidence: Evidence[Route], number: int | None, word: str) -> Evidence[Route]:
    if isinstance(evidence, Absent):
        return evidence
    moved = tuple(
        replace(route, table=number, table_name="" if number is not None else word) for route in evidence.values
    )
    return replace(evidence, values=moved)


def routing_rules(place: Place, family: int) -> Evidence[Any]:
    from lasthop.parsers.iproute_rule import parse_rules, parse_rules_json

    def text(data: str, path: str) -> ParseResult[Any]:
        return parse_rules(data, path, family)

    def json(data: str, path: str) -> ParseResult[Any]:
        return parse_rules_json(data, path, family)

    # an IPv4 netns always has its three rules; IPv6 may be switched off
    empty = family == 6
    found = place.first((f"ip{family}_rule",), f"rules{family}", text, empty)
    if isinstance(found, Complete):
        return found
    other = place.first((f"ip{family}_rule_json",), f"rules{family}json", json, empty)
    return best([e for e in (found, other) if e is not None]) or NOT_COLLECTED


def neighbours(place: Place, family: int) -> Evidence[Any]:
    from lasthop.parsers.iproute_neigh import parse_neighbours, parse_neighbours_json, parse_proc_arp

    def own(evidence: Evidence[Any]) -> Evidence[Any]:
        return keep(evidence, lambda entry: entry.ip.version == family)

    found = place.first((f"ip{family}_neigh", "ip_neigh"), "neighbours", parse_neighbours)
    if not isinstance(found, Complete):
        ids = (f"ip{family}_neigh_json", "ip_neigh_json")
        other = place.first(ids, "neighbours json", parse_neighbours_json)
        arp = place.first(("proc_net_arp",), "arp", parse_proc_arp) if family == 4 else None
        found = best([e for e in (found, other, arp) if e is not None])
    return own(found) if found is not None else NOT_COLLECTED


def fdb(place: Place) -> Evidence[Any]:
    from lasthop.parsers.iproute_neigh import parse_fdb, parse_fdb_json

    found = place.first(("bridge_fdb",), "fdb", parse_fdb)
    if isinstance(found, Complete):
        return found
    other = place.first(("bridge_fdb_json",), "fdb json", parse_fdb_json)
    return best([e for e in (found, other) if e is not None]) or NOT_COLLECTED


def nexthop_objects(place: Place) -> Evidence[Any]:
    from lasthop.parsers.iproute_rule import parse_nexthops, parse_nexthops_json

    found = place.first(("ip_nexthop",), "nexthops", parse_nexthops)
    if isinstance(found, Complete):
        return found
    other = place.first(("ip_nexthop_json",), "nexthops json", parse_nexthops_json)
    return best([e for e in (found, other) if e is not None]) or NOT_COLLECTED


def route_cache(place: Place) -> Evidence[Any]:
    from lasthop.parsers.iproute_route import parse_routes

    def six(data: str, path: str) -> ParseResult[Route]:
        return parse_routes(data, path, 6)

    parts = place.read(("ip4_route_cache",), "cache4", parse_routes) + place.read(("ip6_route_cache",), "cache6", six)
    return joined(parts) or NOT_COLLECTED


def ipsets(place: Place) -> Evidence[Any]:
    from lasthop.parsers.ipset import parse_ipsets

    return place.first(("ipset_save", "ipset_list"), "ipsets", parse_ipsets) or NOT_COLLECTED


def conntrack(place: Place) -> Evidence[Any]:
    """Both families. The state is that of IPv4, the commoner question; IPv6 entries are added where they were taken."""
    from lasthop.parsers.conntrack import parse_conntrack

    found = place.first(("conntrack", "proc_nf_conntrack"), "conntrack", parse_conntrack)
    six = place.first(("conntrack6",), "conntrack", parse_conntrack)
    focus = sorted(identity for identity in place.artifacts if identity.startswith("conntrack_focus_"))
    if not isinstance(found, Complete) and focus:
        parts = place.read(focus, "conntrack", parse_conntrack)
        seen = dict.fromkeys(value for part in parts for value in part.values)
        artifacts = tuple(a for part in parts for a in part.artifacts)
        before = found.values if found is not None else ()
        why = "only entries of the addresses in question were taken"
        found = with_doubt(Complete((*before, *_new_entries(before, seen)), artifacts), why)
    if found is None:
        return six or NOT_COLLECTED
    if six is None or not six.values or isinstance(found, Absent):
        return found
    return replace(found, values=(*found.values, *six.values), artifacts=(*found.artifacts, *six.artifacts))


def _new_entries(before: tuple[Any, ...], more: Iterable[Any]) -> tuple[Any, ...]:
    known = {(e.proto, e.original, e.zone) for e in before}
    added: dict[Any, Any] = {}
    for entry in more:
        key = (entry.proto, entry.original, entry.zone)
        if key not in known:
            added.setdefault(key, entry)
    return tuple(added.values())


def sysctls(place: Place) -> Evidence[Any]:
    from lasthop.parsers.sysctl import parse_sysctls

    return place.first(("sysctl",), "sysctls", parse_sysctls, may_be_empty=False) or NOT_COLLECTED


def sockets(place: Place) -> Evidence[Any]:
    from lasthop.parsers.sockets import parse_netstat, parse_proc_sockets, parse_ss

    def proc_udp(data: str, path: str) -> ParseResult[Any]:
        return parse_proc_sockets(data, path, "udp")

    found = place.first(("ss_listen",), "sockets", parse_ss)
    if isinstance(found, Complete):
        return found
    candidates = [e for e in (found, place.first(("netstat",), "sockets", parse_netstat)) if e is not None]
    if not any(isinstance(e, Complete) for e in candidates):
        tcp = place.read(("proc_net_tcp", "proc_net_tcp6"), "proc tcp", parse_proc_sockets, may_be_empty=False)
        udp = place.read(("proc_net_udp", "proc_net_udp6"), "proc udp", proc_udp, may_be_empty=False)
        parts = tcp + udp
        together = joined(parts)
        if together is not None:
            if len(parts) < 4:
                together = with_doubt(together, "not all of /proc/net/{tcp,tcp6,udp,udp6} were taken")
            candidates.append(together)
    return best(candidates) or NOT_COLLECTED


def counters(place: Place) -> Evidence[Counter]:
    """Every counter of every take; a counter of one name may come from two files."""
    from lasthop.parsers import counters as parsers

    table = {
        "nstat": parsers.parse_nstat, "proc_net_snmp": parsers.parse_snmp, "proc_net_netstat": parsers.parse_snmp,
        "proc_net_snmp6": parsers.parse_snmp6, "conntrack_stats": parsers.parse_conntrack_stats,
        "proc_stat_nf_conntrack": parsers.parse_proc_stat_conntrack, "conntrack_count": parsers.parse_conntrack_count,
        "proc_net_softnet_stat": parsers.parse_softnet, "proc_net_dev": parsers.parse_proc_dev,
        "tc_qdisc": parsers.parse_tc_qdisc,
    }  # fmt: skip
    parts: list[Evidence[Any]] = []
    for identity, parser in table.items():
        for artifact in place.artifacts.get(identity, ()):

            def sampled(
                data: str, path: str, parser: Any = parser, sample: int = artifact.sample
            ) -> ParseResult[Counter]:
                return parser(data, path, sample)  # type: ignore[no-any-return]

            parts.append(place.reader.read(artifact, "counters", sampled, may_be_empty=identity == "tc_qdisc"))
    good = [part for part in parts if not isinstance(part, Absent)]
    return joined(good or parts[:1]) or NOT_COLLECTED


def nft_chains(place: Place) -> Evidence[Any]:
    from lasthop.parsers.nft import parse_nft_base_chains

    return place.first(("nft_ruleset", "nft_ruleset_json"), "nft", parse_nft_base_chains) or NOT_COLLECTED


def nft(place: Place) -> Evidence[Any]:
    """The listing as text; JSON is not evaluated rule by rule (`nft_chains` names its base chains)."""
    from lasthop.parsers.nft_ruleset import parse_nft_ruleset

    return place.first(("nft_ruleset",), "nft ruleset", parse_nft_ruleset) or NOT_COLLECTED
