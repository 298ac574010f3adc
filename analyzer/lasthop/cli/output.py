"""Where output goes and how it may look: colours, width, encoding, files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TextIO

import typer

from lasthop.errors import UsageError

EXIT_PIPE = 141


def colored(no_color: bool, stream: TextIO | None = None) -> bool:
    """Colours only on a terminal that can show them, and not when NO_COLOR (not empty) or --no-color forbids them."""
    stream = stream or sys.stdout
    if no_color or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def width() -> int:
    """COLUMNS, else the terminal's width, else 80; never more than 160, where lines become hard to read."""
    return max(20, min(shutil.get_terminal_size((80, 24)).columns, 160))


def write(text: str) -> None:
    """Writes to stdout; signs that its encoding lacks become ASCII ones."""
    from lasthop.report.terminal import plain_ascii

    encoding = sys.stdout.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = plain_ascii(text).encode(encoding, "backslashreplace").decode(encoding)
    try:
        sys.stdout.write(text)
    except BrokenPipeError:
        raise typer.Exit(leave()) from None


def leave() -> int:
    """The reader (head, less) has gone: later flushes must not complain. The exit code that a SIGPIPE would give."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_PIPE


def write_json(text: str) -> None:
    """Writes UTF-8 to stdout, whatever the locale says: JSON is UTF-8."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise typer.Exit(leave()) from None


def save(path: Path, text: str) -> None:
    """Writes `path` whole or not at all. Raises UsageError when it cannot be written."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a pipe or a device is written to, never replaced
            return
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}.") from None
