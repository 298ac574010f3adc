"""`ip link` and `ip addr`: samples in the formats of iproute2 3 to 6, expected values by hand."""

from __future__ import annotations

from ipaddress import ip_address

from lasthop.parsers.iproute_addr import parse_addresses, parse_addresses_json, parse_links_json
from lasthop.parsers.iproute_link import parse_links

NODE = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00 promiscuity 0  allmulti 0 minmtu 0 maxmtu 0 addrgenmode eui64
    RX:  bytes packets errors dropped  missed   mcast
             7       6       5       4       3       2
    TX:  bytes packets errors dropped carrier collsns
            17      16      15      14      13      12
2: cali817517c44ab@if4: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UP mode DEFAULT group default
    link/ether EE:ee:ee:ee:ee:ee brd ff:ff:ff:ff:ff:ff link-netnsid 3 promiscuity 0 minmtu 68 maxmtu 65535
    veth addrgenmode eui64 numtxqueues 1 numrxqueues 1 gso_max_size 65536 gso_max_segs 65535
    alias pod one
    altname enp0s1
3: eth0.5@eth0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue master br0 state LOWERLAYERDOWN mode DEFAULT
    link/ether 52:54:00:20:00:01 brd ff:ff:ff:ff:ff:ff
    vlan protocol 802.1Q id 5 <REORDER_HDR> addrgenmode eui64
    bridge_slave state forwarding priority 32 cost 2 hairpin off
10: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN mode DEFAULT
    link/ether 66:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff promiscuity 0
    vxlan id 4096 local 10.20.0.11 dev eth0 srcport 0 0 dstport 4789 nolearning ttl auto ageing 300 udpcsum
11: tunl0@NONE: <NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000
    link/ipip 0.0.0.0 brd 0.0.0.0 promiscuity 0
    ipip any remote any local any ttl inherit nopmtudisc addrgenmode eui64
12: gre1@NONE: <POINTOPOINT,NOARP> mtu 1476 qdisc noop state DOWN mode DEFAULT group default
    link/gre 10.0.0.1 peer 10.0.0.2 promiscuity 0
    gre remote 10.0.0.2 local 10.0.0.1 ttl 64 pmtudisc
13: wireguard.cali: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1440 qdisc noqueue state UNKNOWN mode DEFAULT
    link/none promiscuity 0
    wireguard addrgenmode none
14: vrf1: <NOARP,MASTER,UP,LOWER_UP> mtu 65575 xdpgeneric/id:32 qdisc noqueue state UP mode DEFAULT
    link/ether 66:00:00:00:00:09 brd ff:ff:ff:ff:ff:ff
    vrf table 1001 addrgenmode eui64
