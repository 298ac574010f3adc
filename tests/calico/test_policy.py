"""Policy as written: verdicts by hand from Calico's and Kubernetes' documented semantics, then real clusters."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from lasthop.calico.endpoints import Endpoints
from lasthop.calico.policy import DirectionVerdict, FlowVerdict, PolicyBook
from lasthop.facts.evidence import Artifact
from lasthop.facts.snapshot import Snapshot
from tests.calico.build import CLUSTER, policy, reference, snapshot
from tests.conftest import shared

CLIENT, WEB, OUTSIDE = "10.65.1.5", "10.65.2.5", "203.0.113.9"


def judge(
    snap: Snapshot, src: str = CLIENT, dst: str = WEB, proto: str = "tcp", port: int | None = 8080
) -> FlowVerdict:
    icmp = (8, 0) if proto == "icmp" else None
    return PolicyBook(Endpoints(snap)).judge(ip_address(src), ip_address(dst), proto, port, icmp=icmp)


def ingress(*specs: str, **flow: object) -> DirectionVerdict:
    texts = [policy(spec, name=f"p{number}") for number, spec in enumerate(specs)]
    return judge(snapshot(CLUSTER, *texts), **flow).ingress  # type: ignore[arg-type]


def test_without_policies_the_profiles_allow() -> None:
    verdict = judge(snapshot(CLUSTER))
    assert (verdict.outcome, verdict.egress.profile, verdict.ingress.profile) == ("allow", "kns.default", "kns.shop")


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ("{action: Allow}", "allow"),
        ("{action: Deny}", "deny"),
        ("{action: Log}", "deny"),
        ("{action: Pass}", "allow"),
        ("{action: Allow, protocol: TCP}", "allow"),
        ("{action: Allow, protocol: 6}", "allow"),
        ("{action: Allow, protocol: UDP}", "deny"),
        ("{action: Allow, notProtocol: UDP}", "allow"),
        ("{action: Allow, ipVersion: 6}", "deny"),
        ("{action: Allow, protocol: TCP, destination: {ports: [8080]}}", "allow"),
        ("{action: Allow, protocol: TCP, destination: {ports: ['8000:8100']}}", "allow"),
        ("{action: Allow, protocol: TCP, destination: {ports: [80, '9000:9100']}}", "deny"),
        ("{action: Allow, protocol: TCP, destination: {ports: [http]}}", "allow"),
        ("{action: Allow, protocol: UDP, destination: {ports: [http]}}", "deny"),
        ("{action: Allow, protocol: TCP, destination: {ports: [metrics]}}", "deny"),
        ("{action: Allow, protocol: TCP, destination: {notPorts: [8080]}}", "deny"),
        ("{action: Allow, source: {nets: [10.65.1.0/24]}}", "allow"),
        ("{action: Allow, source: {nets: ['fd00::/8', 10.0.0.0/16]}}", "deny"),
        ("{action: Allow, source: {notNets: [10.65.1.5/32]}}", "deny"),
        ("{action: Allow, source: {nets: [10.0.0.0/8], notNets: [10.65.1.0/24]}}", "deny"),
        # A selector in a namespaced policy means the own namespace only.
        ("{action: Allow, source: {selector: role == 'client'}}", "deny"),
        ("{action: Allow, source: {selector: role == 'client', namespaceSelector: all()}}", "allow"),
        ("{action: Allow, source: {namespaceSelector: team == 'blue'}}", "allow"),
        ("{action: Allow, source: {namespaceSelector: team == 'red'}}", "deny"),
        ("{action: Allow, source: {namespaceSelector: team == 'blue', selector: role == 'x'}}", "deny"),
        ("{action: Allow, source: {namespaceSelector: global()}}", "deny"),
        ("{action: Allow, source: {notSelector: role == 'client', namespaceSelector: all()}}", "deny"),
        ("{action: Allow, source: {selector: role == ''', namespaceSelector: all()}}", "unknown"),
        ("{action: Allow, source: {tag: x}}", "unknown"),
        ("{action: Allow, source: {ports: [12345]}}", "unknown"),
        ("{action: Allow, icmp: {type: 8}}", "deny"),
    ],
)
def test_one_ingress_rule(rule: str, outcome: str) -> None:
    assert ingress(f"selector: app == 'web', types: [Ingress], ingress: [{rule}]").outcome == outcome


@pytest.mark.parametrize(
    ("icmp", "outcome"), [("icmp: {type: 8}", "allow"), ("icmp: {type: 0}", "deny"), ("notICMP: {type: 8}", "deny")]
)
def test_icmp(icmp: str, outcome: str) -> None:
    spec = f"selector: all(), ingress: [{{action: Allow, protocol: ICMP, {icmp}}}]"
    assert ingress(spec, proto="icmp", port=None).outcome == outcome


def test_a_policy_that_selects_makes_default_deny() -> None:
    verdict = ingress("selector: app == 'web', types: [Ingress]")
    assert (verdict.outcome, verdict.by_default, verdict.tier) == ("deny", True, "default")
    for spec in ("selector: app == 'db', types: [Ingress]", "selector: all(), types: [Egress]"):
        assert ingress(spec).outcome == "allow"


def test_order_decides_between_policies() -> None:
    deny = "order: {}, selector: all(), ingress: [{{action: Deny}}]"
    allow = "order: 20, selector: all(), ingress: [{action: Allow}]"
    first = ingress(deny.format(10), allow)
    assert (first.outcome, first.policy and first.policy.name, first.rule) == ("deny", "p0", 0)
    assert ingress(deny.format(30), allow).outcome == "allow"
    # Without an order a policy comes after every one that has one.
    assert ingress("selector: all(), ingress: [{action: Deny}]", allow).outcome == "allow"


TIER = "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {{name: {}}}\nspec: {{order: {}, defaultAction: {}}}\n"


@pytest.mark.parametrize(
    ("action", "default", "outcome"),
    [
        ("Pass", "Deny", "allow"),
        ("Allow", "Deny", "allow"),
        ("Deny", "Pass", "deny"),
        ("Log", "Deny", "deny"),
        ("Log", "Pass", "allow"),
    ],
)
def test_tiers(action: str, default: str, outcome: str) -> None:
    early = policy(f"selector: all(), types: [Ingress], ingress: [{{action: {action}}}]", "t.g", "", "sec")
    late = policy("selector: all(), ingress: [{action: Allow}]")
    verdict = judge(snapshot(CLUSTER, TIER.format("sec", 10, default), early, late))
    assert verdict.ingress.outcome == outcome


def test_a_later_tier_is_not_reached() -> None:
    late = policy("selector: all(), types: [Ingress], ingress: [{action: Deny}]", "z.g", "", "z")
    verdict = judge(snapshot(CLUSTER, TIER.format("z", 2_000_000, "Deny"), late, policy("ingress: [{action: Allow}]")))
    assert verdict.ingress.outcome == "allow"


def test_global_policies_select_namespaces_and_accounts() -> None:
    for selector, outcome in (
        ("namespaceSelector: team == 'red'", "deny"),
        ("namespaceSelector: team == 'blue'", "allow"),
        ("selector: app == 'web'", "deny"),
    ):
        text = policy(f"{selector}, types: [Ingress], ingress: [{{action: Deny}}]", namespace="")
        assert judge(snapshot(CLUSTER, text)).ingress.outcome == outcome, selector
    rule = "selector: all(), types: [Egress], egress: [{action: Deny, destination: {serviceAccounts: {names: [web]}}}]"
    assert judge(snapshot(CLUSTER, policy(rule, namespace=""))).egress.outcome == "deny"


def test_network_sets_are_selected_by_label() -> None:
    nets = (
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: bad, labels: {feed: threat}}\n"
        "spec: {nets: [203.0.113.0/24]}\n"
    )
    deny = policy(
        "selector: all(), types: [Egress], egress: [{action: Deny, destination: {selector: feed == 'threat'}}, "
        "{action: Allow}]",
        namespace="",
    )
    snap = snapshot(CLUSTER, nets, deny)
    assert judge(snap, dst=OUTSIDE).egress.outcome == "deny"
    assert judge(snap, dst="198.51.100.1").egress.outcome == "allow"
    assert judge(snap, dst=OUTSIDE).ingress.outcome == "not-policed"


def test_staged_policies_and_untracked_ones_do_not_count() -> None:
    staged = policy("selector: all(), types: [Ingress]").replace("kind: Network", "kind: StagedNetwork")
    early = policy("selector: all(), doNotTrack: true, types: [Ingress], applyOnForward: true", namespace="")
    assert judge(snapshot(CLUSTER, staged, early)).outcome == "allow"


def test_the_nodes_own_traffic_to_its_pods_is_free() -> None:
    snap = snapshot(CLUSTER, policy("selector: all(), types: [Ingress]"))
    assert judge(snap, src="192.0.2.12").ingress.outcome == "not-policed"
    assert judge(snap, src="10.65.2.1").ingress.outcome == "not-policed"
    assert judge(snap, src="192.0.2.11").ingress.outcome == "deny"


def test_a_missing_profile_drops_where_profiles_are_known() -> None:
    lonely = CLUSTER.replace("profiles: [kns.shop]", "profiles: [kns.gone]")
    assert judge(snapshot(lonely)).ingress.outcome == "deny"
    assert judge(snapshot(CLUSTER, absent=["calico_objects"])).ingress.outcome == "allow"


def test_missing_evidence_is_never_a_verdict() -> None:
    text = policy("selector: all(), types: [Ingress]")
    assert judge(snapshot(CLUSTER, text, absent=["policies"])).outcome == "unknown"
    assert judge(snapshot(CLUSTER, text, partial=["policies"])).outcome == "unknown"
    # Labels of the namespace decide and are not known.
    text = policy("selector: all(), ingress: [{action: Allow, source: {namespaceSelector: x == 'y'}}]")
    assert judge(snapshot(CLUSTER, text, absent=["calico_objects", "namespaces"])).ingress.outcome == "unknown"
    # They are not known but the verdict is the same either way.
    text = policy("selector: all(), ingress: [{action: Allow, source: {namespaceSelector: x == 'y'}}, {action: Allow}]")
    assert judge(snapshot(CLUSTER, text, absent=["calico_objects", "namespaces"])).ingress.outcome == "allow"


def test_a_list_that_was_never_taken_is_missing_evidence() -> None:
    """Network sets were not asked for: one of them may hold the client and carry the label."""
    text = policy("selector: all(), ingress: [{action: Allow, source: {selector: kind == 'partner'}}]")
    snap = snapshot(CLUSTER, text)
    assert judge(snap).ingress.outcome == "deny"
    ids = ("calico_profiles", "calico_tiers", "calico_networkpolicies")
    assert judge(replace(snap, artifacts=tuple(Artifact(i, i) for i in ids))).ingress.outcome == "unknown"
    ids = (*ids, "calico_networksets", "calico_globalnetworksets")
    assert judge(replace(snap, artifacts=tuple(Artifact(i, i) for i in ids))).ingress.outcome == "deny"


def test_an_address_that_two_pods_have_is_not_judged() -> None:
    double = CLUSTER.replace("10.65.2.5/32", "10.65.1.5/32")
    assert judge(snapshot(double), dst=CLIENT).outcome == "unknown"


def test_the_nearest_rule_is_named() -> None:
    verdict = ingress(
        "selector: app == 'web', ingress: [{action: Allow, protocol: UDP, destination: {ports: [53]}}, "
        "{action: Allow, protocol: TCP, destination: {ports: [9090]}}]"
    )
    assert verdict.nearest is not None
    assert (verdict.nearest.policy.name, verdict.nearest.rule) == ("p0", 1)
    assert verdict.nearest.because == ("destination port 8080 is not in 9090",)
    allow = "ingress: [{action: Allow}]"
    verdict = ingress("selector: app == 'web', types: [Ingress]", f"selector: app == 'wbe', {allow}")
    assert verdict.nearest is not None
    assert verdict.nearest.because == ("the policy's selector app == 'wbe' does not select the pod",)
    verdict = ingress("order: 1, selector: all(), ingress: [{action: Deny}]", f"order: 2, selector: all(), {allow}")
    assert verdict.nearest is not None and verdict.nearest.because[0].startswith("it is never reached: rule 1 of")


KUBE = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: k, namespace: shop}}\nspec: {}\n"


@pytest.mark.parametrize(
    ("spec", "outcome"),
    [
        ("{podSelector: {}}", "deny"),
        ("{podSelector: {matchLabels: {app: db}}}", "allow"),
        ("{podSelector: {}, ingress: [{}]}", "allow"),
        ("{podSelector: {}, ingress: [{from: []}]}", "allow"),
        ("{podSelector: {}, policyTypes: [Egress]}", "allow"),
        ("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}", "deny"),
        ("{podSelector: {}, ingress: [{from: [{namespaceSelector: {}}]}]}", "allow"),
        ("{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}]}", "allow"),
        (
            "{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}, "
            "podSelector: {matchLabels: {role: x}}}]}]}",
            "deny",
        ),
        (
            "{podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}, "
            "ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}]}]}",
            "allow",
        ),
        ("{podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}}", "allow"),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.65.0.0/16}}]}]}", "allow"),
        ("{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.65.0.0/16, except: [10.65.1.0/24]}}]}]}", "deny"),
        ("{podSelector: {}, ingress: [{ports: [{port: 8080}]}]}", "allow"),
        ("{podSelector: {}, ingress: [{ports: [{port: 8080, protocol: UDP}]}]}", "deny"),
        ("{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8079}]}]}", "deny"),
        ("{podSelector: {}, ingress: [{ports: [{port: 8000, endPort: 8080}]}]}", "allow"),
        ("{podSelector: {}, ingress: [{ports: [{port: http}]}]}", "allow"),
        ("{podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}", "allow"),
    ],
)
def test_kubernetes_policies(spec: str, outcome: str) -> None:
    assert judge(snapshot(CLUSTER, KUBE.format(spec))).ingress.outcome == outcome


def test_calicoctls_copy_of_a_kubernetes_policy_is_not_counted_twice() -> None:
    copy = policy("selector: all(), order: 1, types: [Ingress], ingress: [{action: Deny}]", "knp.default.k")
    assert judge(snapshot(CLUSTER, KUBE.format("{podSelector: {}, ingress: [{}]}"), copy)).ingress.outcome == "allow"


ADMIN = (
    "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {{name: a}}\n"
    "spec: {{priority: 5, subject: {{namespaces: {{matchLabels: {{team: red}}}}}}, ingress: [{{action: {}, "
    "from: [{{namespaces: {{matchLabels: {{team: blue}}}}}}], ports: [{{portNumber: {{port: {}}}}}]}}]}}\n"
)


@pytest.mark.parametrize(
    ("action", "port", "outcome"), [("Deny", 8080, "deny"), ("Deny", 80, "allow"), ("Pass", 8080, "allow")]
)
def test_admin_policies(action: str, port: int, outcome: str) -> None:
    assert judge(snapshot(CLUSTER, ADMIN.format(action, port))).ingress.outcome == outcome


@pytest.mark.parametrize("case", ["healthy-vxlan-nft", "f05-pod-route-missing", "nt-x01-foreign-forward-drop"])
def test_the_flows_of_real_clusters_are_allowed(case: str) -> None:
    """In these cases the client was served, or the fault lies below the policy."""
    book = PolicyBook(Endpoints(reference(case)))
    truth = json.loads(shared("reference-cluster", "truth", f"{case}.json").read_text())
    flows = [truth["flow"]] + [truth["healthy_flow"]["flow"]] * ("healthy_flow" in truth)
    for flow in flows:
        src, dst = ip_address(flow["src"]["ip"]), ip_address(flow["dst"]["ip"])
        assert book.judge(src, dst, flow["proto"], flow["port"]).outcome == "allow"


def test_an_intended_deny_of_a_real_cluster() -> None:
    """client-a to db-0 has no rule: shop/db-ingress allows app == 'api' only."""
    endpoints = Endpoints(reference("healthy-vxlan-nft"))
    client, database = endpoints.pod("default/client-a"), endpoints.pod("shop/db-0")
    assert client is not None and database is not None
    verdict = PolicyBook(endpoints).judge(client.ips[0].network_address, database.ips[0].network_address, "tcp", 5432)
    assert verdict.ingress.by_default and verdict.egress.outcome == "allow"
    assert verdict.ingress.nearest is not None and verdict.ingress.nearest.policy.name == "db-ingress"
