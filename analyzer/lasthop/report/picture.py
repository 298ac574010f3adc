"""The path picture as positions: two lanes over the netns that the traces really crossed, the break and the sightings.

Upper lane: the request, left to right. Lower lane: the reply, right to left. What no trace reached is drawn as not
reached; nothing is drawn as passed that a trace does not hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise

from lasthop.diagnosis.result import FlowResult
from lasthop.facts.trace import Disposition, Finding, Hop, Outcome, Sighting, Step

from .frames import Key, complete, frame_name, frame_sub, merge, numbered, shown
from .text import clip, clip_middle, columns, visible

GUTTER, GAP, PITCH, PAD = 78, 30, 70, 40
TOP, LANES, BOTTOM = 40, (118, 222), 292
NARROWEST = {"wire": 92, "pod": 142, "node": 150, "outside": 136, "service": 150}
MOST_DOTS = 4
GLYPHS = {"ok": "✓", "bad": "✕", "unknown": "?", "note": "–", "na": "·"}
_STATES = {Outcome.PASS: "ok", Outcome.STOP: "bad", Outcome.UNKNOWN: "unknown", Outcome.INFO: "note"}
_WEIGHT = ("note", "ok", "unknown", "bad")
_FOLDED_FIRST = (
    "mtu", "neighbour", "conntrack", "POSTROUTING", "fdb", "OUTPUT", "PREROUTING", "link", "INPUT", "route", "decap",
    "encap",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dot:
    """One group of stages: `href` names the walk's row, "" for what was not reached."""

    x: float
    y: float
    state: str
    label: str
    title: str
    href: str = ""

    @property
    def glyph(self) -> str:
        return GLYPHS[self.state]


@dataclass(frozen=True, slots=True)
class Frame:
    key: Key
    name: str
    full: str
    sub: str
    x: float = 0
    width: float = 0

    @property
    def kind(self) -> str:
        return self.key[0]


@dataclass(frozen=True, slots=True)
class Arrow:
    x1: float
    x2: float
    y: float
    state: str


@dataclass(frozen=True, slots=True)
class Number:
    x: float
    y: float
    step: int
    here: bool


@dataclass(frozen=True, slots=True)
class Tap:
    x: float
    y: float
    seen: bool
    title: str


@dataclass(frozen=True, slots=True)
class Note:
    x: float
    y: float
    dot_x: float
    text: str


@dataclass(slots=True)
class Picture:
    width: float = 0
    height: float = BOTTOM + 10
    description: str = ""
    frames: list[Frame] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    arrows: list[Arrow] = field(default_factory=list)
    numbers: list[Number] = field(default_factory=list)
    taps: list[Tap] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class _Group:
    name: str
    state: str
    steps: list[Step]
    first: int


def picture(flow: FlowResult, anchors: tuple[str, str]) -> Picture:
    """The picture of `flow`; `anchors` are the id prefixes of the request's and the reply's walk rows."""
    request_trace, request_anchor = shown(flow.request, flow.request_full, anchors[0])
    reply_trace, reply_anchor = shown(flow.reply, flow.reply_full, anchors[1])
    anchors = (request_anchor, reply_anchor)
    request, reply = numbered(request_trace, back=False), numbered(reply_trace, back=True)
    keys = merge(complete([key for key, _ in request], flow), [key for key, _ in reply])
    lanes = [_lane(request), _lane(reply)]
    out = Picture()
    x: float = GUTTER
    for key in keys:
        most = max((len(lane.get(key, ())) for lane in lanes), default=0)
        width = max(NARROWEST[key[0]], most * PITCH + PAD - 10)
        full = frame_name(key, flow)
        sub = clip_middle(frame_sub(key, flow), int(width / 7.2))
        out.frames.append(Frame(key, clip_middle(full, int(width / 8.8)), full, sub, x, width))
        x += width + GAP
    out.width = x - GAP + 10
    for index, (lane, hops) in enumerate(zip(lanes, (request, reply), strict=True)):
        direction = ("request", "reply")[index]
        breaks = [found for found in flow.breaks if (found.direction or "request") == direction]
        _draw(out, lane, hops, index, anchors[index], breaks, flow.sightings)
    out.description = _description(flow)
    return out


def _group_name(step: Step) -> str:
    stage = step.stage
    last = stage.rsplit(" ", 1)[-1]
    if last in ("PREROUTING", "FORWARD", "INPUT", "OUTPUT", "POSTROUTING"):
        return last
    return {
        "pod-route": "route",
        "forwarding": "route",
        "rp_filter": "PREROUTING",
        "conntrack": "PREROUTING",
        "gateway-neighbour": "neighbour",
        "local-delivery": "socket",
        "listener": "socket",
    }.get(stage, stage)


