"""The progress bar on stderr for long work; silent on pipes and for work that ends soon."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

PATIENCE = 0.7


class Progress:
    """A callable `progress(what, done, total)` that shows a bar after `PATIENCE` seconds when stderr is a terminal."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._live = sys.stderr.isatty()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        return self

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None:
        if not self._live or (self._bar is None and time.monotonic() - self._started < PATIENCE):
            return
        if self._bar is None:
            from rich.console import Console
            from rich.progress import Progress as Bar

            self._bar = Bar(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(what, total=total or None)
        self._bar.update(self._task, description=_plain(what), completed=done, total=total or None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _plain(what: str) -> str:
    from rich.markup import escape

    from lasthop.report.text import clip, visible

    return escape(clip(visible(what), 50))
