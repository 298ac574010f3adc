"""One packet through a small cluster: every kind of evidence changed alone, with what the kernel would then do."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from lasthop.facts.trace import Disposition, Outcome
from lasthop.sim.walk import outcomes

from .cluster import HOST_MAC, NODE_MAC, POD_MAC, TwoNodes, last

DELIVERED = [Disposition.DELIVERED]
UNDECIDED = Disposition.INSUFFICIENT_EVIDENCE


def judged(cluster: TwoNodes, *arguments: Any, **fields: Any) -> Disposition:
    (result,) = outcomes(cluster.send(*arguments, **fields))
    return result.disposition


def stages(cluster: TwoNodes, **fields: Any) -> list[tuple[str, Outcome]]:
    (end,) = cluster.send(**fields)
    return [(step.stage, step.outcome) for hop in end.walk.hops for step in hop.steps]


# the pod's own side


def test_pod_without_default_route() -> None:
    cluster = TwoNodes()
    cluster.a.remove("routes", "default")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.NO_ROUTE, ("n1", "pod:shop/a", "route"))


def test_pod_interface_down() -> None:
    cluster = TwoNodes()
    cluster.a.change("links", "3: eth0@if5: <BROADCAST,MULTICAST,UP,LOWER_UP>", "3: eth0@if5: <BROADCAST,MULTICAST>")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.LINK_DOWN, ("n1", "pod:shop/a", "link"))


def test_gateway_mac_must_be_the_host_sides() -> None:
    cluster = TwoNodes()
    cluster.a.change("neighbours", HOST_MAC, "0a:de:ad:00:00:01")
    (end,) = cluster.send()
    assert (end.disposition, last(end)[2]) == (Disposition.WRONG_VNI_OR_MAC, "gateway-neighbour")


def test_gateway_without_entry_is_asked_by_arp() -> None:
    cluster = TwoNodes()
    cluster.a.neighbours = "169.254.1.1 dev eth0 FAILED\n"
    assert cluster.ends() == DELIVERED
    cluster.n1.change("sysctls", "net.ipv4.conf.cali1.proxy_arp = 1", "net.ipv4.conf.cali1.proxy_arp = 0")
    assert cluster.ends() == [Disposition.NEIGHBOUR_FAILED]


def test_pod_neighbours_not_collected() -> None:
    cluster = TwoNodes()
    cluster.a.neighbours = None
    assert judged(cluster) is UNDECIDED


@pytest.mark.parametrize("what", ["missing", "down"])
def test_host_side_of_the_veth(what: str) -> None:
    cluster = TwoNodes()
    if what == "missing":
        text = cluster.n1.links or ""
        cluster.n1.links = text[: text.index("5: cali1")]
        assert cluster.ends() == [Disposition.NO_SANDBOX]
    else:
        cluster.n1.change(
            "links", "5: cali1@if3: <BROADCAST,MULTICAST,UP,LOWER_UP>", "5: cali1@if3: <BROADCAST,MULTICAST>"
        )
        assert cluster.ends() == [Disposition.LINK_DOWN]


# the node's side


def test_block_route_missing_falls_to_the_default_route() -> None:
    cluster = TwoNodes()
    cluster.n1.remove("routes", "10.244.2.0/26")
    assert cluster.ends() == [Disposition.LEFT_EVIDENCE]


def test_pod_route_missing_falls_to_the_blackhole() -> None:
    cluster = TwoNodes()
    cluster.n2.remove("routes", "10.244.2.2")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.BLACKHOLED, ("n2", "host", "route"))


def test_forwarding_off() -> None:
    cluster = TwoNodes()
    cluster.n2.change("sysctls", "net.ipv4.conf.eth0.forwarding = 1", "net.ipv4.conf.eth0.forwarding = 0")
    (end,) = cluster.send()
    assert (end.disposition, last(end)[0]) == (Disposition.NOT_FORWARDING, "n2")


def test_wrong_mac_of_the_server_pod() -> None:
    cluster = TwoNodes()
    cluster.n2.change("neighbours", POD_MAC[2], "0a:de:ad:00:00:02")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.WRONG_VNI_OR_MAC, ("n2", "host", "neighbour"))


def test_wrong_mac_of_the_other_node() -> None:
    cluster = TwoNodes()
    cluster.n1.change("neighbours", NODE_MAC[2], "02:de:ad:00:00:02")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.WRONG_VNI_OR_MAC, ("n1", "host", "neighbour"))


def test_failed_neighbour() -> None:
    cluster = TwoNodes()
    cluster.n1.change("neighbours", f"192.0.2.12 dev eth0 lladdr {NODE_MAC[2]} REACHABLE", "192.0.2.12 dev eth0 FAILED")
    assert cluster.ends() == [Disposition.NEIGHBOUR_FAILED]


def test_next_hop_off_the_link_is_not_taken_to_answer() -> None:
    cluster = TwoNodes()
    cluster.n1.remove("neighbours", "192.0.2.12")
    assert cluster.ends() == DELIVERED  # in the segment's subnet: ARP will find it
    cluster.n1.change("addresses", "192.0.2.11/24 brd 192.0.2.255", "192.0.2.11/32")
    assert judged(cluster) is UNDECIDED


def test_loop() -> None:
    cluster = TwoNodes()
    cluster.n2.remove("routes", "10.244.2.2")
    cluster.n2.remove("routes", "blackhole")
    cluster.n2.add("routes", "10.244.2.0/26 via 192.0.2.11 dev eth0")
    (end,) = cluster.send()
    assert end.disposition is Disposition.LOOP


def test_ttl() -> None:
    assert TwoNodes().ends(ttl=2) == [Disposition.TTL_EXPIRED]
    assert TwoNodes().ends(ttl=3) == DELIVERED


def test_no_listener() -> None:
    cluster = TwoNodes()
    cluster.b.sockets = ""
    assert cluster.ends() == [Disposition.NO_LISTENER]


def test_reverse_path_of_an_interface_without_address() -> None:
    """cali interfaces have no IPv4 address: 2 is then as strict as 1 (fib_frontend.c, last_resort)."""
    for value, expected in ((0, Disposition.DELIVERED), (1, Disposition.RPF_FAILED), (2, Disposition.RPF_FAILED)):
        cluster = TwoNodes()
        cluster.n1.change("sysctls", "net.ipv4.conf.cali1.rp_filter = 0", f"net.ipv4.conf.cali1.rp_filter = {value}")
        cluster.n1.remove("routes", "10.244.1.2")
        cluster.n1.add("routes", "10.244.1.2 dev eth0 scope link")
        assert cluster.ends() == [expected], value


# sizes


@pytest.mark.parametrize(("kind", "fits"), [("direct", 1500), ("vxlan", 1450), ("ipip", 1480)])
def test_full_size_packets_fit(kind: str, fits: int) -> None:
    assert TwoNodes(kind).ends(length=fits) == DELIVERED
    assert ("mtu", Outcome.INFO) not in stages(TwoNodes(kind), length=fits)


def test_too_big_with_the_error_reaching_the_pod() -> None:
    cluster = TwoNodes("vxlan")
    assert ("mtu", Outcome.INFO) in stages(cluster, length=1500)
    assert cluster.ends(length=1500) == DELIVERED


def test_too_big_with_the_error_lost() -> None:
    cluster = TwoNodes("vxlan")
    cluster.n1.nft = "*filter\n-A OUTPUT -p icmp -j DROP"
    assert cluster.ends(length=1500) == [Disposition.TOO_BIG]
    assert cluster.ends(length=1450) == DELIVERED
    assert cluster.ends(length=1500, df=False) == DELIVERED


def test_route_mtu_counts_before_the_interfaces() -> None:
    """ip_dst_mtu_maybe_forward: a route's own MTU is always honoured."""
    cluster = TwoNodes()
    cluster.n1.change(
        "routes",
        "10.244.2.0/26 via 192.0.2.12 dev eth0 proto bird",
        "10.244.2.0/26 via 192.0.2.12 dev eth0 proto bird mtu 1400",
    )
    assert ("mtu", Outcome.INFO) in stages(cluster, length=1450)