def _lane(hops: list[tuple[Key, Hop]]) -> dict[Key, list[_Group]]:
    """Frame -> its groups of stages in walking order; passing groups are folded where a frame would get too wide."""
    lane: dict[Key, list[_Group]] = {}
    number = 0
    for key, hop in hops:
        groups = lane.setdefault(key, [])
        for step in hop.steps:
            number += 1
            name, state = _group_name(step), _STATES[step.outcome]
            if groups and groups[-1].name == name:
                group = groups[-1]
                group.steps.append(step)
                if _WEIGHT.index(state) > _WEIGHT.index(group.state):
                    group.state, group.first = state, number
            else:
                groups.append(_Group(name, state, [step], number))
    for groups in lane.values():
        for name in _FOLDED_FIRST:
            while len(groups) > MOST_DOTS:
                spare = [g for g in groups if g.name == name and g.state in ("ok", "note") and g is not groups[-1]]
                if not spare:
                    break
                groups.remove(spare[-1])
    return lane


def _draw(
    out: Picture,
    lane: dict[Key, list[_Group]],
    hops: list[tuple[Key, Hop]],
    index: int,
    anchor: str,
    breaks: list[Finding],
    sightings: tuple[Sighting, ...],
) -> None:
    y = LANES[index]
    back = index == 1
    placed: dict[Key, list[Dot]] = {}
    frames = list(reversed(out.frames)) if back else out.frames
    interfaces = dict(hops)
    for frame in frames:
        groups = lane.get(frame.key, [])
        hop = interfaces.get(frame.key)
        dots = []
        for i, group in enumerate(groups):
            share = (i + 0.5) / len(groups)
            x = frame.x + frame.width * ((1 - share) if back else share)
            dots.append(_dot(x, y, group, hop, f"{anchor}-{group.first}"))
        placed[frame.key] = dots or [Dot(frame.x + frame.width / 2, y, "na", "", f"{frame.full}: not reached")]
    _mark_breaks(placed, breaks)
    line = [dot for frame in frames for dot in placed[frame.key]]
    line = _unreached(line, lost=back and _lost(out))
    out.dots += line
    for left, right in pairwise(line):
        inset = -14 if back else 14
        state = "dead" if right.state == "na" or left.state in ("na", "bad") else right.state
        state = "ok" if state == "bad" else state
        out.arrows.append(Arrow(left.x + inset, right.x - inset, y, state))
    _numbers(out, hops, index, breaks)
    _taps(out, placed, interfaces, sightings, index)
    for dot in line:
        if dot.state == "bad":
            text = _why(lane, dot, anchor, breaks)
            half = columns(text) * 3.7 + 6
            x = min(max(dot.x, half), max(out.width - half, half))
            out.notes.append(Note(x, y - 42, dot.x, text))


def _lost(out: Picture) -> bool:
    """True when the request stops: no answer to it can have been sent."""
    return any(dot.state == "bad" for dot in out.dots)


def _unreached(line: list[Dot], *, lost: bool) -> list[Dot]:
    """What the walk found to pass behind the place where the packet is lost is not drawn as passed."""
    out = []
    for dot in line:
        if lost and dot.state != "na":
            dot = replace(dot, state="na", title=f"not reached; {dot.title}")
        out.append(dot)
        lost = lost or dot.state == "bad"
    return out


def _dot(x: float, y: float, group: _Group, hop: Hop | None, href: str) -> Dot:
    label = "" if group.name == "wire" else group.name
    if group.name == "link" and hop is not None:
        label = group.steps[0].where or hop.iif or hop.oif or "link"
    worst = next((step for step in group.steps if _STATES[step.outcome] == group.state), group.steps[0])
    word = {"ok": "passes", "bad": "stops here", "unknown": "not evidenced", "note": "note"}[group.state]
    title = visible(f"{worst.stage}: {word}" + (f" ({worst.detail})" if worst.detail else ""))
    return Dot(x, y, group.state, clip(visible(label), 11), clip(title, 200), href)


def _mark_breaks(placed: dict[Key, list[Dot]], breaks: list[Finding]) -> None:
    """A break that no trace step shows (no sandbox, lost between captures) is marked at its place."""
    if not breaks or any(dot.state == "bad" for dots in placed.values() for dot in dots):
        return
    found = breaks[0]
    wanted = [("node", found.died_node or found.node)]
    if found.netns == "wire":
        wanted.insert(0, ("wire", ""))
    elif found.netns.startswith("pod:"):
        wanted.insert(0, ("pod", found.netns[4:]))
    for kind, name in wanted:
        for key, dots in placed.items():
            if key[0] == kind and (kind == "wire" or key[1] == name):
                dots[-1] = replace(dots[-1], state="bad", title=visible(found.title))
                return


