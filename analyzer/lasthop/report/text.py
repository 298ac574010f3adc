"""Text of a bundle made harmless for people's eyes: control characters shown, cut and wrapped by display width.

Bundles come from strangers. ESC sequences can repaint a terminal, bidirectional overrides can turn a sentence round, on
a page as well as on a terminal, so both are replaced by something visible before any view shows them. The JSON report
does not use this module: it carries the text as it is, escaped.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_INVISIBLE = "\u200b-\u200d\u2028\u2029\u2060-\u2064\ufeff\ufff9-\ufffb"
_UNSAFE = re.compile(f"[\x00-\x1f\x7f-\x9f{_BIDI}{_INVISIBLE}\ud800-\udfff\U000e0000-\U000e007f]")


def _shown(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code == 0x09:
        return "    "
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"<U+{code:04X}>"


def visible(text: str) -> str:
    """`text` in one line with every C0, C1, bidirectional, invisible and unpaired character shown as a sign of itself.

    A tab becomes four spaces, ESC becomes "␛", U+202E becomes "<U+202E>", half a surrogate pair U+FFFD.
    """
    return _UNSAFE.sub(_shown, text)


def columns(text: str) -> int:
    """Terminal columns that `text` takes: wide characters count 2, combining ones 0."""
    if text.isascii():
        return len(text)
    total = 0
    for char in text:
        if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
            continue
        total += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return total


def clip(text: str, width: int) -> str:
    """`text`, ended by "…" where it would take more than `width` columns."""
    if columns(text) <= width:
        return text
    room, out = max(width - 1, 0), []
    for char in text:
        room -= columns(char)
        if room < 0:
            break
        out.append(char)
    return "".join(out).rstrip() + "…"


def clip_middle(text: str, width: int) -> str:
    """`text` cut in the middle, so that both ends of a long name stay readable."""
    if columns(text) <= width:
        return text
    head = max((width - 1) // 2, 1)
    tail = max(width - 1 - head, 1)
    return text[:head] + "…" + text[-tail:]


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` columns, broken at spaces; a longer word is cut only where it must be."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        while columns(word) > width:
            if line:
                lines.append(line)
                line = ""
            cut = _fitting(word, width)
            lines.append(word[:cut])
            word = word[cut:]
        if not word:
            continue
        if line and columns(line) + 1 + columns(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    if line:
        lines.append(line)
    return lines or [""]


def _fitting(word: str, width: int) -> int:
    room = width
    for position, char in enumerate(word):
        room -= columns(char)
        if room < 0:
            return max(position, 1)
    return len(word)


_NODE_PATH = re.compile(r"(?:.*/)?nodes/([^/]+)/(.+)")


def short_path(path: str) -> str:
    """"nodes/worker-2/host/x.out" as "worker-2 host/x.out"; other paths as they are."""
    match = _NODE_PATH.fullmatch(path)
    return f"{match.group(1)} {match.group(2)}" if match else path


def cite(path: str, line: int, end_line: int = 0) -> str:
    """"path:12", "path:12-19", or "path" alone where the whole member is cited; control characters are shown."""
    shown = visible(path)
    if line <= 0:
        return shown
    return f"{shown}:{line}-{end_line}" if end_line > line else f"{shown}:{line}"


def share_label(share: Fraction) -> str:
    """"1/3"; the kernel keeps a share in 32 bits, so 1431655765/4294967296 is "1/3" to people; else a percentage."""
    near = share.limit_denominator(100)
    return str(near) if abs(near - share) < Fraction(1, 10**6) else f"{float(share):.2%}"
