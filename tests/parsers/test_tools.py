"""The real tools in a namespace of our own: what was configured is what is read, from text and from JSON alike."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from lasthop.facts.netfilter import Match
from lasthop.facts.network import NextHop
from lasthop.parsers.iproute_addr import parse_addresses, parse_addresses_json, parse_links_json
from lasthop.parsers.iproute_link import parse_links
from lasthop.parsers.iproute_neigh import parse_fdb, parse_fdb_json, parse_neighbours, parse_neighbours_json
from lasthop.parsers.iproute_route import parse_routes, parse_routes_json
from lasthop.parsers.iproute_rule import parse_nexthops, parse_nexthops_json, parse_rules, parse_rules_json
from lasthop.parsers.ipset import parse_ipsets
from lasthop.parsers.iptables import parse_iptables_save
from lasthop.parsers.nft import native_rules, parse_nft_base_chains
from lasthop.parsers.sockets import parse_proc_sockets, parse_ss
from tests.conftest import need


class Namespace:
    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, command: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", self.name, "sh", "-c", command],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def all(self, commands: str) -> None:
        for command in filter(None, map(str.strip, commands.splitlines())):
            self.run(command)


@pytest.fixture
def netns() -> Iterator[Namespace]:
    need("ip", "bridge", root=True)
    name = f"parse-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        namespace = Namespace(name)
        namespace.all("""
            ip link set lo up
            ip link add v0 type veth peer name v1
            ip link set v0 up
            ip link set v1 up
            ip addr add 10.20.0.11/24 dev v0
            ip addr add 2001:db8::b/64 dev v0 nodad
        """)
        yield namespace
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


def bare(values: Any, *hidden: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(v, f.name) for f in fields(v) if f.name not in ("source", *hidden)) for v in values]


def test_routes(netns: Namespace) -> None:
    netns.all("""
        ip route add 10.244.1.0/26 via 10.20.0.12 dev v0 proto bird metric 1024 onlink
        ip route add 10.244.2.5 dev v0 scope link metric 1024
        ip route add blackhole 10.244.3.0/26 proto 80
        ip route add unreachable 10.9.0.0/16 metric 9
        ip route add prohibit 10.10.0.0/16
        ip route add throw 10.11.0.0/16 table 7
        ip route add 10.244.4.0/26 via 10.20.0.12 dev v0 mtu 1450 advmss 1400
        ip route add 10.244.5.0/26 via 10.20.0.12 dev v0 mtu lock 1400 src 10.20.0.11 table 100 tos 0x10
        ip route add 10.96.0.10 proto bird nexthop via 10.20.0.12 dev v0 nexthop via 10.20.0.13 dev v0 weight 3 onlink
        ip route add default via 10.20.0.1 dev v0
        ip route add 10.30.0.0/16 via inet6 fe80::1 dev v0
        ip -6 route add 2001:db8:1::/64 via 2001:db8::1 dev v0 metric 55 proto static
        ip -6 route add default via fe80::1 dev v0 expires 900
        ip -6 route add blackhole 2001:db8:2::/64
    """)
    for family in ("-4", "-6"):
        text = netns.run(f"ip {family} -d route show table all")
        short = netns.run(f"ip {family} route show table all")
        json = netns.run(f"ip {family} -d -j route show table all")
        number = int(family[1])
        of_text, of_short = parse_routes(text, "t", number), parse_routes(short, "s", number)
        of_json = parse_routes_json(json, "j", number)
        assert not of_text.unparsed + of_short.unparsed + of_json.unparsed
        assert len(of_text.values) >= 8
        hidden = ("flags", "expires", "mtu_lock")  # JSON does not show the lock, expires counts down
        assert bare(of_text.values, *hidden) == bare(of_json.values, *hidden)
        assert bare(of_text.values, "scope", *hidden) == bare(of_short.values, "scope", *hidden)
    four = {(str(r.dst), r.table): r for r in parse_routes(netns.run("ip -4 -d route show table all"), "t").values}
    bird = four["10.244.1.0/26", 254]
    assert bird.nexthops == (NextHop("v0", ip_address("10.20.0.12"), 1, frozenset({"onlink"})),)
    assert (bird.proto, bird.metric) == ("bird", 1024)
    assert four["10.244.3.0/26", 254].type == "blackhole"
    assert (four["10.9.0.0/16", 254].type, four["10.9.0.0/16", 254].metric) == ("unreachable", 9)
    assert four["10.11.0.0/16", 7].type == "throw"
    assert (four["10.244.4.0/26", 254].mtu, four["10.244.4.0/26", 254].mtu_lock) == (1450, False)
    locked = four["10.244.5.0/26", 100]
    assert (locked.mtu, locked.mtu_lock, locked.tos, locked.prefsrc) == (1400, True, 0x10, ip_address("10.20.0.11"))
    assert [(h.via, h.weight) for h in four["10.96.0.10/32", 254].nexthops] == [
        (ip_address("10.20.0.12"), 1),
        (ip_address("10.20.0.13"), 3),
    ]
    assert four["10.30.0.0/16", 254].nexthops[0].via == ip_address("fe80::1")
    mixed = parse_routes(netns.run("ip route show table all"), "m")
    assert not mixed.unparsed
    defaults = [r for r in mixed.values if r.dst.prefixlen == 0]
    assert [str(r.dst) for r in defaults] == ["0.0.0.0/0", "::/0"]
    assert defaults[1].expires is not None


def test_nexthop_objects(netns: Namespace) -> None:
    netns.all("""
        ip nexthop add id 1 via 10.20.0.12 dev v0 proto bird onlink
        ip nexthop add id 2 via 10.20.0.13 dev v0
        ip nexthop add id 3 blackhole
        ip nexthop add id 10 group 1,5/2
        ip route add 10.50.0.0/16 nhid 10
    """)
    of_text = parse_nexthops(netns.run("ip nexthop show"), "t")
    of_json = parse_nexthops_json(netns.run("ip -j nexthop show"), "j")
    assert not of_text.unparsed + of_json.unparsed
    assert bare(of_text.values) == bare(of_json.values)
    assert {n.id: n.group for n in of_text.values}[10] == ((1, 5), (2, 1))
    (route,) = [r for r in parse_routes(netns.run("ip route"), "r").values if r.nhid == 10]
    assert route.dst == ip_network("10.50.0.0/16")


def test_rules(netns: Namespace) -> None:
    netns.all("""
        ip rule add not from all fwmark 0x200000/0x200000 lookup 1 prio 99
        ip rule add prio 100 from 10.244.0.0/16 to 10.20.0.0/24 iif v0 tos 10 ipproto 6 sport 1000-2000 dport 80 table 7
        ip rule add from all lookup main suppress_prefixlength 0 prio 101
        ip rule add from 10.9.0.0/16 prohibit prio 102
        ip rule add from 10.10.0.0/16 blackhole prio 103
        ip rule add fwmark 5 unreachable prio 104
        ip rule add from all goto 32766 prio 105
        ip rule add uidrange 5-9 lookup main prio 106
        ip rule add iif gone0 lookup 8 prio 107
    """)
    of_text = parse_rules(netns.run("ip rule show"), "t")
    of_json = parse_rules_json(netns.run("ip -j rule show"), "j")
    assert not of_text.unparsed + of_json.unparsed
    assert bare(of_text.values) == bare(of_json.values)
    rules = {rule.priority: rule for rule in of_text.values}
    assert (rules[99].negated, rules[99].fwmark, rules[99].table) == (True, (0x200000, 0x200000), 1)
    assert (rules[100].src, rules[100].dst, rules[100].sport, rules[100].tos) == (
        ip_network("10.244.0.0/16"),
        ip_network("10.20.0.0/24"),
        (1000, 2000),
        0x10,
    )
    assert (rules[101].suppress_prefixlength, rules[104].action, rules[104].fwmark) == (
        0,
        "unreachable",
        (5, 0xFFFFFFFF),
    )
    assert (rules[105].action, rules[105].goto, rules[106].uidrange, rules[107].iif) == ("goto", 32766, (5, 9), "gone0")
    six = parse_rules(netns.run("ip -6 rule show"), "t", 6)
    assert not six.unparsed
    assert {rule.family for rule in six.values} == {6}


def test_neighbours_and_fdb(netns: Namespace) -> None:
    netns.all("""
        ip link add vx type vxlan id 4096 dstport 4789 dev v0 local 10.20.0.11 nolearning
        ip link set vx up
        ip link add bri0 type bridge
        ip link set v1 master bri0
        ip neigh add 10.20.0.12 dev v0 lladdr 52:54:00:00:00:02 nud permanent
        ip neigh add 10.20.0.13 dev v0 lladdr 52:54:00:00:00:03 nud stale
        ip neigh add 10.20.0.14 dev v0 nud failed
        ip -6 neigh add 2001:db8::c dev v0 lladdr 52:54:00:00:00:02 router nud reachable
        ip neigh add proxy 10.20.0.99 dev v0
        bridge fdb append 66:00:00:00:00:02 dev vx dst 10.20.0.12 self permanent
        bridge fdb append 00:00:00:00:00:00 dev vx dst 203.0.113.5 port 8472 vni 7 via v0 self permanent
        bridge fdb add 52:54:00:00:00:99 dev v1 master static
    """)
    for detail in ("", "-s "):
        text, json = netns.run(f"ip {detail}neigh show"), netns.run(f"ip {detail}-j neigh show")
        of_text, of_json = parse_neighbours(text, "t"), parse_neighbours_json(json, "j")
        assert not of_text.unparsed + of_json.unparsed
        assert sorted(map(repr, bare(of_text.values))) == sorted(map(repr, bare(of_json.values)))
    found = {str(n.ip): n for n in of_text.values}
    assert (found["10.20.0.12"].state, found["10.20.0.12"].mac) == ("PERMANENT", "52:54:00:00:00:02")
    assert (found["10.20.0.13"].state, found["2001:db8::c"].router) == ("STALE", True)
    (proxy,) = parse_neighbours(netns.run("ip neigh show proxy"), "p").values
    assert (proxy.proxy, str(proxy.ip)) == (True, "10.20.0.99")
    of_fdb, of_fdb_json = (
        parse_fdb(netns.run("bridge fdb show"), "t"),
        parse_fdb_json(netns.run("bridge -j fdb show"), "j"),
    )
    assert not of_fdb.unparsed + of_fdb_json.unparsed
    assert bare(of_fdb.values) == bare(of_fdb_json.values)
    entries = {entry.mac: entry for entry in of_fdb.values if entry.dev in ("vx", "v1")}
    vtep, flood = entries["66:00:00:00:00:02"], entries["00:00:00:00:00:00"]
    assert (vtep.dst, vtep.self_, vtep.permanent) == (ip_address("10.20.0.12"), True, True)
    assert (flood.port, flood.vni, flood.via) == (8472, 7, "v0")
    assert entries["52:54:00:00:00:99"].master == "bri0"


def test_links_and_addresses(netns: Namespace) -> None:
    netns.all("""
        ip link add vx type vxlan id 4096 dstport 4789 dev v0 local 10.20.0.11 nolearning
        ip link add vy type vxlan id 7 dstport 8472 remote 10.20.0.12
        ip link add bri0 type bridge
        ip link set v1 master bri0 mtu 1400
        ip link add mv link v0 type macvlan
        ip addr add 10.9.0.1 peer 10.9.0.2/30 dev v0
        ip addr add 10.20.0.21/24 dev v0 label v0:vip
        ip link set v0 alias "a b"
    """)
    for command in ("link", "addr"):
        of_text = parse_links(netns.run(f"ip -d -s {command}"), "t")
        of_json = parse_links_json(netns.run(f"ip -d -s -j {command}"), "j")
        assert not of_text.unparsed + of_json.unparsed, of_text.unparsed
        moving = [f.name for f in fields(of_text.values[0]) if f.name.startswith(("rx_", "tx_"))]
        assert bare(of_text.values, *moving) == bare(of_json.values, *moving)
        for form in ("ip -s -s -d", "ip -o -d -s", "ip", "ip -o"):
            plain = parse_links(netns.run(f"{form} {command}"), "p")
            assert plain.truncated == ("-o" in form and command == "addr"), "ip -o addr shows no links"
            if not plain.truncated:
                assert [link.name for link in plain.values] == [link.name for link in of_text.values], form
            assert not plain.unparsed, (form, plain.unparsed)
    links = {link.name: link for link in of_text.values}
    assert (links["vx"].vxlan_id, links["vx"].vxlan_port, links["vx"].vxlan_dev) == (4096, 4789, "v0")
    assert (links["vx"].vxlan_local, links["vx"].vxlan_learning) == (ip_address("10.20.0.11"), False)
    assert (links["vy"].vxlan_remote, links["vy"].vxlan_learning) == (ip_address("10.20.0.12"), True)
    assert (links["v1"].master, links["v1"].slave_kind, links["v1"].mtu) == ("bri0", "bridge", 1400)
    assert (links["mv"].parent, links["mv"].kind, links["bri0"].kind) == ("v0", "macvlan", "bridge")
    of_text_addr = parse_addresses(netns.run("ip -d addr"), "t")
    of_json_addr = parse_addresses_json(netns.run("ip -d -j addr"), "j")
    assert not of_text_addr.unparsed + of_json_addr.unparsed
    assert bare(of_text_addr.values) == bare(of_json_addr.values)
    one_line = parse_addresses(netns.run("ip -o addr"), "o")
    assert not one_line.unparsed
    assert bare(one_line.values) == bare(of_text_addr.values)
    by_ip = {str(a.ip): a for a in of_text_addr.values}
    assert (by_ip["10.9.0.1"].peer, by_ip["10.9.0.1"].prefixlen) == (ip_address("10.9.0.2"), 30)
    assert (by_ip["10.20.0.21"].label, by_ip["10.20.0.21"].flags) == ("v0:vip", frozenset({"secondary"}))


RULES = [
    ("-s 10.0.0.0/8 ! -d 10.1.0.0/16 -i cali+ ! -o eth0 -p tcp -m tcp --dport 80 -j ACCEPT",
     (Match("", "source", ("10.0.0.0/8",)), Match("", "destination", ("10.1.0.0/16",), True),
      Match("", "in-interface", ("cali+",)), Match("", "out-interface", ("eth0",), True),
      Match("", "protocol", ("tcp",)), Match("tcp", "dport", ("80",)))),
    ("-m mark ! --mark 0x10000/0x10000 -m comment --comment 'say \"hi\" \\ there' -j MARK --set-xmark 0x4/0xff",
     (Match("mark", "mark", ("0x10000/0x10000",), True),)),
    ("-p udp -m multiport ! --dports 53,5000:6000 -j REJECT --reject-with icmp-port-unreachable",
     (Match("", "protocol", ("udp",)), Match("multiport", "dports", ("53,5000:6000",), True))),
    ("-p tcp -m tcp --tcp-flags SYN,ACK,FIN SYN -j X",
     (Match("", "protocol", ("tcp",)), Match("tcp", "tcp-flags", ("FIN,SYN,ACK", "SYN")))),
    ("-m comment --comment -dash -g X", ()),
]  # fmt: skip


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_iptables(netns: Namespace, backend: str) -> None:
    need(f"iptables-{backend}", f"iptables-{backend}-save", root=True)
    tool = f"iptables-{backend}"
    netns.run(f"{tool} -N X")
    for spec, _ in RULES:
        netns.run(f"{tool} -A FORWARD {spec}")
    netns.run(f"{tool} -P FORWARD DROP")
    text = netns.run(f"{tool}-save -c")
    result = parse_iptables_save(text, "f")
    assert not result.unparsed
    (ruleset,) = result.values
    assert (ruleset.backend, ruleset.backend_known) == (backend, True)
    forward = ruleset.chain("filter", "FORWARD")
    assert forward is not None
    assert forward.policy == "DROP"
    rules = ruleset.rules("filter", "FORWARD")
    assert [rule.matches for rule in rules] == [matches for _, matches in RULES]
    assert all(not rule.unparsed and rule.packets == 0 for rule in rules)
    assert [rule.target for rule in rules] == ["ACCEPT", "MARK", "REJECT", "X", "X"]
    assert rules[1].comment == 'say "hi" \\ there'
    assert rules[1].target_options == (("set-xmark", ("0x4/0xff",)),)
    assert (rules[4].comment, rules[4].goto) == ("-dash", True)
    short = parse_iptables_save(netns.run(f"{tool} -S -v"), "s", backend, table="filter")
    assert not short.unparsed
    assert [rule.matches for rule in short.values[0].rules("filter", "FORWARD")] == [rule.matches for rule in rules]


def test_ipset(netns: Namespace) -> None:
    need("ipset", root=True)
    commands = """
        create pools hash:net family inet comment timeout 600
        add pools 10.244.0.0/16 comment "one, two nomatch"
        add pools 10.9.0.0/16 nomatch timeout 30
        create ports hash:ip,port family inet6
        add ports 2001:db8::5,tcp:80
        create nets hash:ip,port,net
        add nets 10.0.0.8,udp:53,192.168.0.0/16
        create both list:set
        add both pools
    """
    netns.run("ipset restore", stdin="\n".join(map(str.strip, commands.strip().splitlines())) + "\n")
    saved, listed = parse_ipsets(netns.run("ipset save"), "s"), parse_ipsets(netns.run("ipset list"), "l")
    assert not saved.unparsed + listed.unparsed
    for result in (saved, listed):
        sets = {found.name: found for found in result.values}
        assert all(found.complete for found in sets.values())
        assert {name: (found.type, found.family) for name, found in sets.items()} == {
            "pools": ("hash:net", 4), "ports": ("hash:ip,port", 6), "nets": ("hash:ip,port,net", 4),
            "both": ("list:set", 0),
        }  # fmt: skip
        assert {(e.parts, e.nomatch) for e in sets["pools"].entries} == {
            (("10.244.0.0/16",), False),
            (("10.9.0.0/16",), True),
        }
        assert [e.parts for e in sets["nets"].entries] == [("10.0.0.8", "udp:53", "192.168.0.0/16")]
        assert [e.parts for e in sets["both"].entries] == [("pools",)]


def test_sockets(netns: Namespace) -> None:
    need("ss", "python3", root=True)
    listener = (
        "import socket, sys\n"
        "a = socket.socket(); a.bind(('127.0.0.1', 9099)); a.listen(7)\n"
        "b = socket.socket(); b.bind(('', 80)); b.listen()\n"
        "c = socket.socket(socket.AF_INET6); c.bind(('::', 8080)); c.listen()\n"
        "d = socket.socket(socket.AF_INET6); d.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)\n"
        "d.bind(('::', 22)); d.listen()\n"
        "e = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); e.bind(('10.20.0.11', 53))\n"
        "print('up', flush=True); sys.stdin.read()\n"
    )
    command = ["ip", "netns", "exec", netns.name, "python3", "-c", listener]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        of_ss = parse_ss(netns.run("ss -lntuep"), "s")
        plain = parse_ss(netns.run("ss -lntu"), "p")
        of_proc = [
            socket
            for proto in ("tcp", "udp")
            for suffix in ("", "6")
            for socket in parse_proc_sockets(netns.run(f"cat /proc/net/{proto}{suffix}"), "x", proto).values
        ]
        process.stdin.close()
    assert not of_ss.unparsed + plain.unparsed
    expected = {
        ("tcp", "LISTEN", ip_address("127.0.0.1"), 9099, 4, None),
        ("tcp", "LISTEN", None, 80, 4, None),
        ("tcp", "LISTEN", None, 8080, 6, False),
        ("tcp", "LISTEN", None, 22, 6, True),
        ("udp", "UNCONN", ip_address("10.20.0.11"), 53, 4, None),
    }
    for result in (of_ss, plain):
        assert {(s.proto, s.state, s.ip, s.port, s.family, s.v6only) for s in result.values} == expected
    assert {(s.proto, s.state, s.ip, s.port, s.family) for s in of_proc} == {row[:5] for row in expected}
    assert {s.process for s in of_ss.values} == {"python3"}


def test_nft(netns: Namespace) -> None:
    need("nft", "iptables-nft", root=True)
    netns.run("iptables-nft -A FORWARD -s 10.0.0.1 -j DROP")
    netns.run(
        "nft -f -",
        stdin="""