def _why(lane: dict[Key, list[_Group]], dot: Dot, anchor: str, breaks: list[Finding]) -> str:
    for groups in lane.values():
        for group in groups:
            if f"{anchor}-{group.first}" == dot.href:
                stop = next((step for step in group.steps if step.outcome is Outcome.STOP), None)
                if stop is not None:
                    ending = "" if stop.disposition is None else _words(stop.disposition)
                    return clip(visible(f"{ending} {stop.where}".strip() or stop.detail or stop.stage), 44)
    if breaks and breaks[0].disposition is not None:
        return _words(breaks[0].disposition)
    return clip(visible(breaks[0].title), 44) if breaks else ""


def _words(disposition: Disposition) -> str:
    return disposition.value.replace("_", " ").lower()


_WHOLE = {
    ("pod", "node", "wire", "node", "pod"): ((1, 2, 3, 4), (8, 7, 6, 5)),
    ("pod", "node", "pod"): ((1, 4), (8, 5)),
}


def _numbers(out: Picture, hops: list[tuple[Key, Hop]], index: int, breaks: list[Finding]) -> None:
    place = {frame.key: i for i, frame in enumerate(out.frames)}
    borders: dict[int, int] = {}
    whole = _WHOLE.get(tuple(frame.kind for frame in out.frames))
    if whole is not None:
        borders = dict(enumerate(whole[index]))
    for key, hop in hops:
        border = place[key] - index
        if hop.step and 0 <= border < len(out.frames) - 1 and hop.step not in borders.values():
            borders[border] = hop.step
    here = {found.step for found in breaks}
    for border, step in sorted(borders.items()):
        right = out.frames[border].x + out.frames[border].width
        out.numbers.append(Number(right + GAP / 2, LANES[index], step, step in here))


def _taps(
    out: Picture,
    placed: dict[Key, list[Dot]],
    hops: dict[Key, Hop],
    sightings: tuple[Sighting, ...],
    index: int,
) -> None:
    direction = ("request", "reply")[index]
    frames_by_key = {frame.key: frame for frame in out.frames}
    used: dict[float, int] = {}
    for sighting in _merged(sightings, direction):
        base = ("pod", sighting.netns[4:]) if sighting.netns.startswith("pod:") else ("node", sighting.node)
        key = next((key for key in placed if key[:2] == base), None)
        if key is None:
            continue
        dots, hop = placed[key], hops.get(key)
        entered = hop is not None and hop.iif == sighting.interface
        x = (dots[0] if entered else dots[-1]).x
        if not entered and dots[-1].state == "bad":
            # the packet did not come as far as this tap: it stands at the frame's far side
            frame = frames_by_key[key]
            x = frame.x + 12 if index else frame.x + frame.width - 12
        elif dots[0 if entered else -1].state == "bad":
            x += 20 if index else -20
        count = used.get(x, 0)
        used[x] = count + 1
        told = "seen" if sighting.seen else "capture running, never seen"
        frames = f", {len(sighting.frames)} frames" if sighting.frames else ""
        title = visible(f"{sighting.node} {sighting.interface}: {told}{frames}")
        out.taps.append(Tap(x + 14 * count, LANES[index] - 27, sighting.seen, title))


def _merged(sightings: tuple[Sighting, ...], direction: str) -> list[Sighting]:
    """One per capture point: seen when any packet of this direction was. Where full-size packets are missing, they are
    the ones that count."""
    own = [sighting for sighting in sightings if sighting.direction == direction]
    large = [sighting for sighting in own if sighting.packet == "full-size"]
    if not all(sighting.seen for sighting in large):
        own = large
    points: dict[tuple[str, str, str], Sighting] = {}
    for sighting in own:
        point = (sighting.node, sighting.netns, sighting.interface)
        if point not in points or (sighting.seen and not points[point].seen):
            points[point] = sighting
    return list(points.values())


def _description(flow: FlowResult) -> str:
    parts = []
    for name, trace in (("request", flow.request), ("reply", flow.reply)):
        if trace is None:
            parts.append(f"The {name} was not walked.")
            continue
        last = trace.last_step
        where = ""
        if last is not None and trace.disposition.value != "DELIVERED":
            hop = trace.hops[-1]
            where = f" at {hop.node or hop.netns}, stage {last.stage}"
        parts.append(f"The {name} ends as {trace.disposition.value}{where}.")
    return visible(" ".join(parts))
