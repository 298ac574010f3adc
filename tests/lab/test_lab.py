"""The lab itself: names and hashes are Calico's, a cluster comes up and carries traffic, a fault breaks it and its
repair restores it.
"""

from __future__ import annotations

import re

import pytest

from tests.conftest import REPO, need
from tests.lab.case import Case
from tests.lab.cases import cases
from tests.lab.cluster import Cluster
from tests.lab.faults import broken
from tests.lab.felix import length_limited, rule_hashes, selector_set
from tests.lab.kubeproxy import chain_name
from tests.lab.machine import run
from tests.lab.model import interface_name
from tests.lab.traffic import flow_works

TOOLS = (
    "setpriv",
    "unshare",
    "nsenter",
    "ip",
    "bridge",
    "iptables-nft-restore",
    "iptables-legacy-restore",
    "ipset",
    "bird",
    "birdc",
    "ss",
    "ethtool",
)


def test_rule_hashes_equal_those_of_a_real_felix() -> None:
    """Chain cali-wl-to-host as v3.27 and v3.33 program it; the two hashes were read from a live node."""
    rules = [
        "--jump cali-from-wl-dispatch",
        '-m comment --comment "Configured DefaultEndpointToHostAction" --jump ACCEPT',
    ]
    assert rule_hashes("cali-wl-to-host", rules) == ["Ee9Sbo10IpVujdIY", "nSZbcOoG1xPONxb8"]


def test_names_equal_those_of_a_real_node() -> None:
    assert interface_name("default", "client-a") == "cali817517c44ab"
    assert selector_set({"role": "client"}, "shop", "default") == "cali40s:6JuRv1DXuNQMVrAzfuIh2d0"
    assert chain_name("KUBE-SVC-", "shop/web:http", "tcp") == "KUBE-SVC-67NZLRHBNDSAWJRO"
    assert length_limited("cali-pi-", "shop/default.web-ingress", 28) == "cali-pi-_gIpZBLntRxK5-dQIFwC"
    assert length_limited("cali-pi-", "np/shop/web-ingress", 28) == "cali-pi-np/shop/web-ingress"


def test_every_expected_code_is_documented() -> None:
    known = set(re.findall(r"^### ([\w-]+)$", (REPO / "docs" / "causes.md").read_text(), re.M))
    for case in cases():
        for item in case.breaks:
            assert item.codes and known.issuperset(item.codes), f"{case.name}: {item.codes}"


def need_lab(*tools: str) -> None:
    """Skips (fails in CI) where the lab cannot be built: a tool, root, or the right to make namespaces is missing."""
    need(*TOOLS, *tools, root=True)
    if run(["unshare", "--net", "--mount", "--pid", "--fork", "true"], check=False).returncode:
        need("the right to make namespaces")


def by_name(name: str) -> Case:
    return next(case for case in cases() if case.name == name)


@pytest.mark.lab
@pytest.mark.parametrize("name", ["pod-route-missing", "wire-drops-vxlan", "reply-dropped-in-raw"])
def test_fault_breaks_and_repair_restores(name: str) -> None:
    """BGP (BIRD) and VXLAN clusters, a request and a reply fault: works, does not work, works."""
    need_lab()
    case = by_name(name)
    address, port = case.address
    with Cluster(case.spec) as cluster:
        assert flow_works(cluster, case.source, address, port, size=65536).works
        with broken(cluster, *case.faults):
            assert flow_works(cluster, case.source, address, port, limit=1.5).result in case.symptoms
        assert flow_works(cluster, case.source, address, port).works


@pytest.mark.lab
def test_service_and_node_port_reach_every_backend() -> None:
    need_lab()
    spec = by_name("service-one-dead-backend").spec
    with Cluster(spec) as cluster:
        answers = {flow_works(cluster, "default/client-a", "10.96.10.10", 80).answer for _ in range(30)}
        assert answers == {"web-0", "web-1", "web-2"}
        node_port = flow_works(cluster, "default/client-a", spec.node("node2").ip, 30080)
        assert node_port.result == "timeout", "masqueraded by the node: the policy admits pods of role client only"