table inet fw {
 set s { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, 1.1.1.1, 2.2.2.2, 3.3.3.3, 4.4.4.4 }
 }
 chain in { type filter hook input priority filter + 10; policy drop;
  ct state vmap { established : accept, invalid : drop } comment "x } y {"
  ip saddr @s drop
 }
 chain fw { type filter hook forward priority -1;
  tcp dport { 22, 80 } accept
 }
}
table netdev nd {
 chain ing { type filter hook ingress device "v0" priority -500;
  ip saddr 1.2.3.4 drop
 }
}
""",
    )
    expected = [
        ("inet", "fw", "in", "filter", "input", 10, "drop", 3),
        ("inet", "fw", "fw", "filter", "forward", -1, "accept", 3),
        ("netdev", "nd", "ing", "filter", "ingress", -500, "accept", 1),
    ]
    for command in ("nft list ruleset", "nft -a list ruleset", "nft -j list ruleset"):
        result = parse_nft_base_chains(netns.run(command), "n")
        assert not result.unparsed
        assert [
            (c.family, c.table, c.name, c.type, c.hook, c.priority, c.policy, c.rules) for c in result.values
        ] == expected


def test_a_native_rule_in_the_table_of_iptables_is_unknown(netns: Namespace) -> None:
    """iptables-nft-save shows `ip saddr @s drop` as `-j DROP` or refuses the table: believing it would be wrong."""
    need("nft", "iptables-nft", "iptables-nft-save", root=True)
    netns.run("iptables-nft -A FORWARD -s 10.0.0.1 -j ACCEPT")
    netns.run("nft add set ip filter s '{ type ipv4_addr; }'")
    netns.run("nft add rule ip filter FORWARD ip saddr @s drop")
    netns.run("iptables-nft -A FORWARD -s 10.0.0.2 -j ACCEPT")
    positions = native_rules(netns.run("nft list ruleset"))
    assert positions == {(4, "filter", "FORWARD", 2)}
    result = parse_iptables_save(netns.run("iptables-nft-save -c"), "f")
    (ruleset,) = result.values
    if ruleset.left_out:
        assert ruleset.left_out == {"filter"}
        return
    before = ruleset.rules("filter", "FORWARD")
    ruleset.mark_native(positions)
    rules = ruleset.rules("filter", "FORWARD")
    assert [bool(rule.unparsed) for rule in rules] == [False, True, False]
    assert (rules[0], rules[2]) == (before[0], before[2])
