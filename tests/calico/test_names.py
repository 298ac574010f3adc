"""Names that Felix makes. Expected values: test vectors computed from Calico's own code, and a real node's dump."""

from __future__ import annotations

import re

import pytest

from lasthop.calico.names import (
    ChainOwner,
    endpoint_chain,
    host_endpoint_chain,
    is_owner,
    owner_of_comment,
    policies_by_chain,
    policy_chains,
    profile_chain,
    selector_set,
    shorten,
    workload_interface,
)
from lasthop.facts.calico import Policy
from lasthop.facts.evidence import SourceRef
from tests.calico.build import reference
from tests.conftest import shared

NOWHERE = SourceRef("x", 0)


@pytest.mark.parametrize(
    ("namespace", "pod", "name"),
    [
        ("default", "frontend-5gs43", "cali7f48edf42e2"),
        ("default", "web-0", "cali0d7763386da"),
        ("kube-system", "coredns-0", "cali8c346e38bf4"),
    ],
)
def test_interfaces(namespace: str, pod: str, name: str) -> None:
    assert workload_interface(namespace, pod) == name


@pytest.mark.parametrize(
    ("ident", "name"),
    [
        ("knp/default/allow-web", "cali-pi-_l7X9Omtz7dibbh9L3Lp"),
        ("default/default/knp.default.allow-web", "cali-pi-_Vm_1cJRadOrYgBn0juc"),
        ("default/knp.default.allow-web", "cali-pi-_QMREAWxglfqoREwyt41"),
        ("gnp/default.deny-all", "cali-pi-gnp/default.deny-all"),
        ("default/default.deny-all", "cali-pi-_rRvJ5MlQ4EKf_9WPWxZ"),
    ],
)
def test_chains(ident: str, name: str) -> None:
    assert shorten("cali-pi-", ident) == name


def test_a_name_that_looks_like_a_hash_is_hashed() -> None:
    ident = "_" + "x" * 19
    assert len("cali-pi-" + ident) == 28
    assert shorten("cali-pi-", ident) != "cali-pi-" + ident
    assert shorten("cali-pi-", ident[:-1]) == "cali-pi-" + ident[:-1]


def test_the_chain_of_a_kubernetes_policy_in_every_version() -> None:
    names = policy_chains(Policy("KubernetesNetworkPolicy", "allow-web", NOWHERE, "default"), "ingress")
    assert {
        "cali-pi-_l7X9Omtz7dibbh9L3Lp",
        "cali-pi-_Vm_1cJRadOrYgBn0juc",
        "cali-pi-_QMREAWxglfqoREwyt41",
    } <= set(names)


def test_endpoint_and_profile_chains() -> None:
    assert endpoint_chain("cali0d7763386da", "ingress") == "cali-tw-cali0d7763386da"
    assert endpoint_chain("cali0d7763386da", "egress") == "cali-fw-cali0d7763386da"
    assert host_endpoint_chain("eth0", "egress", forward=True) == "cali-thfw-eth0"
    assert host_endpoint_chain("*", "ingress") == "cali-fh-any-interface-at-all"
    assert profile_chain("ksa.default.default", "ingress") == "cali-pri-ksa.default.default"


@pytest.mark.parametrize(
    ("comment", "owner"),
    [
        (
            "cali:6wQ0 NetworkPolicy shop/web-ingress ingress",
            ChainOwner("NetworkPolicy", "shop", "web-ingress", "ingress"),
        ),
        (
            "cali:6wQ0; GlobalNetworkPolicy security.x egress",
            ChainOwner("GlobalNetworkPolicy", "", "security.x", "egress"),
        ),
        ("Policy shop/default.web-ingress ingress", ChainOwner("", "shop", "default.web-ingress", "ingress")),
        ("Profile kns.default egress", ChainOwner("Profile", "", "kns.default", "egress")),
        ("Return if policy accepted", None),
        ("Policy explicitly accepted packet.", None),
        ("cali:x Start of policies", None),
    ],
)
def test_comments(comment: str, owner: ChainOwner | None) -> None:
    assert owner_of_comment(comment) == owner


def test_a_comment_belongs_to_its_policy_only() -> None:
    web = Policy("NetworkPolicy", "web-ingress", NOWHERE, "shop")
    for name in ("web-ingress", "default.web-ingress"):
        assert is_owner(ChainOwner("", "shop", name, "ingress"), web)
    assert not is_owner(ChainOwner("", "other", "web-ingress", "ingress"), web)
    assert not is_owner(ChainOwner("GlobalNetworkPolicy", "shop", "web-ingress", "ingress"), web)


def test_chains_lead_back_to_their_policy_without_comments() -> None:
    web = Policy("KubernetesNetworkPolicy", "allow-web", NOWHERE, "default")
    found = policies_by_chain([web])
    assert found["cali-pi-_QMREAWxglfqoREwyt41"] == (web, "ingress")
    assert found["cali-pi-_l7X9Omtz7dibbh9L3Lp"] == (web, "ingress")
    assert "cali-pi-other" not in found


def test_sets() -> None:
    assert selector_set("all()") == "cali40s:5y5I3VdRZfDU01O--xXAPx2"
    assert selector_set('a == "b"') == "cali40s:flMh0m0X_BowkAK_W3j3MgH"


def test_every_policy_and_profile_chain_of_a_real_node_has_an_owner() -> None:
    cluster = reference("healthy-vxlan-nft").cluster
    chains = {
        name
        for policy in cluster.policies.values
        for direction in ("ingress", "egress")
        for name in policy_chains(policy, direction)
    }
    for item in cluster.calico_objects.values:
        if item.kind == "Profile":
            chains |= {profile_chain(item.name, direction) for direction in ("ingress", "egress")}
    for endpoint in cluster.workload_endpoints.values:
        assert endpoint.interface == workload_interface(endpoint.namespace, endpoint.pod)
        chains |= {endpoint_chain(endpoint.interface, direction) for direction in ("ingress", "egress")}
    seen = 0
    for path in shared("reference-cluster", "cases", "healthy-vxlan-nft").glob("nodes/*/iptables-save.txt"):
        for name in re.findall(r"^:(cali-(?:p[io]|pr[io]|[tf]w)-\S+)", path.read_text(), re.M):
            assert name in chains
            seen += 1
    assert seen > 30
