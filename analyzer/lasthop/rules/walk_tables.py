"""The walk's own tables: what the simulator and the captures said of each flow, so that rules only join."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import Packet, Sighting, Step, Trace
from lasthop.snapshot.columns import Cell, Column, Row, Sources, range_keys

_TEXT, _INT = "TEXT", "INTEGER"


def _columns(text: str) -> tuple[Column, ...]:
    """`name` is TEXT, `name#` INTEGER, `name%` REAL, `name@` an address with its keys."""
    made: list[Column] = []
    for word in text.split():
        name = word.rstrip("#%@")
        if word.endswith("@"):
            made += (Column(name, _TEXT, "address"), Column(f"{name}_lo", _TEXT), Column(f"{name}_hi", _TEXT))
        else:
            made.append(Column(name, {"#": _INT, "%": "REAL"}.get(word[-1], _TEXT)))
    return tuple(made)


WALK_TABLES: Mapping[str, tuple[Column, ...]] = {
    "verdicts": _columns(
        "flow# src_kind src_name src_ip@ src_node dst_kind dst_name dst_ip@ dst_node proto port# origin verdict first "
        "summary breaks#"
    ),
    "trace_steps": _columns(
        "flow# direction packet hop# n# node netns step# iif oif stage place outcome detail disposition decides src# "
        "src_ip@ dst_ip@ proto sport# dport# mark# ctstate"
    ),
    "sightings": _columns(
        "flow# node netns interface direction packet seen# received# path frames# first_time% note step# src#"
    ),
}
"""Name -> columns. `flow` numbers the flows from 1; `n` the steps of one trace in the packet's order."""


def walk_rows(flows: Sequence[Any], name: str, sources: Sources) -> list[Row]:
    """Rows of one walk table from values that look like diagnosis.result.FlowResult; -1 leads each row (no place)."""
    made: list[Row] = []
    for number, flow in enumerate(flows, 1):
        if name == "verdicts":
            made.append(_verdict(number, flow))
        elif name == "sightings":
            made += (_sighting(number, sighting, sources) for sighting in flow.sightings)
        else:
            for trace in (flow.request, flow.reply, flow.request_full, flow.reply_full):
                if trace is not None:
                    made += _steps(number, trace, sources)
    return made


def _keys(ip: Any) -> tuple[Cell, Cell, Cell]:
    if ip is None:
        return None, None, None
    low, high = range_keys(str(ip)) or (None, None)
    return str(ip), low, high


def _verdict(number: int, flow: Any) -> Row:
    ends: list[Cell] = []
    for end in (flow.src, flow.dst):
        ends += (end.kind, end.name, *_keys(end.ip), end.node)
    return (
        -1, number, *ends, flow.proto, flow.port, flow.origin, flow.verdict.value, flow.first, flow.summary,
        len(flow.breaks),
    )  # fmt: skip


def _steps(number: int, trace: Trace, sources: Sources) -> Iterator[Row]:
    count = 0
    for hop_number, hop in enumerate(trace.hops, 1):
        for step in hop.steps:
            count += 1
            packet = step.after or step.before
            yield (
                -1, number, trace.direction, trace.packet, hop_number, count, hop.node, hop.netns, hop.step, hop.iif,
                hop.oif, *_stage(step, sources), *_packet(packet),
            )  # fmt: skip


def _stage(step: Step, sources: Sources) -> Row:
    return (
        step.stage, step.where, step.outcome.value, step.detail,
        step.disposition.value if step.disposition else None, step.decides,
        sources.number(step.sources[0]) if step.sources else None,
    )  # fmt: skip


def _packet(packet: Packet | None) -> Row:
    if packet is None:
        return (None,) * 11
    return (
        *_keys(packet.src), *_keys(packet.dst), packet.proto, packet.sport, packet.dport, packet.mark.value,
        packet.ctstate,
    )  # fmt: skip


def _sighting(number: int, sighting: Sighting, sources: Sources) -> Row:
    src = sources.number(SourceRef(sighting.path, 0)) if sighting.path else None
    return (
        -1, number, sighting.node, sighting.netns, sighting.interface, sighting.direction, sighting.packet,
        int(sighting.seen), int(sighting.received), sighting.path, len(sighting.frames), sighting.first_time,
        sighting.note, sighting.step, src,
    )  # fmt: skip