"""


def test_node() -> None:
    result = parse_links(NODE, "l")
    assert not result.unparsed, result.unparsed
    assert result.lines == NODE.count("\n")
    lo, cali, vlan, vxlan, tunl, gre, wireguard, vrf = result.values
    assert (lo.ifindex, lo.mtu, lo.kind, lo.operstate, lo.link_type) == (1, 65536, "", "UNKNOWN", "loopback")
    assert (lo.rx_packets, lo.rx_errors, lo.rx_dropped) == (6, 5, 4)
    assert (lo.tx_packets, lo.tx_errors, lo.tx_dropped, lo.tx_carrier) == (16, 15, 14, 13)
    assert (cali.name, cali.peer_ifindex, cali.link_netnsid, cali.kind) == ("cali817517c44ab", 4, 3, "veth")
    assert cali.mac == "ee:ee:ee:ee:ee:ee"
    assert cali.up
    assert cali.running
    assert cali.rx_packets is None
    assert (cali.source.line, cali.source.end_line) == (7, 11)
    assert (vlan.parent, vlan.peer_ifindex, vlan.vlan_id, vlan.master) == ("eth0", None, 5, "br0")
    assert (vlan.slave_kind, vlan.operstate, vlan.running) == ("bridge", "LOWERLAYERDOWN", False)
    assert "NO-CARRIER" in vlan.flags
    assert (vxlan.vxlan_id, vxlan.vxlan_port, vxlan.vxlan_dev) == (4096, 4789, "eth0")
    assert (vxlan.vxlan_local, vxlan.vxlan_learning, vxlan.vxlan_remote) == (ip_address("10.20.0.11"), False, None)
    assert (tunl.kind, tunl.parent, tunl.tunnel_ttl, tunl.tunnel_pmtudisc) == ("ipip", "", 0, False)
    assert tunl.tunnel_remote is None
    assert (gre.tunnel_remote, gre.tunnel_local) == (ip_address("10.0.0.2"), ip_address("10.0.0.1"))
    assert (gre.tunnel_ttl, gre.tunnel_pmtudisc, gre.up) == (64, True, False)
    assert (wireguard.kind, wireguard.link_type, wireguard.mac) == ("wireguard", "none", "")
    assert (vrf.vrf_table, vrf.xdp) == (1001, True)


def test_old_statistics_heading() -> None:
    text = (
        "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc pfifo_fast state UP mode DEFAULT qlen 1000\n"
        "    link/ether 52:54:00:20:00:01 brd ff:ff:ff:ff:ff:ff\n"
        "    RX: bytes  packets  errors  dropped overrun mcast   \n"
        "    1000       10       1       2       0       0       \n"
        "    RX errors: length   crc     frame   fifo    missed\n"
        "               0        0       0       0       0       \n"
        "    TX: bytes  packets  errors  dropped carrier collsns \n"
        "    2000       20       3       4       5       0       \n"
    )
    result = parse_links(text, "l")
    assert not result.unparsed
    (link,) = result.values
    assert (link.rx_packets, link.rx_dropped, link.tx_packets, link.tx_carrier) == (10, 2, 20, 5)


def test_strange_detail_keeps_the_link_and_names_it() -> None:
    text = "2: eth0: <UP> mtu 1500 qdisc noqueue state UP\n    link/ether 52:54:00:20:00:01 brd x\n    zork 5\nstray\n"
    result = parse_links(text, "l")
    assert [link.name for link in result.values] == ["eth0"]
    assert result.touches == ("eth0", "eth0")
    assert {line.source.line for line in result.unparsed} == {3, 4}


def test_strange_head_loses_the_link() -> None:
    result = parse_links("2: eth0: <UP> mtu huge\n    link/ether 52:54:00:20:00:01 brd x\n", "l")
    assert result.values == ()
    assert result.touches == ("eth0",)


ADDR = """\
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
    inet 127.0.0.1/8 scope host lo
       valid_lft forever preferred_lft forever
    inet6 ::1/128 scope host noprefixroute
       valid_lft forever preferred_lft forever
2: eth0@if3: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    link/ether 52:54:00:20:00:01 brd ff:ff:ff:ff:ff:ff link-netns cni-23fc
    inet 10.20.0.11/24 metric 100 brd 10.20.0.255 scope global dynamic noprefixroute eth0
       valid_lft 86313sec preferred_lft 86313sec
    inet 10.20.0.21/32 scope global secondary eth0:vip
       valid_lft forever preferred_lft forever
    inet 10.9.0.1 peer 10.9.0.2/30 scope link eth0
    inet6 fe80::1/64 scope link tentative dadfailed
       valid_lft forever preferred_lft forever
    inet6 2001:db8::5/64 scope global temporary deprecated dynamic mngtmpaddr
