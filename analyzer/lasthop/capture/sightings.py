"""Where the captures saw a flow: per capture point on its path and direction, seen or provably not seen.

Only a capture that ran while the flow was tried can prove absence: its own frames (or its metadata) must enclose the
try. Clock differences between nodes are not corrected here, so a capture of another time proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from lasthop.facts.network import Ip
from lasthop.facts.snapshot import Capture
from lasthop.facts.trace import Sighting

from .decode import Seen, decode
from .pcap import End, NotPcap, frames

MAX_FRAMES = 400_000
MAX_LISTED = 20
MAX_TRIES = 8
MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class Variant:
    """The flow as it looks somewhere on its path: addresses before or after NAT. `port` is the server's."""

    src: Ip
    dst: Ip
    port: int | None


@dataclass(frozen=True, slots=True)
class Point:
    """A capture point on the path of a direction. `mac` is the interface's own ("" unknown); `step` the method's."""

    node: str
    netns: str
    interface: str
    direction: str
    step: int | None
    mac: str = ""


@dataclass(slots=True)
class _Track:
    """One capture's frames of the flow, per direction."""

    capture: Capture
    first: float | None = None
    last: float | None = None
    whole: bool = False
    """The file was read to its end and ends with a whole record: the capture's own end can be believed."""
    frames: dict[str, list[Seen]] = field(default_factory=lambda: {"request": [], "reply": []})


class Tracks:
    """The frames of a flow in all captures that matter, read once; asked for each way that the flow may take."""

    def __init__(
        self,
        captures: Iterable[Capture],
        read: Callable[[str], bytes],
        proto: str,
        variants: tuple[Variant, ...],
        points: Iterable[Point],
    ) -> None:
        wanted = {(point.node, point.netns, point.interface) for point in points}
        self._tracks = {
            (capture.node, capture.netns, capture.interface): _track(capture, read(capture.path), proto, variants)
            for capture in captures
            if (capture.node, capture.netns, capture.interface) in wanted
        }

    def sightings(self, variants: tuple[Variant, ...], points: tuple[Point, ...]) -> tuple[Sighting, ...]:
        """Per point and try: seen, or provably not seen. Only frames that look like one of `variants` count."""
        places = dict.fromkeys((point.node, point.netns, point.interface) for point in points)
        tracks = {place: _only(self._tracks[place], variants) for place in places if place in self._tracks}
        tries = _tries(tracks.values())
        found = []
        for point in points:
            track = tracks.get((point.node, point.netns, point.interface))
            if track is not None:
                found += _judge(point, track, tries)
        for before, after in pairwise([point for point in points if point.step is not None]):
            left = tracks.get((before.node, before.netns, before.interface))
            right = tracks.get((after.node, after.netns, after.interface))
            if left is not None and right is not None and before.direction == after.direction:
                found += _lost_data(before, left, after, right)
        return tuple(dict.fromkeys(found))


def _only(track: _Track, variants: tuple[Variant, ...]) -> _Track:
    """The track without frames of other looks of the flow (other backends)."""
    pairs = {(v.src.packed, v.dst.packed) for v in variants}
    return replace(
        track,
        frames={
            "request": [seen for seen in track.frames["request"] if (seen.src, seen.dst) in pairs],
            "reply": [seen for seen in track.frames["reply"] if (seen.dst, seen.src) in pairs],
        },
    )


def _track(capture: Capture, data: bytes, proto: str, variants: tuple[Variant, ...]) -> _Track:
    track = _Track(capture)
    wanted: dict[tuple[bytes, bytes], set[int | None]] = {}
    for v in variants:
        wanted.setdefault((v.src.packed, v.dst.packed), set()).add(v.port)
    # source and destination stand side by side in both IP headers
    needles = {src + dst for src, dst in wanted} | {dst + src for src, dst in wanted}
    end = End()
    try:
        for frame in frames(data, needles, MAX_FRAMES, end):
            if track.first is None:
                track.first = frame.time
            track.last = frame.time
            seen = decode(frame)
            if seen is None or seen.proto != proto:
                continue
            forward, backward = wanted.get((seen.src, seen.dst), set()), wanted.get((seen.dst, seen.src), set())
            if forward & {None, seen.dport}:
                track.frames["request"].append(seen)
            elif backward & {None, seen.sport}:
                track.frames["reply"].append(seen)
    except NotPcap:
        return track
    track.whole = end.whole
    return track


def _client_port(seen: Seen, direction: str) -> int | None:
    return seen.sport if direction == "request" else seen.dport


@dataclass(frozen=True, slots=True)
class _Try:
    """One connection attempt: the client's port and the times of its first and last request packet anywhere.

    `beside` are all client ports that the points which saw it know.
    """

    port: int | None
    begin: float
    end: float
    beside: frozenset[int | None]


