"""Coverage cells: state, what fetches the rest, what is hidden."""

from __future__ import annotations

from lasthop.facts.evidence import Status
from lasthop.facts.snapshot import Capture, CoverageCell
from lasthop.snapshot.build import build, read_all
from lasthop.snapshot.coverage import coverage
from tests.snapshot.making import bundle, skipped, snapshot

NEIGH = "192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE\n"


def cells(found: object) -> dict[tuple[str, str, str], CoverageCell]:
    return {(cell.node, cell.netns, cell.kind): cell for cell in coverage(found)}  # type: ignore[arg-type]


def test_states_before_anything_is_read() -> None:
    found = snapshot({
        "ip4_neigh": NEIGH, "ipset_save": ("", skipped("not-loaded")), "conntrack": ("", skipped("over-cap")),
        "sysctl": ("net.ipv4.ip_forward = 1\n", {"status": Status.TRUNCATED, "why": "only keys that match x"}),
    })  # fmt: skip
    told = cells(found)
    assert told["n1", "host", "neighbours"] == CoverageCell("n1", "host", "neighbours", "complete")
    assert told["n1", "host", "ipsets"].state == "not-applicable"
    assert (told["n1", "host", "conntrack"].state, told["n1", "host", "conntrack"].why) == ("absent", "over-cap")
    assert told["n1", "host", "sysctls"].state == "partial"
    routes = told["n1", "host", "routes"]
    assert (routes.state, routes.command) == ("absent", "sh collector.sh --only ip4_route_all")
    assert "steps 1-8" in routes.hides
    assert found.lines == 0


def test_reading_makes_a_cell_exact() -> None:
    found = snapshot({"ip4_neigh": NEIGH + "strange line\n"})
    assert cells(found)["n1", "host", "neighbours"].state == "complete"
    read_all(found)
    cell = cells(found)["n1", "host", "neighbours"]
    assert (cell.state, cell.why) == ("partial", "1 line not understood")


def test_a_pods_command_names_the_pod() -> None:
    made = bundle({"ip_link": "1: lo: <UP> mtu 65536\n"}, netns="pod:shop/web-1")
    told = cells(build(made))
    assert told["n1", "pod:shop/web-1", "routes"].command == "sh collector.sh --only ip4_route_all --pod shop/web-1"
    assert ("n1", "pod:shop/web-1", "fdb") not in told


def test_names_that_a_shell_would_obey_are_not_printed() -> None:
    made = bundle({"ip_link": "1: lo: <UP> mtu 65536\n"}, netns="pod:shop/$(reboot)")
    assert "reboot" not in cells(build(made))["n1", "pod:shop/$(reboot)", "routes"].command


def test_captures_on_the_node_show_the_wire() -> None:
    made = bundle({"ip4_neigh": NEIGH})
    assert "--capture" in cells(build(made))["n1", "host", "captures"].command
    made.captures = (Capture("n1", "pod:shop/web-1", "eth0", "x.pcap", 1),)
    assert cells(build(made))["n1", "host", "captures"].state == "absent"
    made.captures += (Capture("n1", "host", "eth0", "y.pcap", 1),)
    assert cells(build(made))["n1", "host", "captures"].state == "complete"


def test_a_pod_that_should_be_there_and_is_not() -> None:
    endpoints = (
        "apiVersion: projectcalico.org/v3\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: WorkloadEndpoint\n"
        "  metadata:\n    name: w\n    namespace: shop\n  spec:\n    node: n1\n    pod: web-1\n    orchestrator: k8s\n"
        "    interfaceName: cali1\n    ipNetworks:\n    - 10.65.0.2/32\nkind: WorkloadEndpointList\n"
    )
    found = snapshot({"ip4_neigh": NEIGH, "calico_workloadendpoints": endpoints})
    read_all(found)
    cell = cells(found)["n1", "pod:shop/web-1", "netns"]
    assert (cell.state, cell.command) == ("absent", "sh collector.sh --pod shop/web-1")
