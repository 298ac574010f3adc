"""The page: one file, nothing remote, every verdict, bundle text only ever as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lasthop.report.html.page import page
from lasthop.report.view import report_view
from tests.conftest import need

from . import build
from .chromium import Chromium

VOID = {"meta", "br", "img", "input", "link", "hr", "path", "rect", "circle", "line"}


class Outline(HTMLParser):
    """Tags, ids and attributes; complains of tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(name: str) -> Outline:
    found = Outline()
    found.feed(page(report_view(build.ALL[name]())))
    found.close()
    return found


@pytest.mark.parametrize("name", build.ALL)
def test_markup_nests_and_ids_are_unique(name: str) -> None:
    found = outline(name)
    assert found.open == []
    assert len(found.ids) == len(set(found.ids))
    assert {"img", "iframe", "object", "embed", "link", "form"} & found.tags == set()
    assert [word for word in found.attributes if word.startswith("on") or word == "style"] == []


@pytest.mark.parametrize("name", build.ALL)
def test_every_link_points_into_the_page(name: str) -> None:
    found = outline(name)
    assert [link for link in found.links if not link.startswith("#")] == []
    assert [link for link in found.links if link[1:] not in found.ids] == []


@pytest.mark.parametrize("name", build.ALL)
def test_nothing_remote_is_named(name: str) -> None:
    assert re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", page(report_view(build.ALL[name]()))) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("break", ["✕ BREAK", "no route to the pod", "Repair", "changes the node", "blackhole 10.244.2.0/26"]),
        ("partial", ["◐ PARTIAL BREAK", "1/3 of new connections", "Choices of the kernel", "shop/db-2"]),
        ("no-break", ["✓ NO BREAK", "Every step of both directions passes"]),
        ("clear-in-nodes", ["◇ CLEAR IN NODES", "the wire was not observed", "--capture 20"]),
        ("inconclusive", ["? INCONCLUSIVE", "What would decide", "LEFT_EVIDENCE", "outside"]),
        ("several", ["2 of 4 flows break", "Flows"]),
        ("no-flow", ["? INCONCLUSIVE", "No flow could be judged"]),
    ],
)
def test_what_each_verdict_says(name: str, words: list[str]) -> None:
    text = " ".join(outline(name).text)
    assert [word for word in words if word not in text] == []


def test_page_and_json_tell_the_same_number_of_things() -> None:
    text = page(report_view(build.rich_break()))
    assert text.count('class="sev ') == len(build.rich_break().findings)
    assert text.count("<tr id=") == sum(len(hop.steps) for hop in build.request_trace(broken=True).hops)


def test_control_characters_never_reach_the_page() -> None:
    text = page(report_view(build.hostile()))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", text)
    text.encode("utf-8")


def test_a_two_node_page_stays_small() -> None:
    assert len(page(report_view(build.rich_break())).encode()) < 1_000_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Chromium:
    need("chromium")
    with Chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium  # type: ignore[misc]


def opened(browser: Chromium, folder: Path, name: str) -> Chromium:
    path = folder / f"{name}.html"
    path.write_text(page(report_view(build.ALL[name]())), encoding="utf-8")
    browser.problems.clear()
    browser.requests.clear()
    browser.open(path)
    return browser


@pytest.mark.parametrize("name", build.ALL)
def test_browser_logs_nothing_and_asks_for_nothing(browser: Chromium, tmp_path: Path, name: str) -> None:
    opened(browser, tmp_path, name)
    assert browser.problems == []
    assert browser.requests == []


def test_hostile_names_stay_text(browser: Chromium, tmp_path: Path) -> None:
    opened(browser, tmp_path, "hostile")
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.scripts.length") == 1
    assert build.SCRIPT in browser.evaluate("document.querySelector('.flow-l').textContent")
    assert "{{ 7*7 }}" in browser.evaluate("document.body.textContent")
    assert browser.evaluate("document.querySelectorAll('[onload],[onerror]').length") == 0


def test_an_injected_script_would_be_refused(browser: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "injected.html"
    text = page(report_view(build.rich_break()))
    path.write_text(text.replace("</main>", "<script>window.owned = 1</script><p style='color:red'>x</p></main>"))
    browser.open(path)
    assert browser.evaluate("window.owned === undefined") is True
    assert browser.problems != []


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("name", build.ALL)
def test_the_page_never_scrolls_sideways(browser: Chromium, tmp_path: Path, name: str, width: int) -> None:
    browser.size(width, 900)
    opened(browser, tmp_path, name)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser: Chromium, tmp_path: Path, dark: bool) -> None:
    """WCAG AA, 4.5:1, for every colour of text on the ground it is used on."""
    browser.size(1200, 900, dark=dark)
    opened(browser, tmp_path, "break")
    pairs = [(ink, ground) for ink in ("ink", "mut", "acc") for ground in ("bg", "card", "code")]
    pairs += [("bad", "badbg"), ("unk", "unkbg"), ("acc", "accbg"), ("ok", "okbg"), ("ok", "card"), ("unk", "card")]
    pairs += [("bad", "card"), ("mut", "badbg"), ("mut", "unkbg"), ("onbad", "bad")]
    for ink, ground in pairs:
        asked = "getComputedStyle(document.documentElement).getPropertyValue('--%s')"
        light = sorted(_luminance(browser.evaluate(asked % one)) for one in (ink, ground))
        assert (light[1] + 0.05) / (light[0] + 0.05) >= 4.5, (ink, ground)


def _luminance(color: str) -> float:
    digits = color.strip().lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_dot_of_the_picture_opens_its_row(browser: Chromium, tmp_path: Path) -> None:
    opened(browser, tmp_path, "no-break")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
    browser.evaluate("location.hash = document.querySelector('svg.path a').getAttribute('href')")
    browser.evaluate("0")
    assert browser.evaluate("document.querySelector(location.hash).closest('details').open") is True


def test_print_opens_what_is_folded(browser: Chromium, tmp_path: Path) -> None:
    opened(browser, tmp_path, "no-break")
    browser.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
    browser.evaluate("dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate("document.querySelectorAll('details[open]').length") == 0
