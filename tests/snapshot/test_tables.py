"""Fact tables follow the dataclasses, and their keys order addresses as numbers."""

from __future__ import annotations

import sqlite3
from dataclasses import fields
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasthop.facts.calico import CalicoNode, IPAMBlock, WorkloadEndpoint
from lasthop.facts.evidence import Absent, AbsentReason, Artifact, Complete, Partial, SourceRef
from lasthop.facts.kube import EndpointAddress, EndpointSlice
from lasthop.facts.netfilter import Chain, ConntrackEntry, ConntrackTuple, IpSet, Match, NetfilterRule, SetEntry
from lasthop.facts.network import Link, NextHop, PolicyRoutingRule, Route, Sysctl
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from lasthop.snapshot.columns import Sources, address_key, range_keys, shape
from lasthop.snapshot.tables import TABLES, dataframe, layouts, places, table_rows

HERE = SourceRef("f.txt", 4, "text")


def rows(snapshot: Snapshot, name: str) -> list[dict[str, object]]:
    names = [column.name for column in layouts()[name].columns]
    return [dict(zip(names, row[1:], strict=True)) for row in table_rows(snapshot, name, Sources())]


def host(**kinds: object) -> Snapshot:
    return Snapshot({"n": Node("n", NetNS("n", **kinds))})  # type: ignore[arg-type]


def test_every_field_has_its_column_or_table() -> None:
    for table in TABLES.values():
        made = shape(table.cls)
        told = {name for name, _ in made.encoders} | {name for name, _ in made.children}
        assert told == {field.name for field in fields(table.cls)}, table.name


def test_no_column_twice_and_none_needs_quotes() -> None:
    db = sqlite3.connect(":memory:")
    for layout in layouts().values():
        names = [column.name for column in layout.columns]
        assert len(names) == len(set(names)), layout.name
        declared = ", ".join(f'"{column.name}" {column.type}' for column in layout.columns)
        db.execute(f"CREATE TABLE {layout.name} ({declared})")
        db.execute(f"SELECT {', '.join(f't.{name}' for name in names)} FROM {layout.name} t")
        db.execute(f"SELECT {', '.join(names)} FROM {layout.name}")


def test_keys_by_hand() -> None:
    assert address_key(IPv4Address("10.0.0.1")) == "4" + "0" * 24 + "0a000001"
    assert address_key(IPv6Address("fd00::1")) == "6fd000000000000000000000000000001"
    assert range_keys("10.0.0.0/30") == ("4" + "0" * 24 + "0a000000", "4" + "0" * 24 + "0a000003")
    assert range_keys("10.0.0.5/30") == range_keys("10.0.0.4/30")
    assert range_keys("10.0.0.1-10.0.0.9") == ("4" + "0" * 24 + "0a000001", "4" + "0" * 24 + "0a000009")
    assert range_keys("10.0.0.1") == ("4" + "0" * 24 + "0a000001",) * 2
    assert range_keys("eth0") is None
    assert range_keys("10.0.0.1,tcp:80") is None


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 128))
def test_between_is_containment(inside: object, base: object, length: int) -> None:
    prefix = ip_network(f"{base}/{min(length, ip_address(str(base)).max_prefixlen)}", strict=False)
    key = address_key(ip_address(str(inside)))
    low, high = range_keys(str(prefix)) or ("", "")
    expected = ip_address(str(inside)).version == prefix.version and ip_address(str(inside)) in prefix
    assert (low <= key <= high) == expected


def test_a_route_with_one_next_hop() -> None:
    route = Route(IPv4Network("10.1.0.0/26"), HERE, nexthops=(NextHop("eth0", IPv4Address("10.0.0.2")),), metric=1024)
    (row,) = rows(host(routes=Complete((route,))), "routes")
    assert (row["id"], row["node"], row["netns"], row["src"]) == (1, "n", "host", 1)
    assert (row["dst"], row["dst_len"], row["type"], row["tbl"], row["metric"]) == (
        "10.1.0.0/26",
        26,
        "unicast",
        254,
        1024,
    )
    assert (row["dev"], row["via"], row["hops"], row["family"]) == ("eth0", "10.0.0.2", 1, 4)
    assert row["via_lo"] == address_key(IPv4Address("10.0.0.2"))


def test_several_next_hops_are_a_child_table() -> None:
    hops = (NextHop("eth0", IPv4Address("10.0.0.2"), 1), NextHop("eth1", None, 2, frozenset({"onlink", "dead"})))
    of = host(routes=Complete((Route(IPv4Network("10.1.0.0/26"), HERE, nexthops=hops),)))
    (route,) = rows(of, "routes")
    assert (route["dev"], route["via"], route["hops"]) == (None, None, 2)
    first, second = rows(of, "route_nexthops")
    assert (first["route_id"], first["n"], first["dev"], first["weight"]) == (1, 1, "eth0", 1)
    assert (second["n"], second["dev"], second["via"], second["flags"]) == (2, "eth1", None, " dead onlink ")


