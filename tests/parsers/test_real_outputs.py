"""All node outputs of the reference cluster and of published nodes: everything understood, text and JSON agree.

The share of lines that a parser does not understand has to stay below 0.5 % per format; it is 0 today, and the test
says so, because a new kind of line in these files would be a regression.
"""

from __future__ import annotations

import re
import shlex
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.netfilter import NetfilterRule
from lasthop.parsers import counters
from lasthop.parsers.conntrack import parse_conntrack, read_common, read_words
from lasthop.parsers.iproute_addr import parse_addresses, parse_addresses_json, parse_links_json
from lasthop.parsers.iproute_link import parse_links
from lasthop.parsers.iproute_neigh import parse_fdb, parse_fdb_json, parse_neighbours, parse_neighbours_json
from lasthop.parsers.iproute_route import parse_route_n, parse_routes, parse_routes_json
from lasthop.parsers.iproute_rule import parse_rules, parse_rules_json
from lasthop.parsers.ipset import parse_ipsets
from lasthop.parsers.iptables import parse_iptables_save
from lasthop.parsers.nft import parse_nft_base_chains
from lasthop.parsers.processes import parse_processes
from lasthop.parsers.sockets import parse_ss
from lasthop.parsers.sysctl import parse_sysctls
from tests.conftest import shared

Parser = Callable[[str, str], ParseResult[Any]]

# Command as in the case's commands.tsv -> (format, parser); the first pattern that matches counts.
COMMANDS: tuple[tuple[str, str, Parser], ...] = (
    (r"ip (-s )?(-d )?-j (addr|link)|ip -d -j (addr|link)|ip -s -j link", "link json", parse_links_json),
    (r"ip (-[ds] )*(addr|link)", "link text", parse_links),
    (r"ip .*-j .*route", "route json", parse_routes_json),
    (r"ip (-[ds46] )*route", "route text", parse_routes),
    (r"ip -j rule", "rule json", parse_rules_json),
    (r"ip rule", "rule text", parse_rules),
    (r"ip (-s )?-j neigh", "neigh json", parse_neighbours_json),
    (r"ip (-s )?neigh", "neigh text", parse_neighbours),
    (r"bridge -j fdb", "fdb json", parse_fdb_json),
    (r"bridge fdb", "fdb text", parse_fdb),
    (r"ip6?tables(-legacy|-nft)?-save", "iptables", parse_iptables_save),
    (r"nft list ruleset", "nft", parse_nft_base_chains),
    (r"ipset save", "ipset", parse_ipsets),
    (r"conntrack -L", "conntrack", parse_conntrack),
    (r"conntrack -S", "conntrack -S", counters.parse_conntrack_stats),
    (r"conntrack -C", "conntrack -C", counters.parse_conntrack_count),
    (r"ss ", "ss", parse_ss),
    (r"sysctl ", "sysctl", parse_sysctls),
    (r"ps ", "ps", parse_processes),
    (r"cat /proc/net/stat/nf_conntrack", "stat/nf_conntrack", counters.parse_proc_stat_conntrack),
    (r"cat /proc/net/softnet_stat", "softnet_stat", counters.parse_softnet),
    (r"nstat", "nstat", counters.parse_nstat),
    (r"cat /proc/net/snmp", "snmp", counters.parse_snmp),
    (r"tc -s qdisc", "tc qdisc", counters.parse_tc_qdisc),
)


@cache
def members() -> dict[str, str]:
    """Text members of all cases by "<case>/<path>"."""
    found: dict[str, str] = {}
    for archive in sorted(shared("reference-cluster", "cases").glob("*.tar.xz")):
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and not member.name.endswith(".pcap"):
                    stream = tar.extractfile(member)
                    assert stream is not None
                    found[member.name.removeprefix("./")] = stream.read().decode(errors="replace")
    assert len(found) > 1000
    return found


def outputs() -> Iterator[tuple[str, str, str]]:
    """(path, command, text) of every file that a commands.tsv names."""
    texts = members()
    for path, text in texts.items():
        if not path.endswith("/commands.tsv"):
            continue
        folder = path.removesuffix("commands.tsv")
        for line in text.splitlines()[1:]:
            slug, command = line.split("\t")[:2]
            if f"{folder}{slug}.txt" in texts:
                yield f"{folder}{slug}.txt", command, texts[f"{folder}{slug}.txt"]


def test_every_line_of_the_cluster_is_understood() -> None:
    lines: Counter[str] = Counter()
    strange: dict[str, list[str]] = {}
    for path, command, text in outputs():
        for pattern, name, parser in COMMANDS:
            if re.match(pattern, command):
                result = parser(text, path)
                lines[name] += result.lines
                strange.setdefault(name, []).extend(f"{path}: {x.source.text}" for x in result.unparsed)
                assert not result.truncated, path
                break
    assert set(lines) == {name for _, name, _ in COMMANDS}
    assert {name: found[:3] for name, found in strange.items() if found} == {}
    for name, count in lines.items():
        assert count > 90, name


