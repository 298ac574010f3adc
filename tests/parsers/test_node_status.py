"""`calicoctl node status`: samples by hand after calicoctl/calicoctl/commands/node/status.go."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from lasthop.facts.calico import BgpSession, NodeStatus
from lasthop.parsers.node_status import parse_node_status
from tests.conftest import shared

STATUS = """\
Calico process is running.

IPv4 BGP status
+--------------+-------------------+-------+------------+--------------------------------+
| PEER ADDRESS |     PEER TYPE     | STATE |   SINCE    |              INFO              |
+--------------+-------------------+-------+------------+--------------------------------+
| 192.0.2.12   | node-to-node mesh | up    | 08:11:02   | Established                    |
| 192.0.2.13   | node-to-node mesh | start | 2026-11-23 | Active Socket: Connection      |
|              |                   |       |            | refused                        |
| 192.0.2.1    | global            | start | 08:40:17   | Connect                        |
+--------------+-------------------+-------+------------+--------------------------------+ <- here

IPv6 BGP status
+--------------+---------------+-------+----------+-------------+
| Peer address | Peer type     | State | Since    | Info        |
+--------------+---------------+-------+----------+-------------+
| fd00::12     | node specific | up    | 08:11:02 | Established |
+--------------+---------------+-------+----------+-------------+
"""


def test_rows_sentences_and_wrapped_cells() -> None:
    result = parse_node_status(STATUS.replace(" <- here", ""), "s")
    assert result.unparsed == ()
    running, up, refused, router, six = result.values
    assert running == NodeStatus("calico", True, running.source, "", "Calico process is running.")
    assert isinstance(up, BgpSession) and isinstance(refused, BgpSession)
    assert (up.name, up.neighbour, up.state, up.info) == (
        "Mesh_192_0_2_12",
        ip_address("192.0.2.12"),
        "up",
        "Established",
    )
    assert refused.info == "Active Socket: Connection refused"
    assert (refused.last_error, refused.since) == ("Socket: Connection refused", "2026-11-23")
    assert isinstance(router, BgpSession) and router.name == "Global_192_0_2_1"
    assert isinstance(six, BgpSession) and (six.name, six.family) == ("Node_fd00__12", 6)


def test_processes_that_do_not_run() -> None:
    text = (
        "Calico process is not running.\n\nThe BGP backend process (BIRD) is not running.\n"
        "INFO: BIRDv6 process: 'bird6' is not running.\nIPv6 BGP status\nNo IPv6 peers found.\n"
    )
    result = parse_node_status(text, "s")
    assert result.unparsed == ()
    assert [(value.what, value.running) for value in result.values if isinstance(value, NodeStatus)] == [
        ("calico", False),
        ("bird", False),
        ("bird6", False),
    ]


def test_a_foreign_line_is_counted() -> None:
    result = parse_node_status(STATUS, "s")
    assert [item.source.line for item in result.unparsed] == [11]


@given(st.text())
def test_never_raises(text: str) -> None:
    parse_node_status(text, "s")


@given(st.lists(st.sampled_from(STATUS.splitlines()), max_size=15), st.integers(0, 80))
def test_never_raises_on_mixed_and_cut_lines(lines: list[str], cut: int) -> None:
    parse_node_status("\n".join(lines)[cut:], "s")


def test_real_tables_of_several_nodes() -> None:
    text = (shared("real-evidence") / "kubeasz-rr-node-status.txt").read_text()
    found = [value for value in parse_node_status(text, "s").values if isinstance(value, BgpSession)]
    expected = sum(line.startswith("| 192.") for line in text.splitlines())
    assert len(found) == expected > 15
    assert {session.state for session in found} == {"up"}
