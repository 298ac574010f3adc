"""A Picture as SVG markup for the page: no script, no style attribute, every text escaped."""

from __future__ import annotations

from html import escape

from .picture import BOTTOM, LANES, TOP, Picture

LEGEND = (
    "✓ passes", "✕ stops here", "? not evidenced", "– assumed or noted", "· not reached", "● seen in a capture",
    "○ capture running, never seen",
)  # fmt: skip
_STATE_WORDS = {"ok": "passes", "bad": "stops here", "unknown": "not evidenced", "note": "noted", "na": "not reached"}


def svg(picture: Picture, prefix: str) -> str:
    """One `<svg>`; `prefix` keeps ids unique on a page with several pictures. Colours come from the page's CSS."""
    head = (
        f'<svg class="path" width="{picture.width:g}" viewBox="0 0 {picture.width:g} {picture.height:g}" role="group" '
        f'aria-labelledby="{prefix}-t {prefix}-d"><title id="{prefix}-t">Path of the flow</title>'
        f'<desc id="{prefix}-d">{escape(picture.description)}</desc>'
        f'<defs><marker id="{prefix}-a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
    )
    return "".join(
        (
            head, *_lanes(), *_frames(picture), *_arrows(picture, prefix), *_dots(picture), *_numbers(picture),
            *_taps(picture), *_notes(picture), "</svg>",
        )
    )  # fmt: skip


def _text(x: float, y: float, kind: str, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(text)}</text>'


def _lanes() -> list[str]:
    return [
        _text(64, LANES[0] + 4, "lane", "request →", "end"),
        _text(64, LANES[1] + 4, "lane", "← reply", "end"),
    ]


def _frames(picture: Picture) -> list[str]:
    out = []
    for frame in picture.frames:
        middle = frame.x + frame.width / 2
        out.append(
            f'<g><title>{escape(frame.full)}</title><rect x="{frame.x:g}" y="{TOP}" width="{frame.width:g}" '
            f'height="{BOTTOM - TOP}" rx="10" class="frame {frame.kind}"/>'
            + _text(middle, 25, "name", frame.name)
            + _text(middle, BOTTOM - 11, "ip", frame.sub)
            + "</g>"
        )
    return out


def _arrows(picture: Picture, prefix: str) -> list[str]:
    out = []
    for arrow in picture.arrows:
        end = "" if arrow.state == "dead" else f' marker-end="url(#{prefix}-a)"'
        out.append(
            f'<line x1="{arrow.x1:g}" y1="{arrow.y:g}" x2="{arrow.x2:g}" y2="{arrow.y:g}" '
            f'class="flow {arrow.state}"{end}/>'
        )
    return out


def _dots(picture: Picture) -> list[str]:
    out = []
    for dot in picture.dots:
        body = (
            f'<g class="st {dot.state}"><title>{escape(dot.title)}</title>'
            f'<circle cx="{dot.x:g}" cy="{dot.y:g}" r="13"/>' + _text(dot.x, dot.y + 5, "glyph", dot.glyph) + "</g>"
        )
        if dot.label:
            body += _text(dot.x, dot.y + 31, "lbl", dot.label)
        if dot.href:
            label = escape(f"{dot.label}: {_STATE_WORDS[dot.state]}", quote=True)
            body = f'<a href="#{escape(dot.href, quote=True)}" aria-label="{label}">{body}</a>'
        out.append(body)
    return out


def _numbers(picture: Picture) -> list[str]:
    out = []
    for number in picture.numbers:
        here = " here" if number.here else ""
        out.append(
            f'<g class="num{here}"><title>step {number.step}</title><rect x="{number.x - 9:g}" y="{number.y - 9:g}" '
            f'width="18" height="18" rx="4"/>' + _text(number.x, number.y + 4, "", str(number.step)) + "</g>"
        )
    return out


def _taps(picture: Picture) -> list[str]:
    return [
        f'<g class="cap {"seen" if tap.seen else "unseen"}"><title>{escape(tap.title)}</title>'
        f'<circle cx="{tap.x:g}" cy="{tap.y:g}" r="5"/></g>'
        for tap in picture.taps
    ]


def _notes(picture: Picture) -> list[str]:
    out = []
    for note in picture.notes:
        out.append(
            _text(note.x, note.y, "why", note.text)
            + f'<line x1="{note.dot_x:g}" y1="{note.y + 6:g}" x2="{note.dot_x:g}" y2="{note.y + 27:g}" class="whyl"/>'
        )
    return out
