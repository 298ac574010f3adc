"""The path picture draws what the traces hold, in their order, and nothing as passed that was not reached."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from lasthop.diagnosis.result import Endpoint, Verdict
from lasthop.facts.trace import Disposition, Finding
from lasthop.report.picture import LANES, Picture, picture
from lasthop.report.svg import svg

from . import build

ANCHORS = ("f1-request", "f1-reply")


def frames(drawn: Picture) -> list[tuple[str, str]]:
    return [(frame.kind, frame.full) for frame in drawn.frames]


def lane(drawn: Picture, index: int) -> list[str]:
    return [dot.state for dot in sorted(drawn.dots, key=lambda dot: dot.x) if dot.y == LANES[index]]


def test_a_delivered_flow_has_the_five_frames_and_eight_numbers() -> None:
    drawn = picture(build.healthy_flow(), ANCHORS)
    assert frames(drawn) == [
        ("pod", "shop/cart-7d9f"), ("node", "worker-1"), ("wire", "underlay"), ("node", "worker-2"),
        ("pod", "shop/db-0"),
    ]  # fmt: skip
    upper = [number.step for number in sorted(drawn.numbers, key=lambda n: n.x) if number.y == LANES[0]]
    lower = [number.step for number in sorted(drawn.numbers, key=lambda n: n.x) if number.y == LANES[1]]
    assert (upper, lower) == ([1, 2, 3, 4], [8, 7, 6, 5])
    assert "bad" not in lane(drawn, 0) + lane(drawn, 1)
    assert "na" not in lane(drawn, 0) + lane(drawn, 1)


def test_a_break_is_the_last_dot_that_is_reached() -> None:
    drawn = picture(build.broken_flow(), ANCHORS)
    upper = lane(drawn, 0)
    assert upper[-2:] == ["bad", "na"]
    assert set(upper[:-2]) == {"ok"}
    assert set(lane(drawn, 1)) == {"na"}
    assert [(number.step, number.here) for number in drawn.numbers if number.here] == [(4, True)]
    assert [note.text for note in drawn.notes] == ["blackholed 10.244.2.0/26"]
    assert frames(drawn)[-1] == ("pod", "shop/db-0")


def test_capture_points_stand_at_their_frames_seen_or_not() -> None:
    drawn = picture(build.broken_flow(), ANCHORS)
    node1, node2 = drawn.frames[1], drawn.frames[3]
    taps = sorted(drawn.taps, key=lambda tap: tap.x)
    assert [tap.seen for tap in taps] == [True, True, False]
    assert node1.x < taps[0].x < node1.x + node1.width
    assert node2.x < taps[1].x < taps[2].x < node2.x + node2.width


def test_lost_on_the_wire_leaves_nothing_passed_behind_it() -> None:
    lost = Finding(
        "wire-lost", "lost", "high", "strong", "", direction="request", step=3, netns="wire", place="wire",
        disposition=Disposition.LOST_BETWEEN_CAPTURES,
    )  # fmt: skip
    flow = replace(build.healthy_flow(), verdict=Verdict.BREAK, breaks=(lost,))
    drawn = picture(flow, ANCHORS)
    upper = lane(drawn, 0)
    place = upper.index("bad")
    assert set(upper[:place]) == {"ok"}
    assert set(upper[place + 1 :]) == {"na"}
    assert set(lane(drawn, 1)) == {"na"}
    assert [note.text for note in drawn.notes] == ["lost between captures"]


def test_what_is_not_in_the_bundle_is_drawn_as_outside() -> None:
    drawn = picture(build.inconclusive().flows[0], ANCHORS)
    assert [kind for kind, _ in frames(drawn)] == ["pod", "node", "wire", "outside"]
    assert lane(drawn, 0)[-2:] == ["unknown", "unknown"]


def test_same_node_and_no_trace_at_all() -> None:
    server = Endpoint("pod", "shop/db-1", build.DST, "worker-1")
    flow = replace(build.healthy_flow(), request=None, reply=None, dst=server, verdict=Verdict.INCONCLUSIVE)
    drawn = picture(flow, ANCHORS)
    assert [kind for kind, _ in frames(drawn)] == ["pod", "node", "pod"]
    assert set(lane(drawn, 0) + lane(drawn, 1)) == {"na"}


def test_a_reply_over_a_third_node_gets_a_frame_of_its_own() -> None:
    hops = build.reply_hops()
    third = replace(hops[3], node="worker-9")
    reply = replace(build.reply_trace(), hops=(*hops[:3], third, hops[2], *hops[3:]))
    drawn = picture(replace(build.healthy_flow(), reply=reply), ANCHORS)
    names = [name for kind, name in frames(drawn) if kind == "node"]
    assert names == ["worker-1", "worker-9", "worker-2"]


@pytest.mark.parametrize("name", build.ALL)
def test_every_picture_is_well_formed_and_inside_its_box(name: str) -> None:
    for flow in build.ALL[name]().flows:
        drawn = picture(flow, ANCHORS)
        root = ElementTree.fromstring(svg(drawn, "p1"))
        assert root.tag == "svg"
        assert all(0 <= dot.x <= drawn.width for dot in drawn.dots)
        assert all(0 <= tap.x <= drawn.width for tap in drawn.taps)
        places = [(frame.x, frame.x + frame.width) for frame in drawn.frames]
        assert all(left[1] < right[0] for left, right in pairwise(places))


def test_where_only_large_packets_are_stopped_their_walk_is_drawn() -> None:
    hops = build.reply_hops()
    stop = build.step("mtu", "1500 > 1450, DF", build.STOP, where="eth0", disposition=Disposition.TOO_BIG)
    cut = replace(hops[1], steps=(*hops[1].steps, stop))
    full = replace(build.reply_trace("full-size"), disposition=Disposition.TOO_BIG, hops=(hops[0], cut))
    drawn = picture(replace(build.healthy_flow(), reply_full=full), ANCHORS)
    lower = lane(drawn, 1)
    assert lower.count("bad") == 1
    assert set(lower[: lower.index("bad")]) == {"na"}
    assert [dot.href for dot in drawn.dots if dot.state == "bad"] == ["f1-reply-full-6"]
    assert [note.text for note in drawn.notes] == ["too big eth0"]
