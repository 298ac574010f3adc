"""VXLAN and IPIP: what the sender writes, what the receiver accepts, and what must stay unknown."""

from __future__ import annotations

import pytest

from lasthop.facts.trace import Disposition, Packet

from .cluster import TwoNodes, last, packet

DELIVERED = [Disposition.DELIVERED]


def outer(cluster: TwoNodes, **fields: object) -> Packet:
    (end,) = cluster.send(**fields)
    found = [s.after for hop in end.walk.hops for s in hop.steps if s.stage == "encap" and s.after is not None]
    assert len(found) == 1
    return found[0]


def test_vxlan_outer_header() -> None:
    one = outer(TwoNodes("vxlan"), length=1450)
    assert (str(one.src), str(one.dst), one.proto, one.dport) == ("192.0.2.11", "192.0.2.12", "udp", 4789)
    assert one.length == 1500 and one.df is False
    carried = one.encaps[-1]
    assert (carried.vni, carried.inner_dst_mac) == (4096, "66:00:00:00:00:02")


def test_ipip_outer_header_inherits_df_and_ttl() -> None:
    """net/ipv4/ip_tunnel.c ip_tunnel_xmit: ttl inherit copies the inner TTL, which the first node made 63."""
    one = outer(TwoNodes("ipip"), length=1480)
    assert (str(one.src), str(one.dst), one.proto) == ("192.0.2.11", "192.0.2.12", "ipencap")
    assert (one.length, one.df, one.ttl) == (1500, True, 63)
    assert outer(TwoNodes("ipip"), df=False).df is False


@pytest.mark.parametrize("kind", ["direct", "vxlan", "ipip"])
def test_healthy(kind: str) -> None:
    assert TwoNodes(kind).ends() == DELIVERED


@pytest.mark.parametrize(
    ("old", "new", "disposition"),
    [
        ("vxlan id 4096", "vxlan id 4097", Disposition.WRONG_VNI_OR_MAC),
        ("dstport 4789", "dstport 8472", Disposition.WRONG_VNI_OR_MAC),
        ("66:00:00:00:00:02", "66:00:00:00:00:99", Disposition.WRONG_VNI_OR_MAC),
        (
            "8: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP>",
            "8: vxlan.calico: <BROADCAST,MULTICAST>",
            Disposition.LINK_DOWN,
        ),
    ],
)
def test_receiver_of_vxlan_refuses(old: str, new: str, disposition: Disposition) -> None:
    cluster = TwoNodes("vxlan")
    cluster.n2.change("links", old, new)
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (disposition, ("n2", "host", "decap"))


def test_missing_devices_are_proved_missing_only_by_a_detailed_list() -> None:
    cluster = TwoNodes("vxlan")
    text = cluster.n2.links or ""
    cluster.n2.links = text[: text.index("8: vxlan.calico")]
    assert cluster.ends() == [Disposition.LINK_DOWN]
    plain = TwoNodes("vxlan")
    plain.n2.links = (
        "\n".join(line for line in text.splitlines() if "vxlan id" not in line and line.strip() != "veth") + "\n"
    )
    assert plain.ends() == [Disposition.INSUFFICIENT_EVIDENCE]


def test_sender_without_link_details_is_unknown() -> None:
    cluster = TwoNodes("vxlan")
    lines = (cluster.n1.links or "").splitlines()
    cluster.n1.links = "\n".join(line for line in lines if "vxlan id" not in line and line.strip() != "veth") + "\n"
    assert cluster.ends() == [Disposition.INSUFFICIENT_EVIDENCE]


def test_fdb() -> None:
    cluster = TwoNodes("vxlan")
    cluster.n1.fdb = ""
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.NEIGHBOUR_FAILED, ("n1", "host", "fdb"))
    cluster.n1.fdb = "00:00:00:00:00:00 dev vxlan.calico dst 192.0.2.12 self permanent\n"
    assert cluster.ends() == DELIVERED
    cluster.n1.fdb = None
    assert cluster.ends() == [Disposition.INSUFFICIENT_EVIDENCE]


def test_fdb_to_a_stranger_leaves_the_evidence() -> None:
    cluster = TwoNodes("vxlan")
    cluster.n1.change("fdb", "192.0.2.12", "192.0.2.77")
    assert cluster.ends() == [Disposition.LEFT_EVIDENCE]


def test_neighbour_of_the_vtep() -> None:
    cluster = TwoNodes("vxlan")
    cluster.n1.remove("neighbours", "10.244.2.0")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.NEIGHBOUR_FAILED, ("n1", "host", "neighbour"))
    cluster.n1.neighbours = None
    assert cluster.ends() == [Disposition.INSUFFICIENT_EVIDENCE]


def test_ipip_receiver() -> None:
    cluster = TwoNodes("ipip")
    cluster.n2.change("links", "8: tunl0@NONE: <NOARP,UP,LOWER_UP>", "8: tunl0@NONE: <NOARP>")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.LINK_DOWN, ("n2", "host", "decap"))
    cluster = TwoNodes("ipip")
    cluster.n2.links = None
    assert Disposition.LINK_DOWN not in cluster.ends()


def test_ipip_lookup_prefers_the_exact_tunnel() -> None:
    """ip_tunnel_lookup: remote and local, remote, local, then the fallback device."""
    cluster = TwoNodes("ipip")
    cluster.n2.add(
        "links",
        """9: exact@NONE: <POINTOPOINT,NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UNKNOWN
    link/ipip 192.0.2.12 peer 192.0.2.11
    ipip remote 192.0.2.11 local 192.0.2.12 ttl inherit nopmtudisc
""",
    )
    for key in ("forwarding", "rp_filter"):
        cluster.n2.add("sysctls", f"net.ipv4.conf.exact.{key} = 1")
    (end,) = cluster.send()
    # strict reverse path: the route back leaves by tunl0 and not by "exact", which is where the packet came in
    assert end.disposition is Disposition.RPF_FAILED and end.walk.iif == "exact"


def test_mark_survives_decapsulation_and_conntrack_does_not() -> None:
    """skb_scrub_packet with xnet false keeps the mark inside one netns (net/core/skbuff.c)."""
    cluster = TwoNodes("vxlan")
    cluster.n2.nft = (
        "*raw\n-A PREROUTING -p udp -m udp --dport 4789 -j MARK --set-xmark 0x7/0xffffffff\n*filter\n"
        "-A FORWARD -m mark --mark 0x7 -j DROP"
    )
    cluster.n2.nft = cluster.n2.nft.replace("*raw", "*mangle")
    (end,) = cluster.send()
    assert (end.disposition, last(end)) == (Disposition.DROPPED_BY_RULE, ("n2", "host", "filter FORWARD"))
    assert packet("10.244.1.2", "10.244.2.2").mark.value == 0