def _tries(tracks: Iterable[_Track]) -> tuple[_Try, ...]:
    """All tries that some capture saw, newest first; those that began just before the captures ended come last."""
    times: dict[int | None, list[float]] = {}
    beside: dict[int | None, set[int | None]] = {}
    last = 0.0
    for track in tracks:
        last = max(last, track.last or 0.0)
        ports = {seen.sport for seen in track.frames["request"]}
        for seen in track.frames["request"]:
            times.setdefault(seen.sport, []).append(seen.time)
        for port in ports:
            beside.setdefault(port, set()).update(ports)
    tries = [_Try(port, min(seen), max(seen), frozenset(beside[port])) for port, seen in times.items()]
    return tuple(sorted(tries, key=lambda one: (one.begin > last - MARGIN, -one.begin)))


def _judge(point: Point, track: _Track, tries: tuple[_Try, ...]) -> list[Sighting]:
    """What the capture says of the newest tries: seen, or not seen although it ran at that time."""
    own = track.frames[point.direction]
    found = []
    for one in tries[:MAX_TRIES]:
        same = [seen for seen in own if _client_port(seen, point.direction) == one.port]
        same = same or _rewritten(own, point.direction, one)
        if same:
            found.append(_seen(point, track.capture, same, one.port))
        elif _covers(track, one):
            found.append(
                Sighting(
                    point.node,
                    point.netns,
                    point.interface,
                    point.direction,
                    "first",
                    False,
                    track.capture.path,
                    step=point.step,
                    attempt=one.port,
                )
            )
    return found


def _seen(point: Point, capture: Capture, same: list[Seen], attempt: int | None) -> Sighting:
    received = not point.mac or any(seen.dst_mac in ("", point.mac, "ff:ff:ff:ff:ff:ff") for seen in same)
    note = "" if received else f"frames are for {same[0].dst_mac}, the interface is {point.mac}"
    tunnel = next((seen.tunnel for seen in same if seen.tunnel), "")
    if tunnel == "vxlan" and not note:
        note = "inside VXLAN, UDP 4789"
    elif tunnel and not note:
        note = "inside IPIP, protocol 4"
    return Sighting(
        point.node,
        point.netns,
        point.interface,
        point.direction,
        "first",
        True,
        capture.path,
        tuple(seen.number for seen in same[:MAX_LISTED]),
        same[0].time,
        received,
        note,
        point.step,
        attempt,
    )


def _rewritten(own: list[Seen], direction: str, one: _Try) -> list[Seen]:
    """The frames of a point that sees this try under another client port (masqueraded): at its time, and where none
    of the ports is one that the points which saw the try know."""
    if {_client_port(seen, direction) for seen in own} & one.beside:
        return []
    return [seen for seen in own if one.begin - MARGIN <= seen.time <= one.end + MARGIN]


def _covers(track: _Track, one: _Try) -> bool:
    """The capture ran during the try: by its metadata, else by frames of its own before its end and after its begin.

    With frames dropped by the kernel, or where it is not certain which interface was captured, nothing is proved
    absent; a file that is cut proves nothing beyond its last frame.
    """
    capture = track.capture
    if capture.kernel_drops or not capture.known_place:
        return False
    if track.whole and capture.start is not None and capture.end is not None:
        return capture.start <= one.begin and capture.end >= one.begin + MARGIN
    return track.first is not None and track.last is not None and track.first <= one.begin <= track.last


def _lost_data(before: Point, left: _Track, after: Point, right: _Track) -> list[Sighting]:
    """Data that was sent again and again at one point and never came to the next, of connections seen at both.

    Compared by sequence ranges, because one large frame here may be several there (segmentation offload).
    """
    way = before.direction
    both = {_client_port(seen, way) for seen in left.frames[way]} & {
        _client_port(seen, way) for seen in right.frames[way]
    }
    arrived = [s for s in right.frames[way] if s.payload and s.seq is not None]
    repeats: dict[tuple[int | None, int], list[Seen]] = {}
    passed = 0
    for seen in left.frames[way]:
        port = _client_port(seen, way)
        if not seen.payload or seen.seq is None or port not in both:
            continue
        begin, end = seen.seq, seen.seq + seen.payload
        if any(_client_port(a, way) == port and a.seq is not None and a.seq < end and a.seq + a.payload > begin
               for a in arrived):  # fmt: skip
            passed = max(passed, seen.length)
        else:
            repeats.setdefault((port, seen.seq), []).append(seen)
    lost = [frames for frames in repeats.values() if len(frames) > 1]
    if not lost or right.capture.kernel_drops:
        return []
    worst = max(lost, key=len)
    smallest = min(seen.length for frames in lost for seen in frames)
    passed = max([passed, *(seen.length for seen in right.frames[way])])
    note = f"{len(worst)} times {worst[0].length} bytes; up to {passed} bytes pass"
    if smallest <= passed:
        note = f"{len(worst)} times the same {worst[0].length} bytes"
    return [
        _full_size(before, left.capture, tuple(seen.number for seen in worst[:MAX_LISTED]), note),
        _full_size(after, right.capture, (), note),
    ]


def _full_size(point: Point, capture: Capture, numbers: tuple[int, ...], note: str) -> Sighting:
    return Sighting(
        point.node,
        point.netns,
        point.interface,
        point.direction,
        "full-size",
        bool(numbers),
        capture.path,
        numbers,
        note=note,
        step=point.step,
    )