def test_unknown_stays_null() -> None:
    (row,) = rows(host(links=Complete((Link("eth0", None, HERE),))), "links")
    assert (row["mtu"], row["ifindex"], row["vxlan_local"], row["vxlan_learning"]) == (None, None, None, None)
    assert (row["flags"], row["up"], row["running"]) == ("", 0, 0)


def test_both_families_lie_in_one_table() -> None:
    of = host(
        routes=Complete((Route(IPv4Network("0.0.0.0/0"), HERE),)), routes6=Complete((Route(IPv6Network("::/0"), HERE),))
    )
    assert [(row["family"], row["dst"]) for row in rows(of, "routes")] == [(4, "0.0.0.0/0"), (6, "::/0")]


def test_words_of_sql_and_colliding_fields_are_renamed() -> None:
    rule = PolicyRoutingRule(99, 4, HERE, src=IPv4Network("10.0.0.0/8"), fwmark=(0x200000, 0x200000), negated=True)
    (row,) = rows(host(routing_rules=Complete((rule,))), "routing_rules")
    assert (row["from_prefix"], row["to_prefix"], row["src"]) == ("10.0.0.0/8", None, 1)
    assert (row["fwmark_1"], row["fwmark_2"], row["negated"]) == (0x200000, 0x200000, 1)


def test_sysctls_are_taken_apart() -> None:
    values = (
        Sysctl("net.ipv4.conf.vxlan/calico.rp_filter", "2", HERE),
        Sysctl("net.ipv4.ip_forward", "1", HERE),
        Sysctl("net.ipv4.ip_local_port_range", "32768\t60999", HERE),
    )
    first, second, third = rows(host(sysctls=Complete(values)), "sysctls")
    assert (first["dev"], first["name"], first["number"]) == ("vxlan.calico", "rp_filter", 2)
    assert (second["dev"], second["name"], second["number"]) == (None, None, 1)
    assert (third["number"], third["value"]) == (None, "32768\t60999")


def test_conntrack_tuples_lie_inline() -> None:
    one, two = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
    entry = ConntrackEntry(
        "tcp", ConntrackTuple(one, two, 1, 80), ConntrackTuple(two, one, 80, 1), HERE, status=frozenset({"UNREPLIED"})
    )
    (row,) = rows(host(conntrack=Complete((entry,))), "conntrack_entries")
    assert (row["original_src"], row["original_dport"], row["reply_src"], row["reply_sport"]) == (
        "10.0.0.1", 80, "10.0.0.2", 80,
    )  # fmt: skip
    assert (row["status"], row["packets_1"], row["src"]) == (" UNREPLIED ", None, 1)


def test_sets_and_their_entries() -> None:
    entries = (SetEntry(("10.0.0.1", "tcp:80")), SetEntry(("10.1.0.0/16",), nomatch=True))
    sets = (IpSet("cali40s:abc", "hash:net", 4, entries, HERE), IpSet("mine", "hash:net", 4, entries[1:], HERE))
    of = host(ipsets=Complete(sets))
    assert [row["parts"] for row in rows(of, "ipset_entries")] == ["10.0.0.1,tcp:80", "10.1.0.0/16", "10.1.0.0/16"]
    assert rows(of, "ipset_entries")[0]["ip"] == "10.0.0.1"
    assert rows(of, "ipset_entries")[1]["ip_hi"] == address_key(IPv4Address("10.1.255.255"))
    assert [row["name"] for row in rows(of, "static_ipsets")] == ["mine"]
    assert [row["static_ipset_id"] for row in rows(of, "static_ipset_entries")] == [1]


class Rules:
    """A ruleset that notes which chains were tokenised."""

    backend, family, path = "nft", 4, "save"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tables(self) -> tuple[str, ...]:
        return ("filter",)

    def chains(self, table: str) -> tuple[Chain, ...]:
        return tuple(
            Chain("nft", 4, table, name, policy, HERE) for name, policy in (("FORWARD", "DROP"), ("cali-FORWARD", ""))
        )

    def chain(self, table: str, name: str) -> Chain | None:
        return next((chain for chain in self.chains(table) if chain.name == name), None)

    def rules(self, table: str, chain: str) -> tuple[NetfilterRule, ...]:
        self.asked.append(chain)
        matches = (
            Match("", "in-interface", ("cali+",), True),
            Match("tcp", "dport", ("80",)),
            Match("comment", "comment"),
        )
        return (NetfilterRule("nft", 4, table, chain, 1, HERE, matches, "DROP"),)


