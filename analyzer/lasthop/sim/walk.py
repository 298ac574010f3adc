"""The state of one branch of a walk, and what branches come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from lasthop.facts.trace import Choice, Disposition, Hop, Outcome, Packet, Step

from .conntrack import ConntrackTable

WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Walk:
    """A live branch: the packet is in `netns` of `node`; `inner` holds the packets that the present one carries.

    `unknown` lists what this branch takes for granted; `nat_unknown` is set once an address may have been rewritten
    without evidence.
    """

    packet: Packet
    node: str
    netns: str
    iif: str = ""
    entered_by: str = ""
    """The interface by which the packet came into this netns; `iif` is the tunnel device after decapsulation."""
    hops: tuple[Hop, ...] = ()
    steps: tuple[Step, ...] = ()
    inner: tuple[Packet, ...] = ()
    conntracks: Mapping[tuple[str, str], ConntrackTable] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    assumptions: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    nat_unknown: bool = False
    seen: frozenset[tuple[object, ...]] = frozenset()
    client: tuple[str, str] | None = None
    """(node, netns) whose socket waits for this packet: it asked, so an answer needs no listener there."""

    def step(self, *steps: Step) -> Walk:
        return replace(self, steps=(*self.steps, *steps)) if steps else self

    def close(self, oif: str = "") -> Walk:
        """Ends the hop: its steps become a Hop."""
        if not self.steps:
            return self
        hop = Hop(self.node if self.netns != WIRE else "", self.netns, self.steps, None, self.entered_by, oif)
        return replace(self, hops=(*self.hops, hop), steps=())

    def enter(self, node: str, netns: str, iif: str, packet: Packet, oif: str = "") -> Walk:
        """Moves to another netns; marks and conntrack do not cross a veth or a wire (skb_scrub_packet)."""
        return replace(self.close(oif), node=node, netns=netns, iif=iif, entered_by=iif, packet=packet)

    def assume(self, sentence: str) -> Walk:
        return self if sentence in self.assumptions else replace(self, assumptions=(*self.assumptions, sentence))

    def doubt(self, step: Step) -> Walk:
        return replace(self.step(step), unknown=(*self.unknown, step.detail))

    def choose(self, *choices: Choice) -> Walk:
        return replace(self, choices=(*self.choices, *choices)) if choices else self


OPEN = frozenset({Disposition.INSUFFICIENT_EVIDENCE, Disposition.BYPASSED, Disposition.LEFT_EVIDENCE})


@dataclass(frozen=True, slots=True)
class End:
    """A branch that is over. `open_` ends say only that evidence is missing: anything may follow."""

    disposition: Disposition
    walk: Walk

    @property
    def delivered(self) -> bool:
        return self.disposition is Disposition.DELIVERED

    @property
    def open_(self) -> bool:
        return self.disposition in OPEN

    @property
    def share(self) -> Fraction:
        share = Fraction(1)
        for choice in self.walk.choices:
            share *= choice.share
        return share

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for hop in self.walk.hops for step in hop.steps)

    @property
    def depth(self) -> int:
        return len(self.steps)


BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})
ADDRESS_FREE = frozenset({"protocol", "in-interface", "out-interface", "comment"})
ADDRESS_DEPENDENT = frozenset(
    {Disposition.DROPPED_BY_RULE, Disposition.REJECTED_BY_RULE, Disposition.RPF_FAILED, Disposition.MARTIAN}
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one set of choices comes to. `main` is the branch to show; `certain` when all branches end as it does.

    `disposition` is INSUFFICIENT_EVIDENCE where some branch is delivered, or may be, and another is not.
    """

    choices: tuple[Choice, ...]
    disposition: Disposition
    main: End
    ends: tuple[End, ...]

    @property
    def certain(self) -> bool:
        return len({end.disposition for end in self.ends}) == 1 and not self.main.open_

    @property
    def share(self) -> Fraction:
        return self.main.share


def outcomes(ends: list[End]) -> tuple[Result, ...]:
    """Groups ends by the kernel's choices; a branch that ended before a choice belongs to all that follow it."""
    keys: list[tuple[Choice, ...]] = []
    for end in ends:
        if end.walk.choices not in keys:
            keys.append(end.walk.choices)
    longest = [key for key in keys if not any(other != key and other[: len(key)] == key for other in keys)]
    return tuple(
        _judge(key, tuple(end for end in ends if key[: len(end.walk.choices)] == end.walk.choices)) for key in longest
    )


def _judge(choices: tuple[Choice, ...], ends: tuple[End, ...]) -> Result:
    own = [end for end in ends if end.walk.choices == choices] or list(ends)
    delivered = [end for end in own if end.delivered]
    stops = [end for end in own if not end.delivered and not end.open_]
    proved = [end for end in stops if not (end.walk.nat_unknown and _depends_on_addresses(end))]
    farthest = max(own, key=lambda end: end.depth)
    if len({end.disposition for end in ends}) == 1 and not stops:
        return Result(choices, farthest.disposition, farthest, ends)
    if delivered:
        main = max(delivered, key=lambda end: end.depth)
        all_delivered = all(end.delivered for end in ends)
        disposition = Disposition.DELIVERED if all_delivered else Disposition.INSUFFICIENT_EVIDENCE
        return Result(choices, disposition, main, ends)
    if stops and len(proved) == len(stops) and all(_leads_to(end, stops) for end in ends if end.open_):
        main = max(proved, key=lambda end: end.depth)
        return Result(choices, main.disposition, main, ends)
    return Result(choices, Disposition.INSUFFICIENT_EVIDENCE, farthest, ends)


def _leads_to(doubt: End, stops: list[End]) -> bool:
    """Whether a branch that gave up was walked on, and a stop found behind it: then it stops there or before.

    A branch that took another way (a rule that matched or not) and gave up later may still arrive.
    """
    steps = doubt.steps
    return any(len(end.steps) > len(steps) and end.steps[: len(steps)] == steps for end in stops)


def _depends_on_addresses(end: End) -> bool:
    """Whether the stop could be different for another source or destination. The first rule of a built-in chain that
    asks for protocol and interfaces only stops the packet whatever its addresses are."""
    if end.disposition not in ADDRESS_DEPENDENT:
        return False
    step = end.walk.hops[-1].steps[-1] if end.walk.hops else None
    rule = step.visits[-1].rule if step is not None and step.visits else None
    if rule is None or rule.index != 1 or rule.chain not in BUILT_IN or rule.unparsed:
        return True
    return any(match.option not in ADDRESS_FREE for match in rule.matches)


def stop(walk: Walk, step: Step) -> End:
    """Ends a branch at a step that stops the packet."""
    return End(step.disposition or Disposition.INSUFFICIENT_EVIDENCE, walk.step(step).close())


def lost(walk: Walk, step: Step | None = None) -> End:
    """Ends a branch where evidence does."""
    return End(Disposition.INSUFFICIENT_EVIDENCE, (walk.step(step) if step is not None else walk).close())


def is_unknown(step: Step) -> bool:
    return step.outcome is Outcome.UNKNOWN
