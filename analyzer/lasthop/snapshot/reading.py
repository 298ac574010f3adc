"""One artifact and its parser to Evidence: where absence of a fact may be concluded, and where it may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lasthop.bundle import Bundle
from lasthop.facts.evidence import (
    Absent,
    AbsentReason,
    Artifact,
    Complete,
    Doubt,
    Evidence,
    ParseResult,
    Partial,
    SourceRef,
    Status,
    Unparsed,
)

T = TypeVar("T")
Parser = Callable[[str, str], ParseResult[Any]]

_DENIED = re.compile(r"permission denied|operation not permitted|must be root|are you root", re.IGNORECASE)
_INTERRUPTED = re.compile(r"dump was interrupted", re.IGNORECASE)
_NO_SUCH_KIND = re.compile(
    r"doesn't have a resource type|unknown resource|could not find the requested resource|no matches for kind"
    r"|resource type '?\S+'? is not supported|not recognized",
    re.IGNORECASE,
)
_EMPTY_BY_PROOF = frozenset({"not-loaded", "no-tables"})
_NOT_THERE = frozenset({"no-socket", "no-file", "no-interface"})
_STATUS_WORDS = {
    Status.FAILED: "the command failed",
    Status.TIMEOUT: "the command was killed after its time",
    Status.TRUNCATED: "the output was cut",
    Status.ENOSPC: "the node's disk was full",
}


@dataclass(slots=True)
class Reader:
    """Parses artifacts of a bundle, each at most once per parser, and counts what was not understood."""

    bundle: Bundle
    unparsed: list[Unparsed] = field(default_factory=list)
    lines: int = 0
    _results: dict[tuple[Artifact, str], ParseResult[Any]] = field(default_factory=dict)
    _counted: set[tuple[str, int]] = field(default_factory=set)
    _last: tuple[Artifact, str] | None = None

    def text(self, artifact: Artifact) -> str:
        """Several parsers read one file in a row: the last text is kept, so that it is decoded once."""
        if self._last is None or self._last[0] is not artifact:
            self._last = artifact, self.bundle.artifact_text(artifact)
        return self._last[1]

    def parse(self, artifact: Artifact, name: str, parser: Parser) -> ParseResult[Any]:
        """`name` distinguishes the parsers that read the same file (links and addresses of `ip addr`)."""
        key = (artifact, name)
        found = self._results.get(key)
        if found is None:
            found = self._results[key] = parser(self.text(artifact), artifact.path)
            self.lines += found.lines
            for line in found.unparsed:
                self.note(line)
        return found

    def note(self, line: Unparsed) -> None:
        """Counts a line that was not understood, once whoever read it."""
        place = (line.source.path, line.source.line)
        if place not in self._counted:
            self._counted.add(place)
            self.unparsed.append(line)

    def read(self, artifact: Artifact, name: str, parser: Parser, may_be_empty: bool = True) -> Evidence[Any]:
        """The evidence of one artifact. `may_be_empty`: printing nothing with rc 0 means that there is none."""
        blocked = _without_output(artifact)
        if blocked is not None:
            return blocked
        text = self.text(artifact)
        if not text.strip():
            return _nothing_printed(artifact, may_be_empty)
        return self.judge(artifact, self.parse(artifact, name, parser))

    def judge(self, artifact: Artifact, result: ParseResult[Any]) -> Evidence[Any]:
        """Evidence of a parsed artifact: Partial wherever something could be missing."""
        place = SourceRef(artifact.path, 0)
        doubts = [
            Doubt(line.why, line.source, result.touches[at] if at < len(result.touches) else "")
            for at, line in enumerate(result.unparsed)
        ]
        whys = []
        if artifact.status is not Status.OK:
            whys.append(artifact.why or _failure(artifact))
        if result.truncated:
            whys.append("the output ends in the middle")
        if _INTERRUPTED.search(artifact.stderr):
            whys.append("the kernel said that the dump was interrupted and may be inconsistent")
        doubts += [Doubt(why, place) for why in whys]
        if doubts and not result.values and not whys:
            return Absent(AbsentReason.UNPARSABLE, f"{doubts[0].why}: {doubts[0].source.text[:120]}", (artifact,))
        if not doubts:
            return Complete(result.values, (artifact,))
        if not result.values and artifact.status is Status.FAILED:
            return _failed(artifact)
        unread = len(result.unparsed)
        if unread:
            whys.append(f"{unread} line{'s' if unread > 1 else ''} not understood")
        return Partial(result.values, "; ".join(whys), tuple(doubts), (artifact,))


def _without_output(artifact: Artifact) -> Evidence[Any] | None:
    """The evidence of a command that left no output to read, None where there is output."""
    status, why = artifact.status, artifact.why
    if status is Status.SKIPPED:
        if why in _EMPTY_BY_PROOF:
            return Complete((), (artifact,))
        if why in _NOT_THERE:
            return Absent(AbsentReason.NOT_APPLICABLE, _SKIPPED[why], (artifact,))
        said = why if " " in why else _SKIPPED.get(why, why and f"skipped: {why}")
        return Absent(AbsentReason.NOT_COLLECTED, said, (artifact,))
    if status is Status.MISSING:
        tool = artifact.command.split(" ")[0] if artifact.command else "the tool"
        return Absent(AbsentReason.NOT_COLLECTED, f"{tool} is not on this node", (artifact,))
    if status is Status.DENIED:
        return Absent(AbsentReason.DENIED, _first_line(artifact.stderr), (artifact,))
    return None


_SKIPPED = {
    "no-socket": "the daemon's control socket does not exist",
    "no-file": "none of the files exists",
    "no-interface": "no such interface",
    "would-load-module": "running it would have loaded a kernel module",
    "over-cap": "too big to take whole",
    "profile": "the collector's profile leaves it out",
    "deadline": "the collector's time was used up",
    "enospc": "the node's disk was full",
    "interrupted": "the collector was interrupted",
    "no-answer": "the API server or datastore did not answer",
    "no-enter": "the pod's network namespace could not be entered",
}


def _nothing_printed(artifact: Artifact, may_be_empty: bool) -> Evidence[Any]:
    if artifact.status is not Status.OK:
        return _failed(artifact)
    if artifact.rc is None:
        return Absent(AbsentReason.UNPARSABLE, "the file is empty, and nothing says that the command ran", (artifact,))
    if _DENIED.search(artifact.stderr):
        return Absent(AbsentReason.DENIED, _first_line(artifact.stderr), (artifact,))
    if may_be_empty:
        return Complete((), (artifact,))
    return Absent(AbsentReason.UNPARSABLE, "the command printed nothing", (artifact,))


def _failed(artifact: Artifact) -> Absent:
    if _NO_SUCH_KIND.search(artifact.stderr):
        return Absent(AbsentReason.NOT_APPLICABLE, _first_line(artifact.stderr), (artifact,))
    if _DENIED.search(artifact.stderr):
        return Absent(AbsentReason.DENIED, _first_line(artifact.stderr), (artifact,))
    return Absent(AbsentReason.FAILED, artifact.why or _failure(artifact), (artifact,))


def _failure(artifact: Artifact) -> str:
    words = _STATUS_WORDS.get(artifact.status, "the command did not end well")
    rc = f" (rc {artifact.rc})" if artifact.rc not in (None, 0) else ""
    line = _first_line(artifact.stderr)
    return f"{words}{rc}" + (f": {line}" if line else "")


def _first_line(text: str) -> str:
    return next((line.strip()[:200] for line in text.split("\n") if line.strip()), "")


def best(candidates: Sequence[Evidence[Any]]) -> Evidence[Any] | None:
    """The first of the strongest: Complete before Partial before an Absent that says why; None for none."""
    for wanted in (Complete, Partial):
        for evidence in candidates:
            if isinstance(evidence, wanted):
                return evidence
    told = [e for e in candidates if isinstance(e, Absent) and e.reason is not AbsentReason.NOT_COLLECTED]
    return told[0] if told else (candidates[0] if candidates else None)


def keep(evidence: Evidence[Any], wanted: Callable[[Any], bool]) -> Evidence[Any]:
    """The same evidence with only the values that `wanted` accepts."""
    if isinstance(evidence, Complete):
        return Complete(tuple(v for v in evidence.values if wanted(v)), evidence.artifacts)
    if isinstance(evidence, Partial):
        return Partial(
            tuple(v for v in evidence.values if wanted(v)), evidence.why, evidence.doubts, evidence.artifacts
        )
    return evidence


def with_doubt(evidence: Evidence[Any], why: str, touches: str = "") -> Evidence[Any]:
    """The same values, no longer proof of absence of what `touches` names."""
    if isinstance(evidence, Absent):
        return evidence
    path = evidence.artifacts[0].path if evidence.artifacts else ""
    before = evidence.doubts if isinstance(evidence, Partial) else ()
    said = f"{evidence.why}; {why}" if isinstance(evidence, Partial) and evidence.why else why
    return Partial(evidence.values, said, (*before, Doubt(why, SourceRef(path, 0), touches)), evidence.artifacts)


def joined(parts: Sequence[Evidence[Any]]) -> Evidence[Any] | None:
    """All parts together: Complete if every one is, Absent if every one is (the first), else Partial. None for none."""
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    values = tuple(value for part in parts for value in part.values)
    artifacts = tuple(artifact for part in parts for artifact in part.artifacts)
    if all(isinstance(part, Complete) for part in parts):
        return Complete(values, artifacts)
    if all(isinstance(part, Absent) for part in parts):
        return parts[0]
    doubts: list[Doubt] = []
    whys: list[str] = []
    for part in parts:
        if isinstance(part, Partial):
            doubts.extend(part.doubts)
            whys.append(part.why)
        elif isinstance(part, Absent):
            why = part.detail or part.reason.value
            path = part.artifacts[0].path if part.artifacts else ""
            doubts.append(Doubt(why, SourceRef(path, 0)))
            whys.append(why)
    return Partial(values, "; ".join(dict.fromkeys(whys)), tuple(doubts), artifacts)