# rules


def test_drop_and_reject() -> None:
    for target, expected in (("DROP", Disposition.DROPPED_BY_RULE), ("REJECT", Disposition.REJECTED_BY_RULE)):
        cluster = TwoNodes()
        cluster.n2.legacy = f"*filter\n-A FORWARD -d 10.244.2.2/32 -p tcp -m tcp --dport 80 -j {target}"
        (end,) = cluster.send()
        assert (end.disposition, last(end)) == (expected, ("n2", "host", "filter FORWARD"))


def test_both_back_ends_count() -> None:
    cluster = TwoNodes()
    cluster.n2.nft, cluster.n2.legacy = "*filter\n-A FORWARD -j ACCEPT", "*filter\n:FORWARD DROP"
    assert cluster.ends() == [Disposition.DROPPED_BY_RULE]


def test_rules_not_collected_are_undecided() -> None:
    cluster = TwoNodes()
    cluster.n2.nft = None
    assert judged(cluster) is UNDECIDED


def test_unknown_match_forks_and_joins() -> None:
    cluster = TwoNodes()
    cluster.n2.nft = "*filter\n-A FORWARD -m mystery --what ever -j ACCEPT\n-A FORWARD -j ACCEPT"
    assert judged(cluster) is Disposition.DELIVERED
    cluster.n2.nft = "*filter\n-A FORWARD -m mystery --what ever -j DROP\n-A FORWARD -j ACCEPT"
    assert judged(cluster) is UNDECIDED
    cluster.n2.nft = "*filter\n-A FORWARD -m mystery --what ever -j DROP\n-A FORWARD -j DROP"
    assert judged(cluster) is Disposition.DROPPED_BY_RULE


