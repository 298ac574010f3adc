"""BIRD's output: samples written by hand after BIRD's own format strings, and the real files when they are there."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lasthop.facts.calico import BgpRoute, BgpSession, BirdProtocol, NodeStatus
from lasthop.parsers.bird import parse_bird_protocols, parse_bird_routes, parse_bird_status, peer_address
from tests.conftest import shared

PROTOCOLS_16 = """\
BIRD v0.3.3+birdv1.6.8 ready.
name     proto    table    state  since       info
static1  Static   master   up     08:10:56
kernel1  Kernel   master   wait   2017-07-25
Mesh_192_0_2_12 BGP      master   up     08:11:02    Established
Mesh_192_0_2_13 BGP      master   start  08:40:17    Active        Socket: Connection refused
Global_192_0_2_1_port_1790 BGP      master   start  08:40:17    Passive
"""

ALL_2 = """\
BIRD 2.0.12 ready.
Name       Proto      Table      State  Since         Info
device1    Device     ---        up     2026-11-23 08:10:56
Mesh_192_0_2_12 BGP        ---        up     08:11:02.123  Established
  BGP state:          Established
    Neighbor address: 192.0.2.12
    Neighbor AS:      64513
    Local AS:         64512
    Session:          external AS4
  Channel ipv4
    State:          UP
    Table:          master4
    Input filter:   ACCEPT
    Routes:         3 imported, 1 filtered, 2 exported, 3 preferred
    BGP Next hop:   192.0.2.11
  Channel ipv6
    Routes:         1 imported, 0 exported, 1 preferred

uplink     BGP        ---        start  08:40:17.001  Idle          BGP Error: Bad peer AS
  BGP state:          Idle
    Neighbor address: fe80::1%eth0
    Neighbor AS:      65000
    Last error:       BGP Error: Bad peer AS
"""


def sessions(text: str) -> list[BgpSession]:
    return [value for value in parse_bird_protocols(text, "p").values if isinstance(value, BgpSession)]


def test_plain_protocols_of_1_6() -> None:
    result = parse_bird_protocols(PROTOCOLS_16, "p")
    assert result.unparsed == ()
    up, active, passive = sessions(PROTOCOLS_16)
    assert (up.state, up.info, up.neighbour, up.since) == ("up", "Established", ip_address("192.0.2.12"), "08:11:02")
    assert up.last_error == ""
    assert (active.state, active.info) == ("start", "Active Socket: Connection refused")
    assert active.last_error == "Socket: Connection refused"
    assert passive.neighbour == ip_address("192.0.2.1")
    kernel = result.values[1]
    assert isinstance(kernel, BirdProtocol)
    assert (kernel.proto, kernel.state, kernel.since) == ("Kernel", "wait", "2017-07-25")
    assert kernel.source.line == 4 and kernel.source.text.startswith("kernel1")


def test_details_of_2_sum_over_channels() -> None:
    result = parse_bird_protocols(ALL_2, "p")
    assert result.unparsed == ()
    mesh, uplink = sessions(ALL_2)
    assert (mesh.neighbour_as, mesh.local_as, mesh.imported, mesh.exported) == (64513, 64512, 4, 2)
    assert mesh.since == "08:11:02.123"
    assert (uplink.neighbour, uplink.family) == (ip_address("fe80::1"), 6)
    assert uplink.last_error == "BGP Error: Bad peer AS"
    device = result.values[0]
    assert isinstance(device, BirdProtocol) and device.since == "2026-11-23 08:10:56"


def test_numbered_lines_of_the_raw_socket() -> None:
    text = (
        "0001 BIRD 1.6.8 ready.\n2002-name     proto    table    state  since       info\n"
        "1002-static1  Static   master   up     08:10:56    \n"
        " Mesh_192_0_2_12 BGP      master   up     08:11:02    Established   \n0000 \n"
    )
    result = parse_bird_protocols(text, "p")
    assert result.unparsed == ()
    assert [value.name for value in result.values if not isinstance(value, NodeStatus)] == [
        "static1",
        "Mesh_192_0_2_12",
    ]


def test_missing_daemon_is_a_fact_and_a_denied_one_is_not() -> None:
    gone = "Unable to connect to server control socket (/var/run/calico/bird.ctl): No such file or directory\n"
    (status,) = parse_bird_protocols(gone, "p").values
    assert status == NodeStatus("bird", False, status.source, "", gone.strip())
    denied = parse_bird_protocols(gone.replace("No such file or directory", "Permission denied"), "p")
    assert denied.values == () and len(denied.unparsed) == 1


def test_strange_lines_are_counted() -> None:
    result = parse_bird_protocols(PROTOCOLS_16 + "what is this\n", "p")
    assert [item.source.line for item in result.unparsed] == [8]


@pytest.mark.parametrize(
    ("name", "ip"),
    [
        ("Mesh_10_20_0_11", "10.20.0.11"),
        ("Node_192_0_2_1_port_179", "192.0.2.1"),
        ("Mesh_fd00__12", "fd00::12"),
        ("Local_Workload_10_0_0_4", "10.0.0.4"),
    ],
)
def test_address_in_a_name(name: str, ip: str) -> None:
    assert peer_address(name) == ip_address(ip)


def test_names_without_an_address() -> None:
    assert peer_address("uplink1") is None and peer_address("Mesh_router") is None


ROUTES_16 = """\
BIRD 1.6.8 ready.
0.0.0.0/0          via 192.0.2.1 on eth0 [kernel1 08:10:57] * (10)
10.65.1.0/26       via 192.0.2.12 on eth0 [Mesh_192_0_2_12 08:11:02] * (100/0) [i]
                   via 192.0.2.1 on eth0 [Mesh_192_0_2_13 08:11:02 from 192.0.2.13] (100/?) [AS64513i]
