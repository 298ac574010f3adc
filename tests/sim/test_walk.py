"""What branches come to: unknown forks, choices with shares, and which stops stand in spite of a doubt."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from lasthop.facts.trace import Choice, Disposition, Outcome, Packet, RuleVisit, Step, Truth
from lasthop.sim.walk import End, Result, Walk, lost, outcomes, stop

from .cluster import packet
from .ruletext import netns

PACKET: Packet = packet("10.244.1.2", "10.244.2.2")
START = Walk(PACKET, "n1", "host")


def passed(name: str) -> Step:
    return Step(name, Outcome.PASS, name)


def doubt(name: str) -> Step:
    return Step(name, Outcome.UNKNOWN, name)


def stopping(disposition: Disposition, rule: str = "") -> Step:
    visits = ()
    if rule:
        (found,) = netns(nft=f"*filter\n{rule}").ruleset("nft", 4).values
        visits = (RuleVisit(found.rules("filter", rule.split()[1])[-1], Truth.YES),)
    return Step("filter FORWARD", Outcome.STOP, "", visits=visits, disposition=disposition)


def delivered(walk: Walk) -> End:
    return End(Disposition.DELIVERED, walk.step(passed("listener")).close())


def only(*ends: End) -> Result:
    (result,) = outcomes(list(ends))
    return result


def test_alike_is_certain() -> None:
    result = only(delivered(START.step(passed("one"))), delivered(START.step(passed("other"))))
    assert result.disposition is Disposition.DELIVERED and result.certain


def test_delivered_here_and_dropped_there_is_undecided() -> None:
    result = only(delivered(START), stop(START, stopping(Disposition.DROPPED_BY_RULE)))
    assert result.disposition is Disposition.INSUFFICIENT_EVIDENCE and not result.certain
    assert result.main.delivered


def test_a_doubt_that_was_walked_past_leaves_a_later_stop() -> None:
    """Design 5: an earlier UNKNOWN step and a later one that stops is a break, not proven."""
    step = doubt("neighbour")
    result = only(lost(START, step), stop(START.doubt(step), stopping(Disposition.NO_ROUTE)))
    assert result.disposition is Disposition.NO_ROUTE and not result.certain


def test_a_doubt_on_another_way_keeps_the_stop_from_counting() -> None:
    """One fork drops, the other goes on to where evidence ends: it may arrive."""
    away = lost(START.step(passed("filter FORWARD")), doubt("encap"))
    result = only(stop(START, stopping(Disposition.DROPPED_BY_RULE)), away)
    assert result.disposition is Disposition.INSUFFICIENT_EVIDENCE


def test_leaving_the_evidence_is_no_stop() -> None:
    gone = End(Disposition.LEFT_EVIDENCE, START.step(passed("wire")).close())
    assert only(gone).disposition is Disposition.LEFT_EVIDENCE and not only(gone).certain
    assert only(gone, stop(START, stopping(Disposition.NO_ROUTE))).disposition is Disposition.INSUFFICIENT_EVIDENCE


def test_two_kinds_of_stop_are_a_stop() -> None:
    first = stop(START, stopping(Disposition.DROPPED_BY_RULE))
    second = stop(START.step(passed("filter FORWARD")), stopping(Disposition.NO_ROUTE))
    result = only(first, second)
    assert result.disposition is Disposition.NO_ROUTE and not result.certain


def test_after_unknown_nat_a_drop_by_address_proves_nothing() -> None:
    unsure = replace(START, nat_unknown=True)
    by_address = stop(unsure, stopping(Disposition.DROPPED_BY_RULE, "-A FORWARD -d 10.244.2.2/32 -j DROP"))
    assert only(by_address).disposition is Disposition.INSUFFICIENT_EVIDENCE
    later = stop(
        unsure, stopping(Disposition.DROPPED_BY_RULE, "-A FORWARD -p udp -j ACCEPT\n-A FORWARD -p tcp -j DROP")
    )
    assert only(later).disposition is Disposition.INSUFFICIENT_EVIDENCE
    by_protocol = stop(unsure, stopping(Disposition.DROPPED_BY_RULE, "-A FORWARD -i eth0 -p tcp -j DROP"))
    assert only(by_protocol).disposition is Disposition.DROPPED_BY_RULE
    no_forwarding = stop(unsure, stopping(Disposition.NOT_FORWARDING))
    assert only(no_forwarding).disposition is Disposition.NOT_FORWARDING


def chosen(label: str, share: Fraction, walk: Walk = START) -> Walk:
    return walk.choose(Choice("KUBE-SVC-X", label, share))


def test_choices_are_judged_apart_with_their_shares() -> None:
    results = outcomes(
        [
            delivered(chosen("a", Fraction(1, 3))),
            stop(chosen("b", Fraction(2, 3)), stopping(Disposition.NO_ROUTE)),
        ]
    )
    assert {(r.main.walk.choices[-1].label, r.disposition, r.share) for r in results} == {
        ("a", Disposition.DELIVERED, Fraction(1, 3)),
        ("b", Disposition.NO_ROUTE, Fraction(2, 3)),
    }
    assert sum(result.share for result in results) == 1


def test_nested_choices_multiply() -> None:
    inner = chosen("a", Fraction(1, 3)).choose(Choice("route", "hop", Fraction(1, 2)))
    (result,) = outcomes([delivered(inner)])
    assert result.share == Fraction(1, 6)


def test_a_branch_that_ended_before_the_choice_belongs_to_every_choice() -> None:
    early = lost(START, doubt("netfilter"))
    results = outcomes([early, delivered(chosen("a", Fraction(1, 2))), delivered(chosen("b", Fraction(1, 2)))])
    assert len(results) == 2
    assert {result.disposition for result in results} == {Disposition.INSUFFICIENT_EVIDENCE}


def test_marks_do_not_cross_a_netns() -> None:
    walk = START.step(passed("route"))
    moved = walk.enter("n2", "host", "eth0", PACKET, oif="eth1")
    assert moved.steps == () and moved.hops[-1].oif == "eth1" and moved.hops[-1].node == "n1"