def test_unknown_nat_then_a_drop_by_address_is_undecided() -> None:
    cluster = TwoNodes()
    cluster.n1.nft = (
        "*nat\n-A PREROUTING -m mystery --what ever -j DNAT --to-destination 10.244.2.2:80\n*filter\n"
        "-A FORWARD -d 10.244.2.2/32 -j ACCEPT\n-A FORWARD -j DROP"
    )
    assert judged(cluster, "10.244.2.9") is UNDECIDED


SERVICE = """*nat
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X
-A KUBE-SVC-X -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1
-A KUBE-SVC-X -j KUBE-SEP-2
-A KUBE-SEP-1 -p tcp -j DNAT --to-destination 10.244.2.2:80
-A KUBE-SEP-2 -p tcp -j DNAT --to-destination 10.244.2.3:80
"""


def test_service_backends_are_choices() -> None:
    cluster = TwoNodes()
    cluster.n1.nft = SERVICE
    results = outcomes(cluster.send("10.96.0.10"))
    assert {(r.disposition, r.share) for r in results} == {
        (Disposition.DELIVERED, Fraction(1, 2)),
        (Disposition.BLACKHOLED, Fraction(1, 2)),
    }


def test_hairpin_to_the_own_service() -> None:
    cluster = TwoNodes()
    cluster.a.sockets = "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n"
    rules = SERVICE.replace("10.244.2.2:80", "10.244.1.2:80").replace("10.244.2.3:80", "10.244.1.2:80")
    cluster.n1.nft = rules + "-A POSTROUTING -s 10.244.1.2/32 -d 10.244.1.2/32 -j MASQUERADE"
    results = outcomes(cluster.send("10.96.0.10"))
    assert {r.disposition for r in results} == {Disposition.DELIVERED}
    end = results[0].main
    # without an address on cali1 the source is the first global one of the node (inet_select_addr)
    assert (end.walk.netns, str(end.walk.packet.src)) == ("pod:shop/a", "192.0.2.11")


def test_ecmp() -> None:
    cluster = TwoNodes()
    cluster.n1.remove("routes", "10.244.2.0/26")
    cluster.n1.add(
        "routes",
        "10.244.2.0/26\n\tnexthop via 192.0.2.12 dev eth0 weight 2\n\tnexthop via 192.0.2.77 dev eth0 weight 1",
    )
    results = outcomes(cluster.send())
    assert {(r.disposition, r.share) for r in results} == {
        (Disposition.DELIVERED, Fraction(2, 3)),
        (Disposition.LEFT_EVIDENCE, Fraction(1, 3)),
    }


