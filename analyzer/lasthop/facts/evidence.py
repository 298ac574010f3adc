"""Where a fact comes from and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar, Union

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A citable place: `path` is the bundle member's path, lines count from 1, `text` is literally in the member.

    `line` 0 cites the whole member (proof by absence). For objects in YAML or JSON `line`..`end_line` is their extent
    and `text` the first line.
    """

    path: str
    line: int
    text: str = ""
    end_line: int = 0


class Status(Enum):
    """What became of one command of the collector (docs/bundle-format.md, column `status`)."""

    OK = "ok"
    FAILED = "rc"
    TIMEOUT = "timeout"
    MISSING = "missing"
    DENIED = "denied"
    TRUNCATED = "truncated"
    SKIPPED = "skipped"
    ENOSPC = "enospc"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One member of a bundle with what is known of the command that made it.

    `id` is the evidence id of docs/bundle-format.md (`ip4_route_all`); `node` is "" for cluster objects; `netns` is
    "host", "pod:<namespace>/<name>" or "" (cluster). `start` is UTC epoch seconds, `duration` seconds, both None when
    unknown. `sample` counts repeated takes of the same id (counters are taken twice): 1 is the first.
    """

    id: str
    path: str
    node: str = ""
    netns: str = "host"
    command: str = ""
    status: Status = Status.OK
    rc: int | None = 0
    start: float | None = None
    duration: float | None = None
    stderr: str = ""
    sha256: str = ""
    why: str = ""
    sample: int = 1


class AbsentReason(Enum):
    NOT_COLLECTED = "not collected"
    FAILED = "the command failed"
    DENIED = "permission denied"
    UNPARSABLE = "not understood"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Doubt:
    """A line that was not understood, or a cut.

    `touches` is what the line could have said, in the kind's own key (a prefix for routes, a chain name for rules,
    a set name, a sysctl key); "" means anything of that kind.
    """

    why: str
    source: SourceRef
    touches: str = ""


@dataclass(frozen=True, slots=True)
class Complete(Generic[T]):
    """All values of this kind at that moment. An empty tuple is evidence of emptiness."""

    values: tuple[T, ...]
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Partial(Generic[T]):
    """Some values. Proves presence, never absence, except where no doubt can touch what is asked."""

    values: tuple[T, ...]
    why: str
    doubts: tuple[Doubt, ...] = ()
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing is known. `detail` is one sentence (rc and first line of stderr for FAILED)."""

    reason: AbsentReason
    detail: str = ""
    artifacts: tuple[Artifact, ...] = ()

    @property
    def values(self) -> tuple[()]:
        return ()


Evidence = Union[Complete[T], Partial[T], Absent]
"""Read `.values` when presence is enough; test for Complete (or look at `.doubts`) before concluding absence."""

NOT_COLLECTED = Absent(AbsentReason.NOT_COLLECTED)


@dataclass(frozen=True, slots=True)
class Unparsed:
    """A line that no parser understood; counted in the bundle's health and shown."""

    source: SourceRef
    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class ParseResult(Generic[T]):
    """What a parser returns: the facts, the lines it did not understand, and how many data lines it saw."""

    values: tuple[T, ...]
    unparsed: tuple[Unparsed, ...] = ()
    lines: int = 0
    truncated: bool = False
    touches: tuple[str, ...] = field(default=())
    """For each entry of `unparsed` the key that it could have touched ("" = anything); may be shorter."""