def test_chains_are_not_tokenised_before_a_rule_needs_them() -> None:
    rules = Rules()
    of = host(rulesets={("nft", 4): Complete((rules,))})
    assert [row["name"] for row in rows(of, "netfilter_chains")] == ["FORWARD", "cali-FORWARD"]
    assert rules.asked == []
    (hook,) = rows(of, "hook_rules")
    assert rules.asked == ["FORWARD"]
    assert (hook["tbl"], hook["chain"], hook["idx"], hook["target"]) == ("filter", "FORWARD", 1, "DROP")
    assert (hook["iif"], hook["dport"], hook["match_count"]) == ("! cali+", "80", 2)
    assert len(rows(of, "netfilter_rules")) == 2
    assert [row["option"] for row in rows(of, "hook_rule_matches")] == ["in-interface", "dport", "comment"]


def test_cluster_objects() -> None:
    endpoint = WorkloadEndpoint(
        "shop",
        "web",
        "n",
        "cali1",
        HERE,
        (IPv4Network("10.0.0.5/32"), IPv6Network("fd00::5/128")),
        labels={"app": "web"},
    )
    block = IPAMBlock(IPv4Network("10.0.0.0/26"), "n", HERE, ((IPv4Address("10.0.0.5"), "h", {"pod": "web"}),))
    node = CalicoNode("n", HERE, bgp_ipv4="10.20.0.11/24")
    slices = EndpointSlice("shop", "web", "web-x", HERE, addresses=(EndpointAddress(IPv4Address("10.0.0.5"), True),))
    of = Snapshot(
        {},
        Cluster(
            workload_endpoints=Complete((endpoint,)), ipam_blocks=Complete((block,)), calico_nodes=Complete((node,)),
            endpoint_slices=Complete((slices,)),
        ),
    )  # fmt: skip
    (row,) = rows(of, "workload_endpoints")
    assert (row["node"], row["ip"], row["netns"]) == ("n", "10.0.0.5", "pod:shop/web")
    assert [row["value"] for row in rows(of, "workload_endpoint_ips")] == ["10.0.0.5/32", "fd00::5/128"]
    assert [(row["key"], row["value"]) for row in rows(of, "workload_endpoint_labels")] == [("app", "web")]
    (used,) = rows(of, "ipam_block_allocated")
    assert (used["ip"], used["handle"], used["attributes"]) == ("10.0.0.5", "h", '{"pod": "web"}')
    (calico,) = rows(of, "calico_nodes")
    assert (calico["bgp_ip"], calico["bgp_net"]) == ("10.20.0.11", "10.20.0.11/24")
    assert calico["bgp_net_hi"] == address_key(IPv4Address("10.20.0.255"))
    (address,) = rows(of, "endpoint_addresses")
    assert (address["endpoint_slice_id"], address["ip"], address["ready"]) == (1, "10.0.0.5", 1)


def test_places_and_pods() -> None:
    inner = NetNS("n", "pod:shop/web", links=Complete((Link("eth0", 2, HERE),)))
    of = Snapshot({"n": Node("n", NetNS("n", links=Complete((Link("lo", 1, HERE),))), {"shop/web": inner})})
    assert places(of) == (("n", "host"), ("n", "pod:shop/web"))
    assert [(row["netns"], row["name"]) for row in rows(of, "links")] == [("host", "lo"), ("pod:shop/web", "eth0")]
    pod = rows(of, "netns")[1]
    assert (pod["kind"], pod["namespace"], pod["pod"]) == ("pod", "shop", "web")
    assert [row[0] for row in table_rows(of, "links", Sources())] == [0, 1]


@pytest.mark.parametrize(
    ("evidence", "state"),
    [
        (Complete((), (Artifact("ip4_route_all", "r.txt"),)), "complete"),
        (Partial((), "cut", (), (Artifact("ip4_route_all", "r.txt"),)), "partial"),
        (Absent(AbsentReason.FAILED, "rc 1", (Artifact("ip4_route_all", "r.txt"),)), "absent"),
        (Absent(AbsentReason.NOT_APPLICABLE), "not-applicable"),
    ],
)
def test_coverage(evidence: object, state: str) -> None:
    cell = next(
        row for row in rows(host(routes=evidence), "coverage") if row["kind"] == "routes" and row["netns"] == "host"
    )
    assert cell["state"] == state
    assert (cell["src"] is None) == (state == "not-applicable")


def test_dataframe_has_file_and_line() -> None:
    frame = dataframe(host(links=Complete((Link("eth0", 2, HERE),))), "links")
    assert frame[["name", "file", "line"]].values.tolist() == [["eth0", "f.txt", 4]]
    assert dataframe(host(links=Complete(())), "links").empty
