"""kube-proxy's rules that no object accounts for, without reading the rules of those that objects do."""

from __future__ import annotations

from ipaddress import IPv4Address

from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.kube import EndpointAddress, EndpointSlice, Service, ServicePort
from lasthop.facts.netfilter import Chain, NetfilterRule
from lasthop.facts.snapshot import Cluster, NetNS, Node, Snapshot
from lasthop.rules.load import load_pack
from lasthop.rules.run import run_rules

HERE = SourceRef("objects.yaml", 1)
KNOWN = "KUBE-SEP-2RIJ5GIYXEFH6G4D"
"""default/web:http tcp 10.244.2.7:8080, as kube-proxy's own hash gives it (calico-facts, test vectors)."""
SERVICE = "KUBE-SVC-CDGGSHYLG3RE2FKL"
RULE = next(rule for rule in load_pack() if rule.id == "CAL-SVC-003")


class Nat:
    """A nat table with one service chain and its endpoint chains; notes what was tokenised."""

    backend, family, path = "nft", 4, "save"

    def __init__(self, targets: dict[str, str], jumps: tuple[str, ...]) -> None:
        self.targets, self.jumps = targets, jumps
        self.asked: list[str] = []

    def tables(self) -> tuple[str, ...]:
        return ("nat",)

    def chains(self, table: str) -> tuple[Chain, ...]:
        return tuple(Chain("nft", 4, table, name, "", HERE) for name in (SERVICE, *self.targets))

    def chain(self, table: str, name: str) -> Chain | None:
        return next((chain for chain in self.chains(table) if chain.name == name), None)

    def rules(self, table: str, chain: str) -> tuple[NetfilterRule, ...]:
        self.asked.append(chain)
        if chain == SERVICE:
            return tuple(self._rule(chain, n, target) for n, target in enumerate(self.jumps, 1))
        rule = self._rule(chain, 2, "DNAT", (("to-destination", (self.targets[chain],)),))
        return self._rule(chain, 1, "KUBE-MARK-MASQ"), rule

    def _rule(
        self, chain: str, index: int, target: str, options: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ) -> NetfilterRule:
        where = SourceRef("save", index, chain)
        return NetfilterRule("nft", 4, "nat", chain, index, where, target=target, target_options=options)


def of(ruleset: Nat) -> Snapshot:
    service = Service("default", "web", HERE, ports=(ServicePort("http", "tcp", 80, "8080"),))
    slices = EndpointSlice(
        "default", "web", "web-1", HERE, addresses=(EndpointAddress(IPv4Address("10.244.2.7"), True),),
        ports=(("http", "tcp", 8080),),
    )  # fmt: skip
    host = NetNS("node1", rulesets={("nft", 4): Complete((ruleset,))})
    return Snapshot(
        {"node1": Node("node1", host)}, Cluster(services=Complete((service,)), endpoint_slices=Complete((slices,)))
    )


def test_a_backend_that_nobody_knows() -> None:
    dead = "KUBE-SEP-AAAAAAAAAAAAAAAA"
    ruleset = Nat({KNOWN: "10.244.2.7:8080", dead: "10.244.9.9:8080"}, (KNOWN, dead))
    (finding,) = run_rules(of(ruleset), [RULE])[0]
    assert (finding.node, finding.object) == ("node1", dead)
    assert "10.244.9.9:8080" in finding.because
    assert [ref.text for ref in finding.evidence] == [dead, SERVICE]
    assert KNOWN not in ruleset.asked, "what an object accounts for is not tokenised"


def test_all_accounted_for() -> None:
    ruleset = Nat({KNOWN: "10.244.2.7:8080"}, (KNOWN,))
    assert run_rules(of(ruleset), [RULE]) == ((), ())
    assert ruleset.asked == []


def test_a_chain_that_nobody_jumps_to_is_no_fault() -> None:
    ruleset = Nat({KNOWN: "10.244.2.7:8080", "KUBE-SEP-AAAAAAAAAAAAAAAA": "10.244.9.9:8080"}, (KNOWN,))
    assert run_rules(of(ruleset), [RULE])[0] == ()


def test_a_known_endpoint_under_another_hash_is_no_fault() -> None:
    ruleset = Nat({"KUBE-SEP-BBBBBBBBBBBBBBBB": "10.244.2.7:8080"}, ("KUBE-SEP-BBBBBBBBBBBBBBBB",))
    assert run_rules(of(ruleset), [RULE])[0] == ()
