"""From a stop to its cause: code, faulty node, object, and evidence that says so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lasthop.facts.trace import Disposition, Finding
from tests.sim.cluster import VTEP_MAC, TwoNodes

from .asking import ask

Change = Callable[[TwoNodes], None]


def found(change: Change, kind: str = "vxlan", **asked: str) -> Finding:
    cluster = TwoNodes(kind)
    change(cluster)
    return ask(cluster, **asked).breaks[0]  # type: ignore[arg-type]


def fdb_to_the_wrong_node(cluster: TwoNodes) -> None:
    """n1's own VTEP MAC is said to be behind n2: the frame for it arrives at the wrong node."""
    cluster.n1.change("fdb", VTEP_MAC[2], VTEP_MAC[1])
    cluster.n1.change("neighbours", VTEP_MAC[2], VTEP_MAC[1])


CASES: list[tuple[str, Change, tuple[str, int, str]]] = [
    ("vxlan", lambda c: c.n2.change("links", "vxlan id 4096", "vxlan id 4097"), ("vxlan-vni-mismatch", 4, "n2")),
    ("vxlan", lambda c: c.n2.change("links", "8: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP>",
                                    "8: vxlan.calico: <BROADCAST,MULTICAST>"), ("vxlan-device-down", 4, "n2")),
    ("vxlan", lambda c: c.n1.change("links", "8: vxlan.calico: <BROADCAST,MULTICAST,UP,LOWER_UP>",
                                    "8: vxlan.calico: <BROADCAST,MULTICAST>"), ("vxlan-device-down", 2, "n1")),
    ("vxlan", lambda c: setattr(c.n1, "fdb", ""), ("fdb-missing", 2, "n1")),
    ("vxlan", lambda c: c.n1.change("neighbours", VTEP_MAC[2] + " PERMANENT", "66:de:ad:00:00:00 PERMANENT"),
     ("fdb-missing", 2, "n1")),
    ("ipip", lambda c: c.n2.change("links", "8: tunl0@NONE: <NOARP,UP,LOWER_UP>", "8: tunl0@NONE: <NOARP>"),
     ("ipip-device-down", 4, "n2")),
    ("direct", lambda c: c.a.change("neighbours", "ee:ee:ee:ee:ee:ee", "ee:ee:ee:ee:ee:00"),
     ("neighbour-wrong-mac", 1, "n1")),
    ("direct", lambda c: c.n2.change("links", "5: cali2@if3: <BROADCAST,MULTICAST,UP,LOWER_UP>",
                                     "5: cali2@if3: <BROADCAST,MULTICAST>"), ("veth-down", 4, "n2")),
    ("direct", lambda c: c.n1.change("sysctls", "net.ipv4.conf.cali1.rp_filter = 0\n",
                                     "net.ipv4.conf.cali1.rp_filter = 1\n") or c.n1.change(
        "routes", "10.244.1.2 dev cali1 scope link", "10.244.1.2 dev eth0 scope link"), ("rp-filter-drop", 2, "n1")),
]  # fmt: skip


IDS = [f"{one[2][0]}-{number}" for number, one in enumerate(CASES)]


@pytest.mark.parametrize(("kind", "change", "expected"), CASES, ids=IDS)
def test_cause(kind: str, change: Change, expected: tuple[str, int, str]) -> None:
    one = found(change, kind)
    assert (one.code, one.step, one.node) == expected
    assert one.direction == "request" and one.evidence and one.verify


def test_proxy_arp_off_is_the_nodes_fault() -> None:
    def change(cluster: TwoNodes) -> None:
        cluster.a.neighbours = ""
        cluster.n1.change("sysctls", "net.ipv4.conf.cali1.proxy_arp = 1", "net.ipv4.conf.cali1.proxy_arp = 0")

    one = found(change, "direct")
    assert (one.code, one.node, one.netns) == ("proxy-arp-off", "n1", "host")
    assert one.object == "net.ipv4.conf.cali1.proxy_arp"
    assert one.fix[0].command == "sysctl -w net.ipv4.conf.cali1.proxy_arp=1"


def test_a_wrong_vtep_entry_is_the_senders_fault() -> None:
    """The frame dies at n2, the entry that sent it there is n1's."""
    one = found(fdb_to_the_wrong_node)
    assert (one.node, one.died_node, one.disposition) == ("n1", "n2", Disposition.WRONG_VNI_OR_MAC)
    assert any("vxlan.calico" in source.text for source in one.evidence)


def test_missing_workload_interface_explains_the_missing_route() -> None:
    def change(cluster: TwoNodes) -> None:
        text = cluster.n2.links or ""
        cluster.n2.links = text[: text.index("5: cali2")]
        cluster.n2.remove("routes", "10.244.2.2")

    one = found(change, "direct")
    assert (one.code, one.object, one.node) == ("veth-missing", "interface cali2", "n2")


def test_loop_names_both_nodes() -> None:
    def change(cluster: TwoNodes) -> None:
        cluster.n2.remove("routes", "10.244.2.2")
        cluster.n2.add("routes", "10.244.2.2 via 192.0.2.11 dev eth0")

    one = found(change, "direct")
    assert one.code == "routing-loop" and "n1 → n2" in one.title


def test_global_forwarding_is_named_as_such() -> None:
    def change(cluster: TwoNodes) -> None:
        cluster.n2.change("sysctls", "net.ipv4.ip_forward = 1", "net.ipv4.ip_forward = 0")
        cluster.n2.change("sysctls", "net.ipv4.conf.eth0.forwarding = 1", "net.ipv4.conf.eth0.forwarding = 0")

    one = found(change, "direct")
    assert one.object == "net.ipv4.ip_forward = 0" and one.fix[0].command == "sysctl -w net.ipv4.ip_forward=1"


def test_a_backend_that_no_pod_has_is_the_client_nodes_fault() -> None:
    def change(cluster: TwoNodes) -> None:
        cluster.n1.nft = "*nat\n-A PREROUTING -j KUBE-SERVICES\n-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp " \
                         "-j KUBE-SEP-1\n-A KUBE-SEP-1 -p tcp -j DNAT --to-destination 10.244.2.9:80"  # fmt: skip

    one = found(change, "direct", dst="10.96.0.10")
    assert (one.code, one.node, one.died_node, one.step) == ("service-backend-dead", "n1", "n2", 2)


def test_names_that_a_shell_would_run_are_in_no_command() -> None:
    """An interface may be called almost anything (net/core/dev.c dev_valid_name)."""

    def change(cluster: TwoNodes) -> None:
        for kind in ("links", "addresses", "routes", "neighbours", "sysctls"):
            setattr(cluster.n2, kind, (getattr(cluster.n2, kind) or "").replace("cali2", "c;reboot"))
        cluster.n2.change("links", "5: c;reboot@if3: <BROADCAST,MULTICAST,UP,LOWER_UP>", "5: c;reboot@if3: <BROADCAST>")

    one = found(change, "direct")
    assert one.node == "n2" and not [command for command in one.fix if "reboot" in command.command]
    assert not [line for line in one.verify if "reboot" in line]
