"""mark, connmark and statistic."""

from __future__ import annotations

from fractions import Fraction

from lasthop.facts.netfilter import Match
from lasthop.facts.trace import Mark

from .context import ALL_BITS, Answer, Context, unknown
from .registry import CompiledMatch, MatchExtension, Support, Test, Value, group_text, register, single


def parse_value_mask(text: str) -> tuple[int, int]:
    """"0x1/0xff", "1": numbers with an optional mask (all bits without one)."""
    value, _, mask = text.partition("/")
    return int(value, 0) & ALL_BITS, int(mask, 0) & ALL_BITS if mask else ALL_BITS


def test_mark(mark: Mark, value: int, mask: int, name: str) -> Answer:
    """(mark & mask) == value on the bits that are known; UNKNOWN only when the known bits agree."""
    known = mask & mark.known
    if mark.value & known != value & known or value & ~mask:
        return False
    if known == mask:
        return True
    return unknown(f"bits {mask & ~mark.known:#x} of the {name} are not known")


def show_mark(mark: Mark) -> str:
    return f"{mark.value:#x}" if mark.known == ALL_BITS else f"{mark.value:#x} (known bits {mark.known:#x})"


def _mark(match: Match) -> tuple[Test, Value]:
    value, mask = parse_value_mask(match.values[0])

    def test(c: Context) -> Answer:
        if c.mark.known == ALL_BITS:
            return c.mark.value & mask == value
        return test_mark(c.mark, value, mask, "mark")

    return test, (lambda c: f"mark {show_mark(c.mark)}")


def _connmark(match: Match) -> tuple[Test, Value]:
    value, mask = parse_value_mask(match.values[0])
    negated = match.negated

    def test(c: Context) -> Answer:
        # xt_connmark.c: without a connection the answer is no, negated or not.
        if c.packet.ct_original is None:
            return negated
        return test_mark(c.ctmark, value, mask, "connection mark")

    def shown(c: Context) -> str:
        return f"connection mark {show_mark(c.ctmark)}" if c.packet.ct_original is not None else "no connection"

    return test, shown


def statistic_share(group: tuple[Match, ...]) -> Fraction:
    """The share of packets that match: probability in units of 2^-31 (xt_statistic.c), or one in `every`."""
    options = {match.option: match for match in group}
    mode = options["mode"].values[0]
    if mode == "random":
        probability = options["probability"]
        units = round(Fraction(probability.values[0]) * 0x80000000)
        share = Fraction(units, 0x80000000)
        negated = probability.negated
    else:
        every = options["every"]
        share, negated = Fraction(1, int(every.values[0])), every.negated
    share = min(max(share, Fraction(0)), Fraction(1))
    return 1 - share if negated else share


def _statistic(group: tuple[Match, ...]) -> list[CompiledMatch]:
    share = statistic_share(group)
    if share in (0, 1):
        return [CompiledMatch(lambda c: share == 1, group_text(group), lambda c: "by probability")]
    return [CompiledMatch(lambda c: True, group_text(group), lambda c: "by chance or turn", choice=share)]


register(MatchExtension("mark", ("mark",), Support.MODELLED, "bit by bit", single(_mark)))
register(MatchExtension("connmark", ("mark",), Support.MODELLED, "bit by bit", single(_connmark)))
register(
    MatchExtension(
        "statistic",
        ("mode", "probability", "every", "packet"),
        Support.MODELLED,
        "both branches are walked, each with its share",
        _statistic,
    )
)