def without(value: Any, *names: str) -> tuple[Any, ...]:
    return tuple(getattr(value, field.name) for field in fields(value) if field.name not in ("source", *names))


def pairs(text_name: str, json_name: str) -> Iterator[tuple[str, str, str]]:
    texts = members()
    count = 0
    for path, text in texts.items():
        other = path.removesuffix(f"{text_name}.txt") + f"{json_name}.txt"
        if path.endswith(f"/{text_name}.txt") and other in texts and "/t0/" not in path:
            count += 1
            yield path, text, texts[other]
    assert count > 100


def test_routes_of_text_and_json_agree() -> None:
    """JSON with -d prints every scope, text without it those other than global; some JSON dumps hold IPv4 only."""
    both = 0
    for path, text, json in pairs("ip-route-all", "ip-route-all-json"):
        of_text, of_json = parse_routes(text, path).values, parse_routes_json(json, path).values
        six = any(route.dst.version == 6 for route in of_json)
        both += six
        expected = [route for route in of_text if six or route.dst.version == 4]
        assert [without(r, "scope", "flags") for r in expected] == [without(r, "scope", "flags") for r in of_json], path
        assert [r.scope or "global" for r in expected] == [r.scope or "global" for r in of_json], path
    assert both


def test_addresses_of_text_and_json_agree() -> None:
    for path, text, json in pairs("ip-addr", "ip-addr-json"):
        assert [without(a) for a in parse_addresses(text, path).values] == [
            without(a) for a in parse_addresses_json(json, path).values
        ]


def test_links_of_text_and_json_agree() -> None:
    """The text form names the netns of the other end where it knows a name, JSON its number; text has the counters."""
    statistics = [name for name in (f.name for f in fields(_link())) if name.startswith(("rx_", "tx_"))]
    for path, text, json in pairs("ip-addr", "ip-addr-json"):
        of_text, of_json = parse_links(text, path).values, parse_links_json(json, path).values
        hidden = ("link_netnsid", *statistics)
        assert [without(a, *hidden) for a in of_text] == [without(a, *hidden) for a in of_json], path
        assert all(link.rx_packets is not None for link in of_text)


def _link() -> Any:
    return parse_links("1: lo: <UP> mtu 1\n", "x").values[0]


@pytest.mark.parametrize(
    ("name", "of_text", "of_json"),
    [
        ("ip-neigh", parse_neighbours, parse_neighbours_json),
        ("bridge-fdb", parse_fdb, parse_fdb_json),
        ("ip-rule", parse_rules, parse_rules_json),
    ],
)
def test_other_tables_of_text_and_json_agree(name: str, of_text: Parser, of_json: Parser) -> None:
    """Two commands run one after the other: a neighbour's state, and with it its MAC, may change in between."""
    moving = ("state", "mac") if name == "ip-neigh" else ()
    for path, text, json in pairs(name, f"{name}-json"):
        assert sorted(map(repr, (without(x, *moving) for x in of_text(text, path).values))) == sorted(
            map(repr, (without(x, *moving) for x in of_json(json, path).values))
        ), path


def test_the_short_way_through_conntrack_lines_says_what_the_long_one_says() -> None:
    common = 0
    for path, command, text in outputs():
        if command.startswith("conntrack -L"):
            for line in text.splitlines():
                source = SourceRef(path, 1, line)
                fast = read_common(line, source)
                assert fast is None or fast == read_words(line.split(), source)
                common += fast is not None
    assert common > 1000


def spelled(rule: NetfilterRule) -> list[str]:
    """The rule's words, unordered, as iptables-save writes them, from its facts alone."""
    short = {"source": "-s", "destination": "-d", "in-interface": "-i", "out-interface": "-o", "protocol": "-p"}
    words = ["-A", rule.chain]
    if rule.packets is not None:
        words.append(f"[{rule.packets}:{rule.bytes}]")
    instances = set()
    for match in rule.matches:
        words += ["!"] * match.negated
        if match.module and match.instance not in instances:
            instances.add(match.instance)
            words += ["-m", match.module]
        if match.option:
            words.append(short[match.option] if not match.module else f"--{match.option}")
        words += match.values
    if rule.target:
        words += ["-g" if rule.goto else "-j", rule.target]
    for option, values in rule.target_options:
        words += [f"--{option}", *values]
    return sorted(words)


