"""`ip rule`, `ip neigh`, `bridge fdb`, `ip nexthop`: expected values by hand from the tools' man pages and source."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from lasthop.facts.network import NextHop
from lasthop.parsers.iproute_neigh import (
    parse_fdb,
    parse_fdb_json,
    parse_neighbours,
    parse_neighbours_json,
    parse_proc_arp,
)
from lasthop.parsers.iproute_rule import parse_nexthops, parse_nexthops_json, parse_rules, parse_rules_json


def test_default_rules() -> None:
    text = "0:\tfrom all lookup local\n32766:\tfrom all lookup main \n32767:\tfrom all lookup default\n"
    result = parse_rules(text, "r")
    assert not result.unparsed
    assert [(rule.priority, rule.table) for rule in result.values] == [(0, 255), (32766, 254), (32767, 253)]
    assert all(rule.src is None and rule.dst is None and rule.family == 4 for rule in result.values)
    assert result.values[1].source.text == "32766:\tfrom all lookup main"


def test_wireguard_rule() -> None:
    (rule,) = parse_rules("99:\tnot from all fwmark 0x200000/0x200000 lookup 1\n", "r").values
    assert (rule.negated, rule.fwmark, rule.table, rule.action) == (True, (0x200000, 0x200000), 1, "lookup")


def test_every_selector() -> None:
    line = (
        "100:\tfrom 10.0.0.0/8 to 192.168.1.5 tos 0x10 fwmark 0x1 iif cali1 [detached] oif eth0 uidrange 0-99 "
        "ipproto tcp sport 1000-2000 dport 443 lookup vpn suppress_prefixlength 0 suppress_ifgroup 7 proto static\n"
    )
    result = parse_rules(line, "r")
    assert not result.unparsed
    (rule,) = result.values
    assert (rule.src, rule.dst) == (ip_network("10.0.0.0/8"), ip_network("192.168.1.5/32"))
    assert (rule.tos, rule.fwmark, rule.iif, rule.oif) == (0x10, (1, 0xFFFFFFFF), "cali1", "eth0")
    assert (rule.ipproto, rule.sport, rule.dport, rule.uidrange) == ("tcp", (1000, 2000), (443, 443), (0, 99))
    assert (rule.table, rule.table_name, rule.suppress_prefixlength, rule.suppress_ifgroup) == (None, "vpn", 0, "7")
    assert rule.proto == "static"


def test_actions() -> None:
    text = (
        "5:\tfrom all goto 100\n6:\tfrom all goto 9 [unresolved]\n7:\tfrom 10.0.0.0/8 blackhole\n8:\tfrom all unreachable\n"  # noqa: E501
        "9:\tfrom all iif lo prohibit proto kernel\n10:\tfrom all nop\n1000:\tfrom all lookup [l3mdev-table]\n"
    )
    rules = parse_rules(text, "r").values
    assert [rule.action for rule in rules] == ["goto", "goto", "blackhole", "unreachable", "prohibit", "nop", "lookup"]
    assert (rules[0].goto, rules[6].l3mdev, rules[6].table) == (100, True, None)


def test_rule_without_action_is_not_understood() -> None:
    result = parse_rules("5:\tfrom all\n77:\tfrom all quux lookup main\nno colon\n", "r")
    assert result.values == ()
    assert result.touches == ("5", "77", "")


def test_rules_json() -> None:
    text = (
        '[{"priority":0,"src":"all","table":"local"},'
        '{"priority":99,"not":null,"src":"all","fwmark":"0x200000","fwmask":"0x200000","table":"1"},'
        '{"priority":200,"src":"10.0.0.0","srclen":8,"iif":"cali1","action":"prohibit"},'
        '{"priority":300,"src":"all","goto":400},'
        '{"priority":301,"src":"all","table":"main","suppress_prefixlen":0,"dport_start":80,"dport_end":90}]'
    )
    result = parse_rules_json(text, "j")
    assert not result.unparsed
    local, wireguard, prohibit, jump, suppress = result.values
    assert (local.table, local.src) == (255, None)
    assert (wireguard.negated, wireguard.fwmark, wireguard.table) == (True, (0x200000, 0x200000), 1)
    assert (prohibit.src, prohibit.iif, prohibit.action) == (ip_network("10.0.0.0/8"), "cali1", "prohibit")
    assert (jump.action, jump.goto) == ("goto", 400)
    assert (suppress.suppress_prefixlength, suppress.dport) == (0, (80, 90))


def test_neighbours_of_a_node() -> None:
    text = (
        "10.20.0.12 dev eth0 lladdr 52:54:00:20:00:02 REACHABLE \n"
        "10.244.0.5 dev cali1  used 103/163/100 probes 6 FAILED\n"
        "169.254.1.1 dev eth0 lladdr EE:ee:ee:ee:ee:ee  ref 1 used 13/13/13probes 4 STALE\n"
        "fe80::1 dev eth0 lladdr 00:11:22:33:44:55 router STALE \n"
        "10.20.0.9 dev eth0  INCOMPLETE\n"
        "10.244.1.0 dev vxlan.calico lladdr 66:00:00:00:00:01 extern_learn PERMANENT \n"
        "10.0.0.9 dev eth1 proxy \n"
    )
    result = parse_neighbours(text, "n")
    assert not result.unparsed
    reach, failed, gateway, router, incomplete, permanent, proxy = result.values
    assert (reach.ip, reach.dev, reach.mac, reach.state) == (
        ip_address("10.20.0.12"), "eth0", "52:54:00:20:00:02", "REACHABLE",
    )  # fmt: skip
    assert (failed.mac, failed.state) == ("", "FAILED")
    assert (gateway.mac, gateway.state) == ("ee:ee:ee:ee:ee:ee", "STALE")
    assert router.router
    assert incomplete.state == "INCOMPLETE"
    assert permanent.state == "PERMANENT"
    assert proxy.proxy
    assert proxy.state == ""


def test_strange_neighbour_touches_its_address() -> None:
    result = parse_neighbours("10.0.0.1 dev eth0 teleported\nFAILED\n", "n")
    assert result.touches == ("10.0.0.1", "FAILED")
    assert result.lines == 2


def test_neighbours_json() -> None:
    text = (
        '[{"dst":"10.0.0.1","dev":"eth0","lladdr":"AA:bb:cc:dd:ee:ff","state":["STALE"]},'
        '{"dst":"fe80::1","dev":"eth0","router":null,"state":["FAILED"]},{"dst":"10.0.0.3","dev":"eth0","proxy":null}]'
    )
    stale, failed, proxy = parse_neighbours_json(text, "j").values
    assert (stale.mac, stale.state) == ("aa:bb:cc:dd:ee:ff", "STALE")
    assert (failed.router, failed.state) == (True, "FAILED")
    assert proxy.proxy


def test_proc_arp() -> None:
    text = (
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "10.0.0.1         0x1         0x2         52:54:00:20:00:02     *        eth0\n"
        "10.0.0.2         0x1         0x6         52:54:00:20:00:03     *        cali1\n"
        "10.0.0.3         0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    )
    complete, permanent, incomplete = parse_proc_arp(text, "a").values
    assert (complete.state, complete.mac) == ("", "52:54:00:20:00:02")
    assert permanent.state == "PERMANENT"
    assert (incomplete.state, incomplete.mac) == ("INCOMPLETE", "")


def test_fdb() -> None:
    text = (
        "66:00:00:00:00:02 dev vxlan.calico dst 10.20.0.12 self permanent\n"
        "33:33:00:00:00:01 dev eth0 self permanent\n"
        "aa:bb:cc:dd:ee:ff dev veth1 vlan 10 master br0 permanent\n"
        "aa:bb:cc:dd:ee:00 dev veth1 master br0 \n"
        "aa:bb:cc:dd:ee:01 dev veth1 vlan 1 offload master br0 \n"
        "00:00:00:00:00:00 dev vx dst 10.0.0.2 port 8472 vni 7 link-netnsid 0 via eth1 self permanent\n"
        "aa:bb:cc:dd:ee:02 dev vx dst 2001:db8::1 used 4/10 self extern_learn stale\n"
    )
    result = parse_fdb(text, "f")
    assert not result.unparsed
    vtep, multicast, vlan, learned, offload, flood, six = result.values
    assert (vtep.dev, vtep.dst, vtep.self_, vtep.permanent) == (
        "vxlan.calico", ip_address("10.20.0.12"), True, True,
    )  # fmt: skip
    assert multicast.dst is None
    assert (vlan.vlan, vlan.master, vlan.permanent) == (10, "br0", True)
    assert (learned.master, learned.permanent) == ("br0", False)
    assert offload.master == "br0"
    assert (flood.port, flood.vni, flood.via) == (8472, 7, "eth1")
    assert (six.dst, six.state) == (ip_address("2001:db8::1"), "stale")


def test_strange_fdb_line_touches_its_mac() -> None:
    result = parse_fdb("66:00:00:00:00:02 dev vx dst nowhere\nhello world\n", "f")
    assert result.touches == ("66:00:00:00:00:02", "hello")


def test_fdb_json() -> None:
    text = (
        '[{"mac":"66:00:00:00:00:02","ifname":"vxlan.calico","dst":"10.20.0.12","flags":["self"],"state":"permanent"},'
        '{"mac":"aa:bb:cc:dd:ee:ff","ifname":"v","vlan":10,"flags":[],"master":"br0","state":""}]'
    )
    vtep, bridge = parse_fdb_json(text, "j").values
    assert (vtep.dst, vtep.self_, vtep.permanent) == (ip_address("10.20.0.12"), True, True)
    assert (bridge.master, bridge.vlan, bridge.self_) == ("br0", 10, False)


def test_nexthop_objects() -> None:
    text = (
        "id 1 via 10.20.0.12 dev eth0 scope link proto bird onlink \n"
        "id 2 blackhole proto zebra \n"
        "id 10 group 1,5/3 type resilient buckets 64 idle_timer 120 unbalanced_timer 0 unbalanced_time 0 proto zebra \n"
        "id 11 via 10.0.0.1 fdb \n"
        "id x\n"
    )
    result = parse_nexthops(text, "n")
    single, hole, group, fdb = result.values
    assert single.nexthops == (NextHop("eth0", ip_address("10.20.0.12"), 1, frozenset({"onlink"})),)
    assert (single.scope, single.proto) == ("link", "bird")
    assert hole.blackhole
    assert group.group == ((1, 5), (3, 1))
    assert fdb.id == 11
    assert result.touches == ("x",)


def test_nexthop_objects_json() -> None:
    text = '[{"id":1,"gateway":"10.20.0.12","dev":"eth0","flags":[]},{"id":10,"group":[{"id":1,"weight":5},{"id":3}]}]'
    single, group = parse_nexthops_json(text, "j").values
    assert single.nexthops == (NextHop("eth0", ip_address("10.20.0.12")),)
    assert group.group == ((1, 5), (3, 1))