"""


def test_addresses() -> None:
    result = parse_addresses(ADDR, "a")
    assert not result.unparsed
    assert result.lines == ADDR.count("\n")
    lo, lo6, node, vip, peer, local6, global6 = result.values
    assert (lo.dev, lo.ip, lo.prefixlen, lo.scope, lo.label) == ("lo", ip_address("127.0.0.1"), 8, "host", "lo")
    assert (lo6.ip, lo6.prefixlen, lo6.flags) == (ip_address("::1"), 128, frozenset({"noprefixroute"}))
    assert (node.broadcast, node.scope, node.label) == (ip_address("10.20.0.255"), "global", "eth0")
    assert node.flags == {"dynamic", "noprefixroute"}
    assert (vip.prefixlen, vip.label, vip.flags) == (32, "eth0:vip", frozenset({"secondary"}))
    assert (peer.ip, peer.peer, peer.prefixlen) == (ip_address("10.9.0.1"), ip_address("10.9.0.2"), 30)
    assert (local6.scope, local6.flags) == ("link", frozenset({"tentative", "dadfailed"}))
    assert global6.flags == {"temporary", "deprecated", "dynamic", "mngtmpaddr"}
    assert node.source.line == 9
    assert not parse_links(ADDR, "a").unparsed


def test_one_line_form() -> None:
    text = (
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
        "2: eth0    inet 10.20.0.11/24 brd 10.20.0.255 scope global eth0\\       valid_lft forever preferred_lft forever\n"  # noqa: E501
        "2: eth0    inet6 fe80::1/64 scope link \\       valid_lft forever preferred_lft forever\n"
    )
    result = parse_addresses(text, "a")
    assert not result.unparsed
    assert [str(address.ip) for address in result.values] == ["127.0.0.1", "10.20.0.11", "fe80::1"]
    assert result.lines == 3
    link = (
        "2: eth0: <UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT \\    link/ether 52:54:00:20:00:01 brd f\n"
    )
    (found,) = parse_links(link, "l").values
    assert found.mac == "52:54:00:20:00:01"


def test_strange_address_touches_its_interface() -> None:
    text = "2: eth0: <UP> mtu 1500 qdisc noqueue state UP\n    inet 10.20.0.300/24 scope global eth0\n"
    result = parse_addresses(text, "a")
    assert result.values == ()
    assert result.touches == ("eth0",)


def test_strange_detail_could_have_been_an_address() -> None:
    text = "2: eth0: <UP> mtu 1500 qdisc noqueue\n    inte 10.20.0.3/24 scope global eth0\n    RX: bytes packets\n"
    result = parse_addresses(text + "    5 6\n    7 8\n", "a")
    assert [line.source.line for line in result.unparsed] == [2, 5]
    assert result.touches == ("eth0", "eth0")


def test_json() -> None:
    text = (
        '[{"ifindex":2,"link_index":4,"ifname":"eth0","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1450,"qdisc":"noqueue",'
        '"operstate":"UP","link_type":"ether","address":"52:54:00:20:00:01","link_netnsid":0,'
        '"linkinfo":{"info_kind":"veth"},"stats64":{"rx":{"packets":5,"errors":1,"dropped":2},'
        '"tx":{"packets":6,"errors":3,"dropped":4,"carrier_errors":7}},'
        '"addr_info":[{"family":"inet","local":"10.244.1.5","prefixlen":32,"scope":"global","label":"eth0"},'
        '{"family":"inet","local":"10.9.0.1","address":"10.9.0.2","prefixlen":30,"scope":"link","dynamic":true},{}]},'
        '{"ifindex":3,"link":null,"ifname":"vx","flags":[],"mtu":1450,"address":"66:00:00:00:00:01",'
        '"linkinfo":{"info_kind":"vxlan","info_data":{"id":4096,"local":"10.20.0.11","link":"eth0","port":4789,'
        '"learning":false}}}]'
    )
    veth, vxlan = parse_links_json(text, "j").values
    assert (veth.peer_ifindex, veth.kind, veth.link_netnsid, veth.mtu) == (4, "veth", 0, 1450)
    assert (veth.rx_packets, veth.rx_dropped, veth.tx_carrier) == (5, 2, 7)
    assert (vxlan.vxlan_id, vxlan.vxlan_dev, vxlan.vxlan_learning, vxlan.parent) == (4096, "eth0", False, "")
    pod, peer = parse_addresses_json(text, "j").values
    assert (pod.ip, pod.prefixlen, pod.dev) == (ip_address("10.244.1.5"), 32, "eth0")
    assert (peer.peer, peer.flags) == (ip_address("10.9.0.2"), frozenset({"dynamic"}))