10.65.0.0/26       blackhole [static1 2017-07-25] * (200)
10.65.0.0/32       dev tunl0 [direct1 08:10:56] * (240)
10.65.2.0/26       unreachable [Mesh_192_0_2_14 08:10:56] * (100/-) [i]
10.65.3.0/26       multipath [Mesh_192_0_2_15 08:10:56] * (100/0) [i]
\tvia 192.0.2.15 on eth0 weight 1
\tvia 192.0.2.16 on eth1 weight 2
"""


def routes(text: str) -> list[BgpRoute]:
    result = parse_bird_routes(text, "r")
    assert result.unparsed == ()
    return [value for value in result.values if isinstance(value, BgpRoute)]


def test_plain_routes_of_1_6() -> None:
    found = routes(ROUTES_16)
    assert [str(route.prefix) for route in found] == [
        "0.0.0.0/0",
        "10.65.1.0/26",
        "10.65.1.0/26",
        "10.65.0.0/26",
        "10.65.0.0/32",
        "10.65.2.0/26",
        "10.65.3.0/26",
        "10.65.3.0/26",
    ]
    best, other = found[1:3]
    assert (best.via, best.dev, best.protocol, best.best) == (ip_address("192.0.2.12"), "eth0", "Mesh_192_0_2_12", True)
    assert (other.best, other.from_, other.as_path, other.origin) == (False, ip_address("192.0.2.13"), "64513", "i")
    assert (found[3].type, found[4].dev, found[5].type) == ("blackhole", "tunl0", "unreachable")
    assert [(route.via, route.dev, route.source.line) for route in found[6:]] == [
        (ip_address("192.0.2.15"), "eth0", 9),
        (ip_address("192.0.2.16"), "eth1", 10),
    ]


def test_attributes_of_1_6() -> None:
    text = (
        "10.65.1.0/26  via 192.0.2.12 on eth0 [Mesh_192_0_2_12 08:11:02] * (100/0) [i]\n"
        "\tType: BGP unicast univ\n\tBGP.origin: IGP\n\tBGP.as_path: 64513 64514\n"
        "\tBGP.next_hop: 192.0.2.12\n\tBGP.local_pref: 2147482623\n"
    )
    (route,) = routes(text)
    assert (route.origin, route.as_path, route.next_hop) == ("IGP", "64513 64514", ip_address("192.0.2.12"))
    assert route.local_pref == 2147482623


def test_two_line_routes_of_2_and_attribute_names_of_3() -> None:
    text = (
        "BIRD 3.0.1 ready.\nTable master6:\n"
        "fd00:1::/64          unicast [bgp1 2026-11-23 from fe80::2%eth0] * (100) [AS65000i]\n"
        "\tvia fe80::2 on eth0\n\tbgp_origin: IGP\n\tbgp_next_hop: fe80::2 fe80::3\n\tbgp_local_pref: 50\n"
        "                     unicast [bgp2 08:11:02.123] (100) [AS65001i]\n\tvia fd00:9::1 on eth1 weight 3\n"
        "10.0.0.0/26          blackhole [static1 08:10:56.001] * (200)\n"
        "10.0.9.0/24          unicast [direct1 08:10:56.001] * (240)\n\tdev eth0\n"
    )
    first, second, hole, direct = routes(text)
    assert (first.prefix, first.via, first.best) == (ip_network("fd00:1::/64"), ip_address("fe80::2"), True)
    assert (first.next_hop, first.local_pref, first.from_) == (ip_address("fe80::2"), 50, ip_address("fe80::2"))
    assert (second.prefix, second.via, second.dev, second.best) == (
        ip_network("fd00:1::/64"),
        ip_address("fd00:9::1"),
        "eth1",
        False,
    )
    assert hole.type == "blackhole" and direct.dev == "eth0"


def test_a_doubtful_route_line_names_its_prefix() -> None:
    result = parse_bird_routes("10.65.1.0/26  teleported [x 08:11:02] * (100)\n", "r")
    assert result.values == () and result.touches == ("10.65.1.0/26",)


def test_status() -> None:
    text = (
        "BIRD 1.6.8 ready.\nBIRD 1.6.8\nRouter ID is 192.0.2.11\nCurrent server time is 2026-11-23 00:34:36\n"
        "Last reboot on 2026-11-23 00:34:23\nLast reconfiguration on 2026-11-23 00:34:25\n"
        "Graceful restart recovery in progress\n  Waiting for 2 protocols to recover\n  Wait timer is 100/240\n"
        "Daemon is up and running\n"
    )
    result = parse_bird_status(text, "nodes/n/host/bird6_status.out")
    assert result.unparsed == ()
    (status,) = result.values
    assert (status.what, status.running, status.version) == ("bird6", True, "1.6.8")
    assert "Router ID is 192.0.2.11" in status.detail


@given(st.text())
def test_never_raises(text: str) -> None:
    for parse in (parse_bird_protocols, parse_bird_routes, parse_bird_status):
        parse(text, "x")


LINES = PROTOCOLS_16.splitlines() + ALL_2.splitlines() + ROUTES_16.splitlines()


@given(st.lists(st.sampled_from(LINES), max_size=12), st.integers(0, 60))
def test_never_raises_on_mixed_and_cut_lines(lines: list[str], cut: int) -> None:
    text = "\n".join(lines)[cut:]
    for parse in (parse_bird_protocols, parse_bird_routes, parse_bird_status):
        result = parse(text, "x")
        assert len(result.unparsed) <= result.lines


def test_real_files() -> None:
    """Published outputs: every protocol and route line of a pasted page is understood."""
    folder = shared("real-evidence")
    text = (folder / "yimtun-bgp-birdcl-show-protocols-all.txt").read_text()
    found = sessions(text)
    assert len(found) == 12
    assert {session.imported for session in found if session.imported is not None} == {1}
    text = (folder / "lijiaocn-bird150-protocols-and-routes.txt").read_text()
    expected = sum("] * (" in line for line in text.splitlines())
    assert expected > 20
    assert sum(isinstance(value, BgpRoute) for value in parse_bird_routes(text, "x").values) == expected