# other ends


def test_node_to_pod_and_node_to_node() -> None:
    cluster = TwoNodes()
    assert cluster.ends("10.244.2.2", "n1", "host") == DELIVERED
    assert cluster.ends("192.0.2.12", "n1", "host", dport=10250) == DELIVERED
    assert cluster.ends("192.0.2.12", "n1", "host", dport=10251) == [Disposition.NO_LISTENER]


def test_pod_to_its_own_node_and_to_outside() -> None:
    assert TwoNodes().ends("192.0.2.11", dport=10250) == DELIVERED
    assert TwoNodes().ends("198.51.100.7") == [Disposition.LEFT_EVIDENCE]


def test_echo() -> None:
    assert TwoNodes().ends(proto="icmp", sport=None, dport=None, icmp_type=8, icmp_code=0, icmp_id=1) == DELIVERED


def test_pod_not_collected() -> None:
    cluster = TwoNodes(missing=frozenset({"b"}))
    result = outcomes(cluster.send())[0]
    assert result.disposition is UNDECIDED and result.main.delivered
    cluster.n2.remove("routes", "10.244.2.2")
    assert judged(cluster) is Disposition.BLACKHOLED


def test_node_not_collected() -> None:
    cluster = TwoNodes(missing=frozenset({"n2"}))
    assert cluster.ends() == [Disposition.LEFT_EVIDENCE]
    cluster.n1.nft = "*filter\n:FORWARD DROP"
    assert cluster.ends() == [Disposition.DROPPED_BY_RULE]


def six(cluster: TwoNodes) -> TwoNodes:
    """IPv6 addresses beside the IPv4 ones; pods use the link-local address of their cali interface as gateway."""
    for one, node, pod in ((1, cluster.n1, cluster.a), (2, cluster.n2, cluster.b)):
        other = 3 - one
        node.addresses = (node.addresses or "").replace(
            f"inet 192.0.2.1{one}/24 brd 192.0.2.255 scope global eth0",
            f"inet 192.0.2.1{one}/24 brd 192.0.2.255 scope global eth0\n    inet6 2001:db8::1{one}/64 scope global",
        )
        node.routes6 = f"""2001:db8::/64 dev eth0 proto kernel metric 256 pref medium
fd00:{one}::2 dev cali{one} metric 1024 pref medium
fd00:{other}::/122 via 2001:db8::1{other} dev eth0 proto bird metric 1024 pref medium
local 2001:db8::1{one} dev eth0 table local proto kernel metric 0 pref medium
local fe80::ecee:eeff:feee:eeee dev cali{one} table local proto kernel metric 0 pref medium
"""
        node.neighbours6 = f"2001:db8::1{other} dev eth0 lladdr {NODE_MAC[other]} REACHABLE\n"
        pod.addresses = (pod.addresses or "") + f"    inet6 fd00:{one}::2/128 scope global\n"
        pod.routes6 = f"""default via fe80::ecee:eeff:feee:eeee dev eth0 metric 1024 pref medium
fe80::/64 dev eth0 proto kernel metric 256 pref medium
local fd00:{one}::2 dev eth0 table local proto kernel metric 0 pref medium
"""
    cluster.b.sockets = "tcp LISTEN 0 128 *:80 *:*\n"
    return cluster


def test_ipv6_with_a_link_local_gateway() -> None:
    cluster = six(TwoNodes())
    flow: dict[str, Any] = {"src": "fd00:1::2"}
    assert cluster.ends("fd00:2::2", **flow) == DELIVERED
    cluster.n1.change("addresses", "inet6 fe80::ecee:eeff:feee:eeee/64 scope link", "inet6 fe80::1:1/64 scope link")
    assert judged(cluster, "fd00:2::2", **flow) is UNDECIDED
    cluster = six(TwoNodes())
    cluster.n2.change("sysctls", "net.ipv6.conf.eth0.forwarding = 1", "net.ipv6.conf.eth0.forwarding = 0")
    assert cluster.ends("fd00:2::2", **flow) == [Disposition.NOT_FORWARDING]
