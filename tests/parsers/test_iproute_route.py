"""`ip route`, `route -n`: expected values by hand from ip-route(8), iproute2 ip/iproute.c, net-tools route(8)."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from lasthop.facts.network import NextHop, Route
from lasthop.parsers.iproute_route import parse_proc_net_route, parse_route_n, parse_routes, parse_routes_json


def one(text: str, family: int = 4) -> Route:
    result = parse_routes(text, "r", family)
    assert not result.unparsed, result.unparsed
    (route,) = result.values
    return route


def hop(dev: str = "", via: str = "", weight: int = 1, *flags: str) -> NextHop:
    return NextHop(dev, ip_address(via) if via else None, weight, frozenset(flags))


def test_connected_route_of_a_node() -> None:
    route = one("10.20.0.0/24 dev eth0 proto kernel scope link src 10.20.0.11 ")
    assert route.dst == ip_network("10.20.0.0/24")
    assert route.type == "unicast"
    assert route.table == 254
    assert route.nexthops == (hop("eth0"),)
    assert (route.proto, route.scope, route.metric) == ("kernel", "link", 0)
    assert route.prefsrc == ip_address("10.20.0.11")
    assert route.source.line == 1
    assert route.source.text == "10.20.0.0/24 dev eth0 proto kernel scope link src 10.20.0.11"


def test_host_route_without_proto_is_boot_and_a_32() -> None:
    route = one("10.244.166.128 dev cali817517c44ab scope link metric 1024 ")
    assert route.dst == ip_network("10.244.166.128/32")
    assert (route.proto, route.metric) == ("boot", 1024)


def test_two_spaces_of_old_iproute2() -> None:
    route = one("192.168.0.128/26 via 172.29.141.98 dev tunl0  proto bird onlink")
    assert route.nexthops == (hop("tunl0", "172.29.141.98", 1, "onlink"),)
    assert route.proto == "bird"


def test_blackhole_has_no_next_hop() -> None:
    route = one("blackhole 10.244.166.128/26 proto 80 ")
    assert (route.type, route.nexthops, route.proto) == ("blackhole", (), "80")


@pytest.mark.parametrize("word", ["local", "broadcast", "multicast", "anycast", "unreachable", "prohibit", "throw"])
def test_types(word: str) -> None:
    assert one(f"{word} 10.0.0.0/8 table 7").type == word


def test_detailed_output_names_unicast_and_scope_global() -> None:
    route = one("unicast default via 10.20.0.1 dev eth0 table main proto boot scope global ")
    assert route.dst == ip_network("0.0.0.0/0")
    assert (route.type, route.table, route.scope) == ("unicast", 254, "global")


@pytest.mark.parametrize(
    ("word", "number", "name"),
    [("local", 255, ""), ("main", 254, ""), ("default", 253, ""), ("1", 1, ""), ("vpn", None, "vpn")],
)
def test_tables(word: str, number: int | None, name: str) -> None:
    route = one(f"10.0.0.0/8 dev eth0 table {word} scope link")
    assert (route.table, route.table_name) == (number, name)


def test_multipath_lines_continue_the_route() -> None:
    text = (
        "10.96.0.10 proto bird metric 1024 \n"
        "\tnexthop via 10.20.0.12 dev eth0 weight 1 \n"
        "\tnexthop via 10.20.0.13 dev eth0 weight 3 onlink \n"
        "10.0.0.0/8 dev eth1 scope link \n"
    )
    result = parse_routes(text, "r")
    assert not result.unparsed
    assert result.lines == 4
    multi, plain = result.values
    assert multi.nexthops == (hop("eth0", "10.20.0.12", 1), hop("eth0", "10.20.0.13", 3, "onlink"))
    assert (multi.source.line, multi.source.end_line) == (1, 3)
    assert plain.nexthops == (hop("eth1"),)


def test_multipath_on_one_line_as_with_o() -> None:
    text = "default proto static \\\tnexthop via 10.0.0.1 dev a weight 2 \\\tnexthop via 10.0.0.2 dev b weight 1 "
    assert one(text).nexthops == (hop("a", "10.0.0.1", 2), hop("b", "10.0.0.2", 1))


def test_a_strange_next_hop_withdraws_its_route() -> None:
    text = "10.9.0.0/16 \n\tnexthop via 10.20.0.12 dev eth0 weight 1 \n\tnexthop wormhole 7\n"
    result = parse_routes(text, "r")
    assert result.values == ()
    assert [line.source.line for line in result.unparsed] == [3]
    assert result.touches == ("10.9.0.0/16",)


def test_ipv4_route_via_ipv6_next_hop() -> None:
    route = one("10.1.0.0/16 via inet6 fe80::1 dev eth0 proto bgp")
    assert route.dst.version == 4
    assert route.nexthops == (hop("eth0", "fe80::1"),)


def test_default_via_inet6_stays_ipv4() -> None:
    assert one("default via inet6 fe80::1 dev eth0").dst == ip_network("0.0.0.0/0")


def test_route_mtu_and_lock() -> None:
    assert (one("10.0.0.0/8 dev v onlink mtu 1450").mtu, one("10.0.0.0/8 dev v mtu 1450").mtu_lock) == (1450, False)
    locked = one("10.0.0.0/8 dev v scope link mtu lock 1400 advmss 1360 ")
    assert (locked.mtu, locked.mtu_lock) == (1400, True)


def test_metrics_that_do_not_matter_are_understood() -> None:
    line = (
        "10.0.0.0/8 dev v scope link window 100 rtt 10ms rttvar 5ms ssthresh 4 cwnd 3 advmss 1360 reordering 3 "
        "hoplimit 64 initcwnd 10 features ecn rto_min lock 20ms initrwnd 10 quickack 1 congctl bbr realm 5"
    )
    assert one(line).mtu is None


def test_nexthop_object_and_encap() -> None:
    assert one("10.0.0.0/8 nhid 7 via 10.20.0.1 dev eth0 proto zebra").nhid == 7
    route = one("10.0.0.0/8  encap ip id 5 src 0.0.0.0 dst 1.2.3.4 ttl 0 tos 0 via 10.20.0.1 dev gre0 scope link")
    assert route.encap == "ip id 5 src 0.0.0.0 dst 1.2.3.4 ttl 0 tos 0"
    assert route.nexthops == (hop("gre0", "10.20.0.1"),)
    assert route.prefsrc is None


def test_cache_line_marks_an_exception() -> None:
    text = "10.244.135.2 via 10.20.0.13 dev eth0 \n    cache expires 598sec mtu 1400 \n"
    route = one(text)
    assert (route.cached, route.expires, route.mtu) == (True, 598, 1400)
    assert route.source.end_line == 2


def test_ipv6_route_of_router_advertisement() -> None:
    route = one("default via fe80::1 dev eth0 proto ra metric 1024 expires 1799sec hoplimit 64 pref medium")
    assert route.dst == ip_network("::/0")
    assert (route.metric, route.expires, route.proto) == (1024, 1799, "ra")


def test_ipv6_unreachable_default_of_old_kernels() -> None:
    route = one("unreachable default dev lo table unspec proto kernel metric 4294967295 error -101 pref medium")
    assert route.dst == ip_network("::/0")
    assert (route.type, route.table, route.metric) == ("unreachable", 0, 4294967295)


def test_bare_default_takes_the_family_of_the_dump() -> None:
    mixed = "default dev eth0 \n10.0.0.0/8 dev eth0 scope link \nfe80::/64 dev eth0 metric 256 \ndefault dev wg0 metric 1 \n"  # noqa: E501
    for family in (4, 6):
        versions = [route.dst.version for route in parse_routes(mixed, "r", family).values]
        assert versions == [4, 4, 6, 6]
    assert one("default dev tun0", 6).dst == ip_network("::/0")
    assert one("default dev tun0", 4).dst == ip_network("0.0.0.0/0")


def test_flags_of_a_dead_link() -> None:
    route = one("10.20.0.0/24 dev eth0 proto kernel scope link src 10.20.0.11 dead linkdown ")
    assert route.nexthops == (hop("eth0", "", 1, "dead", "linkdown"),)
    assert {"dead", "linkdown"} <= route.flags


def test_strange_words_are_counted_with_their_prefix() -> None:
    result = parse_routes("10.7.0.0/16 dev eth0 frobnicate\nnot a route\n\n# a comment\n", "r")
    assert result.values == ()
    assert result.lines == 2
    assert result.touches == ("10.7.0.0/16", "")


def test_line_numbers_ignore_form_feeds_and_keep_crlf_out() -> None:
    result = parse_routes("# \x0c\u2028\r\n10.0.0.0/8 dev eth0\r\n", "r")
    assert result.values[0].source.line == 2
    assert result.values[0].source.text == "10.0.0.0/8 dev eth0"


def test_json_fields() -> None:
    text = (
        '[{"type":"unicast","dst":"10.244.104.0/26","gateway":"10.244.104.0","dev":"vxlan.calico","table":"main",'
        '"protocol":"boot","scope":"global","flags":["onlink"],"metrics":[{"mtu":1450}]},\n'
        '{"type":"blackhole","dst":"10.244.166.128/26","protocol":"80","flags":[]},{},'
        '{"dst":"default","via":{"family":"inet6","host":"fe80::1"},"dev":"eth0","flags":[]},'
        '{"dst":"10.96.0.10","protocol":"bird","metric":1024,"flags":[],"nexthops":['
        '{"gateway":"10.20.0.12","dev":"eth0","weight":1,"flags":[]},'
        '{"gateway":"10.20.0.13","dev":"eth0","weight":2,"flags":["onlink"]}]}]\n'
    )
    result = parse_routes_json(text, "j")
    assert not result.unparsed
    assert not result.truncated
    vxlan, blackhole, default, multi = result.values
    assert result.lines == 4
    assert vxlan.nexthops == (hop("vxlan.calico", "10.244.104.0", 1, "onlink"),)
    assert (vxlan.mtu, vxlan.table, vxlan.proto) == (1450, 254, "boot")
    assert vxlan.source.line == 1
    assert vxlan.source.text.startswith('{"type":"unicast","dst":"10.244.104.0/26"')
    assert vxlan.source.text in text
    assert (blackhole.type, blackhole.nexthops, blackhole.source.line) == ("blackhole", (), 2)
    assert default.dst == ip_network("0.0.0.0/0")
    assert default.nexthops == (hop("eth0", "fe80::1"),)
    assert multi.nexthops == (hop("eth0", "10.20.0.12"), hop("eth0", "10.20.0.13", 2, "onlink"))


def test_json_that_ends_in_the_middle_is_truncated() -> None:
    result = parse_routes_json('[{"dst":"10.0.0.0/8","dev":"eth0","flags":[]},{"dst":"10.1.', "j")
    assert result.truncated
    assert [str(route.dst) for route in result.values] == ["10.0.0.0/8"]


def test_route_n() -> None:
    text = (
        "Kernel IP routing table\n"
        "Destination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
        "0.0.0.0         172.31.0.253    0.0.0.0         UG    100    0        0 eth0\n"
        "10.86.170.0     0.0.0.0         255.255.255.0   U     0      0        0 *\n"
        "10.86.170.3     0.0.0.0         255.255.255.255 UH    0      0        0 calibe7d9632b2f\n"
        "10.9.0.0        -               255.255.0.0     !     0      -        0 -\n"
        "what is this\n"
    )
    result = parse_route_n(text, "n")
    default, own, pod, reject = result.values
    assert (default.dst, default.nexthops, default.metric) == (
        ip_network("0.0.0.0/0"),
        (hop("eth0", "172.31.0.253"),),
        100,
    )
    assert (own.dst, own.type, own.nexthops) == (ip_network("10.86.170.0/24"), "blackhole", ())
    assert (pod.dst, pod.nexthops, pod.scope) == (ip_network("10.86.170.3/32"), (hop("calibe7d9632b2f"),), "link")
    assert reject.type == "unreachable"
    assert default.proto == "", "net-tools does not tell the protocol"
    assert (result.lines, len(result.unparsed)) == (5, 1)


def test_proc_net_route() -> None:
    text = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        "*\t00AAF40A\t00000000\t0001\t0\t0\t0\tC0FFFFFF\t0\t0\t0\n"
    )
    default, own = parse_proc_net_route(text, "p").values
    assert (default.dst, default.nexthops, default.metric) == (
        ip_network("0.0.0.0/0"),
        (hop("eth0", "192.168.1.1"),),
        100,
    )
    assert (own.dst, own.type) == (ip_network("10.244.170.0/26"), "blackhole")
