"""conntrack and state, as net/netfilter/xt_conntrack.c and xt_state.c decide them."""

from __future__ import annotations

from collections.abc import Callable

from lasthop.facts.netfilter import Match
from lasthop.facts.trace import Packet

from .addresses import parse_masked
from .context import Answer, Context, unknown
from .protocols import protocol_number
from .registry import CompiledMatch, MatchExtension, Support, Test, Value, group_text, register, single
from .transport import parse_range

STATES = frozenset({"INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED", "SNAT", "DNAT"})
STATUSES = frozenset({"NONE", "EXPECTED", "SEEN_REPLY", "ASSURED", "CONFIRMED"})


def _unseen(c: Context) -> Answer | None:
    if not c.packet.ctstate:
        return unknown("the connection of this packet was not looked up before this rule")
    return None


def packet_states(packet: Packet) -> frozenset[str]:
    """The words that --ctstate compares: the state, and SNAT/DNAT of the connection."""
    words = {packet.ctstate}
    if packet.ct_original is not None:
        words |= packet.ctstatus & {"SNAT", "DNAT"}
    return frozenset(words)


def _shown(c: Context) -> str:
    return "state " + ",".join(sorted(packet_states(c.packet) - {""})) if c.packet.ctstate else "state not looked up"


def _state(match: Match) -> tuple[Test, Value]:
    wanted = frozenset(match.values[0].split(","))
    if not wanted <= STATES:
        raise ValueError(match.values[0])

    def test(c: Context) -> Answer:
        # Before the lookup (raw table) a packet has no connection: the kernel reads that as INVALID.
        state = c.packet.ctstate or "INVALID"
        return state in wanted

    return test, _shown


Field = Callable[[Packet], bool]


def _condition(match: Match) -> Field:
    text = match.values[0] if match.values else ""
    option = match.option
    if option == "ctproto":
        proto = protocol_number(text)
        if proto is None:
            raise ValueError(text)
        # An ICMP error belongs to the connection of the packet that it quotes.
        return lambda p: protocol_number((p.quoted or p if p.ctstate == "RELATED" else p).proto) == proto
    if option in ("ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst"):
        value, mask = parse_masked(text)
        destination = option.endswith("dst")
        original = option.startswith("ctorig")

        def address(p: Packet) -> bool:
            t = p.ct_original if original else p.ct_reply
            return t is not None and int(t[1] if destination else t[0]) & mask == value

        return address
    if option in ("ctorigsrcport", "ctorigdstport", "ctreplsrcport", "ctrepldstport"):
        low, high = parse_range(text)
        destination = option.endswith("dstport")
        original = option.startswith("ctorig")

        def port(p: Packet) -> bool:
            t = p.ct_original if original else p.ct_reply
            number = None if t is None else t[3] if destination else t[2]
            return number is not None and low <= number <= high

        return port
    if option == "ctstatus":
        statuses = frozenset(text.split(","))
        if not statuses <= STATUSES:
            raise ValueError(text)
        return lambda p: bool(statuses & p.ctstatus)
    if option == "ctdir":
        if text not in ("ORIGINAL", "REPLY"):
            raise ValueError(text)
        return lambda p: p.ctdir.upper() == text
    raise KeyError(option)


def _conntrack(group: tuple[Match, ...]) -> list[CompiledMatch]:
    """One use of -m conntrack. Without a connection only --ctstate decides (conntrack_mt: `ct == NULL`)."""
    states: tuple[frozenset[str], bool] | None = None
    conditions: list[tuple[Field, bool]] = []
    expires = False
    for match in group:
        if match.option == "ctstate":
            wanted = frozenset(match.values[0].split(","))
            if not wanted <= STATES:
                raise ValueError(match.values[0])
            states = (wanted, match.negated)
        elif match.option == "ctexpire":
            expires = True
        else:
            conditions.append((_condition(match), match.negated))

    def test(c: Context) -> Answer:
        packet = c.packet
        if states is not None:
            words = packet_states(packet) if packet.ctstate else frozenset({"INVALID"})
            if bool(words & states[0]) == states[1]:
                return False
        if packet.ct_original is None:
            return states is not None
        for condition, negated in conditions:
            if condition(packet) == negated:
                return False
        return unknown("the remaining life of the connection is not followed") if expires else True

    return [CompiledMatch(test, group_text(group), _shown)]


register(
    MatchExtension(
        "conntrack",
        ("ctstate", "ctproto", "ctorigsrc", "ctorigdst", "ctreplsrc", "ctrepldst", "ctorigsrcport", "ctorigdstport",
         "ctreplsrcport", "ctrepldstport", "ctstatus", "ctexpire", "ctdir"),
        Support.MODELLED,
        "--ctexpire answers UNKNOWN",
        _conntrack,
    )
)  # fmt: skip
register(MatchExtension("state", ("state",), Support.MODELLED, "", single(_state)))
