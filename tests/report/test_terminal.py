"""The terminal summary: short, readable at every width, harmless."""

from __future__ import annotations

import re

import pytest

from lasthop.report.terminal import render
from lasthop.report.text import clip, columns, short_path, visible, wrap
from lasthop.report.view import quote, report_view

from . import build

COMMANDS = re.compile(r"\$ |^  (ip|sh|echo|check) ")


@pytest.mark.parametrize("name", build.ALL)
@pytest.mark.parametrize("page", ["", "report.html"])
def test_summary_has_twelve_lines_of_eighty_columns(name: str, page: str) -> None:
    lines = render(report_view(build.ALL[name]()), width=80, html=page).rstrip("\n").split("\n")
    assert len(lines) <= 12
    assert [line for line in lines if columns(line) > 80 and not COMMANDS.search(line)] == []


@pytest.mark.parametrize("name", build.ALL)
@pytest.mark.parametrize("width", [40, 60, 120])
def test_other_widths_are_kept_except_by_commands(name: str, width: int) -> None:
    lines = render(report_view(build.ALL[name]()), width=width).split("\n")
    assert [line for line in lines if columns(line) > width and not COMMANDS.search(line)] == []


def test_a_break_says_where_why_fix_and_check() -> None:
    text = render(report_view(build.rich_break()), width=80)
    first = text.split("\n")[0]
    assert first.startswith("✕ BREAK  request, step 4 of 8, worker-2: no route to the pod")
    assert first.endswith("proven")
    assert "shop/cart-7d9f 10.244.1.23 → shop/db-0 10.244.2.17 tcp/5432" in text
    assert "worker-2 host/ip4_route_all.out:14  blackhole 10.244.2.0/26 proto bird" in text
    assert "seen   request last at worker-2 eth0, never at worker-2 cali8a1f00c3d21" in text
    assert "fix    worker-2 $ ip route add 10.244.2.17/32 dev cali8a1f00c3d21 scope link" in text
    assert "check  worker-2 $ ip route get 10.244.2.17" in text
    assert "also   1 other finding, 1 gap (not needed here)" in text


def test_a_partial_break_names_its_share() -> None:
    assert "1/3 of new connections" in render(report_view(build.partial_service()), width=80).split("\n")[0]


def test_inconclusive_names_what_would_decide_and_the_command() -> None:
    text = render(report_view(build.inconclusive()), width=80)
    assert text.startswith("? INCONCLUSIVE  The walk leaves the evidence after step 2")
    assert "need   bundle of worker-2" in text
    assert "worker-2 $ sh collector.sh --pod shop/db-0 --peer 10.244.1.23 --capture 20\n" in text


def test_commands_are_never_cut_however_narrow() -> None:
    text = render(report_view(build.rich_break()), width=40)
    assert "ip route add 10.244.2.17/32 dev cali8a1f00c3d21 scope link" in text


def test_the_walk_and_the_rules_come_with_v() -> None:
    view = report_view(build.rich_break())
    plain, walked, ruled = (render(view, width=80, verbose=v) for v in (0, 1, 2))
    assert "gateway-neighbour" not in plain
    assert "gateway-neighbour" in walked
    assert "cali-fw-cali4f20e1b7c55" not in walked
    assert "≠ nodes/worker-1/host/iptables_nft_save.out:512" in ruled
    assert "1201 rules that cannot match were not asked" in ruled
    assert "CAL-BGP-001 on worker-1, worker-2: lacks bgp_sessions" in ruled


@pytest.mark.parametrize("verbose", [0, 2])
@pytest.mark.parametrize("name", build.ALL)
def test_bundle_text_sends_no_control_characters(name: str, verbose: int) -> None:
    text = render(report_view(build.ALL[name]()), width=80, verbose=verbose)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)


def test_colours_only_when_asked_and_always_closed() -> None:
    view = report_view(build.rich_break())
    assert "\x1b" not in render(view, width=80)
    for line in render(view, width=80, color=True, verbose=2).split("\n"):
        codes = re.findall(r"\x1b\[[0-9;]*m", line)
        assert len(codes) % 2 == 0
        assert all(code == "\x1b[0m" for code in codes[1::2])


def test_colour_changes_no_text() -> None:
    view = report_view(build.rich_break())
    colored = render(view, width=80, color=True, verbose=2)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render(view, width=80, verbose=2)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\x1b[2Jb", "a␛[2Jb"), ("a\nb", "a␊b"), ("\u202etxt", "<U+202E>txt"), ("\x9b", "<U+009B>"),
     ("\x7f", "␡"), ("a\tb", "a    b"), ("\ud800", "\ufffd"), ("ü→", "ü→")],
)  # fmt: skip
def test_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_wide_characters_take_two_columns() -> None:
    assert columns("店") == 2
    assert columns(clip("店店店店", 5)) <= 5
    assert all(columns(line) <= 6 for line in wrap("店店店店店 ab", 6))


def test_short_path() -> None:
    assert short_path("nodes/worker-2/host/ip4_route_all.out") == "worker-2 host/ip4_route_all.out"
    assert short_path("case/nodes/w/pods/a_b/x.out") == "w pods/a_b/x.out"
    assert short_path("cluster/pods.json") == "cluster/pods.json"


def test_of_an_object_the_lines_are_quoted_that_the_sentence_speaks_of() -> None:
    lines = tuple((n, f'    "k{n}": "v",') for n in range(10, 40))
    lines = (*lines[:9], (19, '    "ipNetworks": ["10.244.2.17/32"],'), *lines[10:])
    source = build.src("wep.json", 10, "  {", 39)
    told = quote(source, {("wep.json", 10): lines}, "10.244.2.17/32 is missing on worker-2")
    assert [line.number for line in told.lines] == [10, 19]
    assert told.text.strip() == '"ipNetworks": ["10.244.2.17/32"],'
    assert told.cite == "wep.json:10-39"
