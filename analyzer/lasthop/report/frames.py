"""Which network namespaces the picture shows, in which order: those that the traces crossed, and the ends."""

from __future__ import annotations

from collections.abc import Sequence

from lasthop.diagnosis.result import Endpoint, FlowResult
from lasthop.facts.trace import Disposition, Hop, Trace

from .text import visible

Key = tuple[str, str, int]
"""(kind, name, occurrence): kind is pod, node, wire, outside or service."""


def shown(first: Trace | None, full: Trace | None, anchor: str) -> tuple[Trace | None, str]:
    """The full-size packet's trace where only that packet does not arrive, else the first's; with its rows' anchor."""
    if first is not None and full is not None and _delivered(first) and not _delivered(full):
        return full, f"{anchor}-full"
    return first, anchor


def _delivered(trace: Trace) -> bool:
    return trace.disposition is Disposition.DELIVERED


def numbered(trace: Trace | None, *, back: bool) -> list[tuple[Key, Hop]]:
    """Hops in walking order with their frame's key. A netns met again later is a frame of its own; the reply counts
    from its end, so that both directions of a hairpin share their frames."""
    if trace is None:
        return []
    hops = list(reversed(trace.hops)) if back else list(trace.hops)
    out: list[tuple[Key, Hop]] = []
    seen: dict[tuple[str, str], int] = {}
    previous: tuple[str, str] | None = None
    for i, hop in enumerate(hops):
        base = _base(hop, hops, i)
        if base != previous:
            seen[base] = seen.get(base, 0) + 1
        out.append(((*base, seen[base]), hop))
        previous = base
    return list(reversed(out)) if back else out


def _base(hop: Hop, hops: Sequence[Hop], i: int) -> tuple[str, str]:
    if hop.netns == "wire":
        ends = sorted((hops[j].node if 0 <= j < len(hops) else "") for j in (i - 1, i + 1))
        return "wire", "|".join(ends)
    if hop.netns.startswith("pod:"):
        return "pod", hop.netns[4:]
    return ("node", hop.node) if hop.node else ("outside", "")


def complete(keys: list[Key], flow: FlowResult) -> list[Key]:
    """The request's frames in order, with the ends that the trace did not reach."""
    if not keys:
        keys = _end(flow.src)[::-1]
    delivered = flow.request is not None and flow.request.disposition.value == "DELIVERED"
    arrived = keys[-1][0] == "pod" and len(keys) > 1
    if delivered or arrived or keys[-1][0] == "outside":
        return list(dict.fromkeys(keys))
    rest = _end(_target(flow))
    if rest and rest[0] in keys:
        rest = rest[1:]
    elif rest and rest[0][0] == "node":
        last = next((key[1] for key in reversed(keys) if key[0] == "node"), "")
        if keys[-1][0] != "wire":
            keys = [*keys, ("wire", "|".join(sorted((last, rest[0][1]))), 1)]
        else:
            keys = [*keys[:-1], ("wire", "|".join(sorted((last, rest[0][1]))), keys[-1][2])]
    return list(dict.fromkeys([*keys, *rest]))


def _target(flow: FlowResult) -> Endpoint:
    """The destination; of a Service the address that the last packet of the trace was on its way to."""
    if flow.dst.kind == "service" and flow.request is not None:
        for hop in reversed(flow.request.hops):
            for step in reversed(hop.steps):
                packet = step.after or step.before
                if packet is not None and packet.dst != flow.dst.ip:
                    return Endpoint("service", str(packet.dst))
    return flow.dst


def _end(endpoint: Endpoint) -> list[Key]:
    node: list[Key] = [("node", endpoint.node, 1)] if endpoint.node else []
    if endpoint.kind == "pod":
        return [*node, ("pod", endpoint.name, 1)]
    if endpoint.kind == "node":
        return [("node", endpoint.node or endpoint.name, 1)]
    if endpoint.kind == "service":
        return [*node, ("service", endpoint.name, 1)]
    return [*node, ("outside", endpoint.name, 1)]


def merge(request: list[Key], reply: list[Key]) -> list[Key]:
    """Request order, with the frames that only the reply crosses put where it crosses them."""
    merged, place = list(request), 0
    for key in dict.fromkeys(reversed(reply)):
        if key in merged:
            place = merged.index(key) + 1
        else:
            merged.insert(place, key)
            place += 1
    return merged


def frame_name(key: Key, flow: FlowResult) -> str:
    kind, name, _ = key
    if kind == "wire":
        return "underlay"
    return visible(name) or "outside"


def frame_sub(key: Key, flow: FlowResult) -> str:
    kind, name, _ = key
    for end in (flow.src, flow.dst):
        if end.name == name and end.ip is not None and kind != "wire":
            return str(end.ip)
    return {"outside": "not in the bundle", "wire": "the wire", "service": "", "node": "", "pod": ""}[kind]
