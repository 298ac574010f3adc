"""-m set: membership in an IP set (net/netfilter/xt_set.c set_match_v4)."""

from __future__ import annotations

from lasthop.facts.netfilter import Match

from .context import Answer, Context, unknown
from .registry import CompiledMatch, MatchExtension, Support, group_text, register

COUNTERS = frozenset({"packets-eq", "packets-lt", "packets-gt", "bytes-eq", "bytes-lt", "bytes-gt"})


def _set(group: tuple[Match, ...]) -> list[CompiledMatch]:
    match = next(match for match in group if match.option == "match-set")
    options = {match.option for match in group}
    words = [word for value in match.values for word in value.split()]
    name, directions = words[0], tuple(words[1].split(","))
    if not set(directions) <= {"src", "dst"}:
        raise ValueError(words[1])
    return_nomatch = "return-nomatch" in options
    counters = bool(options & COUNTERS)
    negated = match.negated

    def test(c: Context) -> Answer:
        if name in c.touched_sets:
            return unknown(f"set {name} was changed by a SET target on the way here")
        answer = c.sets.test(name, directions, c, return_nomatch=return_nomatch)
        if not isinstance(answer, bool):
            return answer
        if answer and counters:
            return unknown(f"the counters of the element in set {name} are not known")
        return answer != negated

    def value(c: Context) -> str:
        shown = []
        for direction in directions:
            shown.append(str(c.packet.src if direction == "src" else c.packet.dst))
        port = c.sport if directions[-1] == "src" else c.dport
        answer = c.sets.test(name, directions, c, return_nomatch=return_nomatch)
        word = "is in" if answer is True else "is not in" if answer is False else "may be in"
        extra = f" {c.packet.proto}:{port}" if len(directions) > 1 and port is not None else ""
        return f"{shown[0]}{extra} {word} {c.sets.describe(name)}"

    return [CompiledMatch(test, group_text(group), value)]


register(
    MatchExtension(
        "set",
        ("match-set", "return-nomatch", "update-counters", "update-subcounters", *sorted(COUNTERS)),
        Support.MODELLED,
        "counter conditions answer UNKNOWN; so does a set that was not collected",
        _set,
    )
)
