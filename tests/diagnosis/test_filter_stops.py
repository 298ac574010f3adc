"""Whose rule stopped the packet: a policy as written, one rendered differently, kube-proxy, Calico, a stranger."""

from __future__ import annotations

import pytest

from lasthop.diagnosis.filter_stops import stale_set
from lasthop.facts.trace import Finding, Outcome, Packet, RuleVisit, Step, Truth
from tests.sim.cluster import TwoNodes, packet
from tests.sim.ruletext import ruleset

from .asking import ask


def broken(rules: str, back_end: str = "nft", node: str = "n2") -> Finding:
    cluster = TwoNodes()
    setattr(getattr(cluster, node), back_end, rules)
    return ask(cluster).breaks[0]


def test_a_strangers_rule_is_deleted_in_its_own_back_end() -> None:
    found = broken("*filter\n-A FORWARD -p udp -j ACCEPT\n-A FORWARD -p tcp -j DROP", "legacy")
    assert found.code == "foreign-rule-drop" and found.object == "filter FORWARD rule 2 (iptables-legacy)"
    assert found.fix[0].command.startswith("iptables-legacy -t filter -D FORWARD 2")
    assert [source.text for source in found.evidence] == ["-A FORWARD -p tcp -j DROP"]


def test_a_chains_policy() -> None:
    found = broken("*filter\n:FORWARD DROP")
    assert found.code == "foreign-rule-drop" and "policy" in found.title


def test_unknown_interface_is_an_endpoint_that_was_not_rendered() -> None:
    found = broken(
        "*filter\n-A FORWARD -j cali-FORWARD\n-A cali-FORWARD -j cali-to-wl-dispatch\n-A cali-to-wl-dispatch "
        '-m comment --comment "Unknown interface" -j DROP'
    )
    assert (found.code, found.step, found.node) == ("endpoint-not-rendered", 4, "n2")


def test_no_endpoints() -> None:
    rules = (
        "*filter\n-A FORWARD -j KUBE-SERVICES\n-A KUBE-SERVICES -d 10.244.2.2/32 -p tcp -m comment --comment "
        '"shop/web:http has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable'
    )
    found = broken(rules, node="n1")
    assert (found.code, found.object, found.node) == ("kube-proxy-no-endpoints", "Service shop/web", "n1")
    assert found.fix[0].command == "kubectl get endpointslices -n shop -l kubernetes.io/service-name=web"


def test_invalid() -> None:
    found = broken("*filter\n-A FORWARD -j KUBE-FORWARD\n-A KUBE-FORWARD -m conntrack --ctstate INVALID,NEW -j DROP")
    assert found.code == "conntrack-invalid"


CHAINS = """*filter
-A FORWARD -j cali-FORWARD
-A cali-FORWARD -o cali2 -j cali-tw-cali2
-A cali-tw-cali2 -j cali-pi-np/shop/web
-A cali-tw-cali2 -m comment --comment "End of tier default. Drop if no policies passed packet" -j DROP
-A cali-pi-np/shop/web -m comment --comment "NetworkPolicy shop/web ingress" -p udp -j ACCEPT
"""


def test_end_of_tier_names_the_policies_that_were_met() -> None:
    found = broken(CHAINS)
    assert (found.code, found.step) == ("policy-default-deny", 4) and "NetworkPolicy shop/web" in found.object
    assert found.policy is None  # without the policies as written nobody can say that they mean it


def test_a_policys_own_rule() -> None:
    found = broken(CHAINS.replace("-p udp -j ACCEPT", "-p tcp -j DROP"))
    assert found.code == "policy-deny" and found.object == "NetworkPolicy shop/web"
    assert found.fix[0].command == "calicoctl get networkpolicy -n shop web -o yaml"


def test_the_outer_packet_is_named() -> None:
    cluster = TwoNodes("ipip")
    cluster.n2.nft = (
        '*filter\n-A INPUT -j cali-INPUT\n-A cali-INPUT -p ipencap -m comment --comment "Drop IPIP packets from '
        'non-Calico hosts" -j DROP'
    )
    found = ask(cluster).breaks[0]
    assert (found.code, found.node, found.step) == ("encapsulation-dropped", "n2", 4) and "ipip" in found.because


def met(rule: str, why: str) -> Step:
    found = ruleset(f"*filter\n{rule}").rules("filter", "cali-pi-x")
    before: Packet = packet("10.244.1.2", "10.244.2.2")
    visits = tuple(RuleVisit(one, Truth.NO, why) for one in found)
    return Step("filter FORWARD", Outcome.STOP, "", before=before, visits=visits)


@pytest.mark.parametrize(
    ("rule", "why", "incoming", "expected"),
    [
        ("-A cali-pi-x -m set --match-set cali40s:abc src -j ACCEPT", "not in cali40s:abc", True, "10.244.1.2"),
        ("-A cali-pi-x -m set --match-set cali40s:abc dst -j ACCEPT", "not in cali40s:abc", False, "10.244.2.2"),
        ("-A cali-pi-x -m set --match-set cali40s:abc src -j ACCEPT", "not in cali40s:abc", False, None),
        ("-A cali-pi-x -m set ! --match-set cali40s:abc src -j ACCEPT", "in cali40s:abc", True, None),
        ("-A cali-pi-x -p udp -m set --match-set cali40s:abc src -j ACCEPT", "protocol tcp", True, None),
    ],
)
def test_a_set_that_lacks_the_peer(rule: str, why: str, incoming: bool, expected: str | None) -> None:
    found = stale_set(met(rule, why), incoming=incoming)
    assert (found[1] if found is not None else None) == expected