def test_every_rule_of_the_cluster_can_be_spelled_from_its_tokens() -> None:
    seen: Counter[str] = Counter()
    for path, command, text in outputs():
        if not command.startswith(("iptables", "ip6tables")):
            continue
        for ruleset in parse_iptables_save(text, path).values:
            assert ruleset.backend_known
            assert ruleset.backend == ("legacy" if "legacy" in command or "(nf_tables)" not in text else "nft")
            assert ruleset.count() == sum(1 for line in text.splitlines() if " -A " in line)
            for rule in ruleset.all_rules():
                assert not rule.unparsed, rule
                if rule.source.text.split(" ", 1)[1] in seen:
                    continue
                seen[rule.source.text.split(" ", 1)[1]] += 1
                words = shlex.split(rule.source.text)
                comments = []
                while "--comment" in words:
                    at = words.index("--comment")
                    comments.append(words[at + 1])
                    del words[at - 2 : at + 2]
                assert " ".join(comments) == rule.comment
                assert sorted(words) == spelled(rule), rule.source.text
    assert len(seen) > 500


def test_facts_of_a_healthy_node() -> None:
    """healthy-bgp-nft, node1: read by a person from the files."""
    texts = members()
    (case,) = {path.split("/")[0] for path in texts if path.split("/")[0] == "healthy-bgp-nft"}
    node = f"{case}/nodes/node1/"
    routes = {str(r.dst): r for r in parse_routes(texts[node + "ip-route.txt"], "r").values}
    blocks = [r for r in routes.values() if r.proto == "bird" and r.type == "unicast"]
    assert {r.nexthops[0].via for r in blocks} == {ip_address("10.20.0.12"), ip_address("10.20.0.13")}
    assert {r.metric for r in blocks} == {1024}
    (own,) = [r for r in routes.values() if r.type == "blackhole"]
    assert own.dst.prefixlen == 26
    sysctls = {s.key: s.value for s in parse_sysctls(texts[node + "sysctl.txt"], "s").values}
    assert sysctls["net.ipv4.ip_forward"] == "1"
    sockets = {(s.proto, s.port) for s in parse_ss(texts[node + "ss-tulnp.txt"], "s").values}
    assert {("tcp", 179), ("tcp", 9099)} <= sockets
    (ruleset,) = parse_iptables_save(texts[node + "iptables-save.txt"], "i").values
    assert ruleset.backend == "nft"
    assert {"raw", "mangle", "nat", "filter"} <= set(ruleset.tables())
    sets = {s.name: s for s in parse_ipsets(texts[node + "ipset-save.txt"], "i").values}
    assert [e.parts for e in sets["cali40masq-ipam-pools"].entries] == [("10.244.0.0/16",)]
    assert {p.name for p in parse_processes(texts[node + "ps.txt"], "p").values} == {"felix", "confd", "bird"}


def blocks(name: str) -> list[list[str]]:
    """The code blocks of a published page; `# ---` lines part them, its first lines name the source."""
    text = shared("real-evidence", name).read_text()
    return [block.split("\n")[1:] for block in text.split("# --- block")[1:]]


def test_published_ip_route_of_2017() -> None:
    found = [
        line
        for block in blocks("jaxxstorm-calico2-ip-route-iptables.txt")
        if block[0] == "ip route"
        for line in block[1:]
    ]
    result = parse_routes("\n".join(found), "r")
    assert not result.unparsed
    assert result.lines == 25
    assert sum(r.type == "blackhole" for r in result.values) == 2
    assert {r.nexthops[0].flags for r in result.values if r.nexthops[0:1] and r.nexthops[0].dev == "tunl0"} == {
        frozenset({"onlink"})
    }


def test_published_route_n_of_twelve_nodes() -> None:
    for name, tables in (("qepyd-ipip-always-6nodes-routes.txt", 6), ("qepyd-vxlan-always-6nodes-routes.txt", 6)):
        prose = re.compile(r".*[^\x00-\x7f].*\n")
        text = prose.sub("", shared("real-evidence", name).read_text())
        dumps = re.findall(r"Kernel IP routing table\n(?:.*\n)*?(?=root@|\Z)", text)
        assert len(dumps) == tables
        for dump in dumps:
            result = parse_route_n(dump, name)
            assert not result.unparsed, result.unparsed
            assert any(r.dst == ip_network("0.0.0.0/0") for r in result.values)
            assert any(r.type == "blackhole" for r in result.values) or "vxlan" in name


def test_published_iptables_rules_of_three_versions() -> None:
    """Fragments without tables: every rule line of Calico 2.1, of 2025 and of a kind cluster is tokenised whole."""
    for name in (
        "lijiaocn-iptables-save-2017-felix21.txt",
        "calico-fv-iptables-save-vxlan-2025.txt",
        "jayunit100-kind-iptables-save.txt",
    ):
        text = shared("real-evidence", name).read_text()
        rules = [line.strip() for line in text.splitlines() if re.match(r"\s*(\[\d+:\d+\] )?-A \S+ -", line)]
        result = parse_iptables_save("\n".join(rules), name, table="filter")
        assert not result.unparsed
        found = list(result.values[0].all_rules())
        assert len(found) == len(rules) > 10, name
        assert [rule.unparsed for rule in found if rule.unparsed] == [], name
