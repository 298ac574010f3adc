"""Sets that policies need, compared with what Felix programmed; mark bits read from real rules."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_network
from pathlib import Path

import pytest

from lasthop.calico.endpoints import Endpoints
from lasthop.calico.sets import expected_sets
from lasthop.calico.version import Marks, cluster_version, felix_setting, read_marks, version_range
from lasthop.parsers.iptables import parse_iptables_save
from tests.calico.build import CLUSTER, policy, reference, snapshot
from tests.conftest import shared

CASES = ["healthy-vxlan-nft", "f05-pod-route-missing"]


def programmed(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for line in path.read_text().splitlines():
        words = line.split()
        if words[1].startswith(("cali40s:", "cali40n:")):
            members = found[words[1]]
            if words[0] == "add":
                members.add(str(ip_network(words[2].split(",")[0])))
    return found


@pytest.mark.parametrize("case", CASES)
def test_real_sets_have_the_names_and_members_that_the_objects_demand(case: str) -> None:
    expected = expected_sets(Endpoints(reference(case)))
    compared = 0
    for path in shared("reference-cluster", "cases", case).glob("nodes/*/ipset-save.txt"):
        for name, members in programmed(path).items():
            assert {str(net) for net in expected[name].members} == members, expected[name].selector
            assert expected[name].closed and not expected[name].doubtful
            compared += 1
    assert compared > 8


def test_doubt_about_labels_is_doubt_about_members() -> None:
    text = policy("selector: all(), ingress: [{action: Allow, source: {namespaceSelector: team == 'blue'}}]")
    (known,) = expected_sets(Endpoints(snapshot(CLUSTER, text))).values()
    assert known.members == {ip_network("10.65.1.5/32")} and known.closed
    assert known.uses[0].policy.name == "p" and known.uses[0].side == "source"
    blind = snapshot(CLUSTER, text, absent=["calico_objects", "namespaces"])
    (unsure,) = expected_sets(Endpoints(blind)).values()
    assert unsure.members == frozenset() and len(unsure.doubtful) == 2 and not unsure.closed


def test_the_set_of_a_kubernetes_peer_has_its_documented_name() -> None:
    text = (
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: k, namespace: default}\n"
        "spec: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {role: frontend}}}]}]}\n"
    )
    assert set(expected_sets(Endpoints(snapshot(CLUSTER, text)))) == {"cali40s:8e8v9b88qXpwDYA2DUkLaK6"}


def test_marks_of_the_current_version() -> None:
    path = shared("reference-cluster", "cases", "healthy-vxlan-nft", "nodes", "node2", "iptables-save.txt")
    (rules,) = parse_iptables_save(path.read_text(), "x").values
    # calico-facts 1.3: accept 0x10000, pass 0x20000, drop 0x40000, scratch0 0x80000, clear mask 0x1b0000.
    assert read_marks(rules) == Marks(0x10000, 0x20000, 0x40000, 0x80000, 0x1B0000)
    assert version_range(rules) == ("3.30", "")


OLD = """\
*raw
:PREROUTING ACCEPT [0:0]
:cali-PREROUTING - [0:0]
-A cali-PREROUTING -m comment --comment "cali:a" -j MARK --set-xmark 0x0/0xf000000
-A cali-PREROUTING -i cali+ -m comment --comment "cali:b" -j MARK --set-xmark 0x4000000/0x4000000
COMMIT
*filter
:FORWARD ACCEPT [0:0]
:cali-FORWARD - [0:0]
:cali-tw-cali1 - [0:0]
-A cali-tw-cali1 -m comment --comment "cali:c" -m mark --mark 0x0/0x2000000 -j cali-pi-x
-A cali-tw-cali1 -m comment --comment "cali:d" -m comment --comment "Return if policy accepted" -m mark \
--mark 0x1000000/0x1000000 -j RETURN
COMMIT
"""


def test_marks_of_the_oldest_versions() -> None:
    (rules,) = parse_iptables_save(OLD, "x").values
    assert read_marks(rules) == Marks(0x1000000, 0x2000000, None, 0x4000000, 0xF000000)
    assert version_range(rules) == ("2.0", "3.0")
    (rules,) = parse_iptables_save("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", "x").values
    assert version_range(rules) is None


def test_settings_of_one_node_win() -> None:
    text = "apiVersion: projectcalico.org/v3\nkind: FelixConfiguration\nmetadata: {{name: {}}}\nspec: {{{}}}\n"
    snap = snapshot(text.format("default", "vxlanPort: 4789, x: 1"), text.format("node.n1", "vxlanPort: 8472"))
    assert felix_setting(snap, "n1", "vxlanPort") == 8472
    assert felix_setting(snap, "n2", "vxlanPort") == 4789
    assert felix_setting(snap, "n1", "missing") is None


def test_version_of_the_cluster() -> None:
    text = (
        "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {name: default}\n"
        "spec: {calicoVersion: v3.27.5-0.dev}\n"
    )
    assert cluster_version(snapshot(text)) == (3, 27)
    assert cluster_version(snapshot(CLUSTER)) is None
