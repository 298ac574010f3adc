"""`ipset save` and `ipset list` (plain and `-o save`), ipset 6 and 7."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.netfilter import IpSet, SetEntry

from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, number

_PARTS = re.compile(r"(?:\[[^\]]*\]|[^,\[])+")
_FLAGS = frozenset(("counters", "comment", "skbinfo", "forceadd", "nomatch"))
_ENTRY_VALUED = frozenset(("packets", "bytes", "skbmark", "skbprio", "skbqueue", "before", "after"))


@dataclass(slots=True)
class _Draft:
    name: str
    source: SourceRef
    type: str = ""
    options: list[tuple[str, str]] = field(default_factory=list)
    entries: list[SetEntry] = field(default_factory=list)
    complete: bool = True
    declared: int | None = None


def _options(words: list[str]) -> list[tuple[str, str]]:
    """`family inet hashsize 1024 maxelem 65536 timeout 30 counters` as pairs; flags have value ""."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word in _FLAGS:
            found.append((word, ""))
        elif at < len(words):
            found.append((word, words[at]))
            at += 1
        else:
            raise Strange(f"nothing behind {word[:40]!r}")
    return found


def _entry(element: str, rest: str, source: SourceRef) -> SetEntry:
    """One element; `rest` is what stands behind it (timeout, nomatch, counters, a quoted comment)."""
    if "," in element:
        parts = tuple(_PARTS.findall(element))
        if "[" in element and ",".join(parts) != element:
            raise Strange("unbalanced brackets")
    else:
        parts = (element,)
    if not rest:
        return SetEntry(parts, source=source)
    nomatch, timeout = False, None
    bare, _, quoted = rest.partition(' comment "')
    if rest.startswith('comment "'):
        bare, quoted = "", rest
    words = bare.split()
    # A comment may hold spaces; what stands behind its closing quote are options again.
    words += quoted.rpartition('"')[2].split() if quoted else []
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == "nomatch":
            nomatch = True
        elif word == "timeout":
            timeout, at = number(words[at]), at + 1
        elif word in _ENTRY_VALUED:
            at += 1
        else:
            raise Strange(f"unknown word {word[:40]!r}")
    return SetEntry(parts, nomatch, timeout, source)


def _finish(draft: _Draft) -> IpSet:
    families = {"inet": 4, "inet6": 6}
    options = dict(draft.options)
    family = families.get(options.get("family", ""), 0)
    if not family and draft.type.startswith(("hash:ip", "hash:net", "bitmap:ip")):
        family = 4
    complete = draft.complete and (draft.declared is None or draft.declared <= len(draft.entries))
    return IpSet(
        draft.name, draft.type, family, tuple(draft.entries), draft.source, tuple(draft.options), complete=complete
    )


def parse_ipsets(text: str, path: str) -> ParseResult[IpSet]:
    """Sets with their members, from `create`/`add` lines, `Name:`/`Members:` stanzas or a mix of both.

    A member line that is not understood makes its set incomplete and touches its name. An `add` to a set that was
    not created in this text makes a set of type "" that is incomplete. `lines` counts every line but blank ones.
    """
    builder: ResultBuilder[IpSet] = ResultBuilder(path, "ipsets")
    drafts: dict[str, _Draft] = {}
    listed: _Draft | None = None
    in_members = False
    for count, line in numbered(text):
        if not line or line.isspace():
            listed, in_members = None, False
            continue
        stripped = line.strip()
        if stripped[0] == "#":
            continue
        builder.lines += 1
        touches = ""
        try:
            if stripped.startswith("add "):
                parts = stripped.split(" ", 3)
                touches = parts[1]
                draft = drafts.get(touches)
                if draft is None:
                    draft = drafts[touches] = _Draft(touches, cite(path, count, line), complete=False)
                rest = parts[3] if len(parts) > 3 else ""
                draft.entries.append(_entry(parts[2], rest, SourceRef(path, count, stripped)))
                listed = None
            elif stripped.startswith("create "):
                words = stripped.split()
                touches = words[1]
                draft = drafts.setdefault(touches, _Draft(touches, cite(path, count, line)))
                draft.type, draft.source, draft.complete = words[2], cite(path, count, line), True
                draft.options = _options(words[3:])
                listed = None
            elif listed is not None and in_members and not stripped.startswith("Name: "):
                touches = listed.name
                element, _, rest = stripped.partition(" ")
                listed.entries.append(_entry(element, rest.strip(), SourceRef(path, count, stripped)))
            elif stripped.startswith("Name: "):
                touches = stripped[6:].strip()
                listed = drafts[touches] = _Draft(touches, cite(path, count, line), complete=False)
                in_members = False
            elif listed is not None and ":" in stripped:
                touches = listed.name
                key, _, value = stripped.partition(":")
                value = value.strip()
                if key == "Type":
                    listed.type = value
                elif key == "Header":
                    listed.options = _options(value.split())
                elif key == "Members":
                    in_members = listed.complete = True
                elif key == "Number of entries":
                    listed.declared = number(value)
                elif key not in ("Revision", "Size in memory", "References", "Default"):
                    raise Strange(f"unknown heading {key[:40]!r}")
            else:
                raise Strange("not a line of ipset save or ipset list")
        except STRANGE as error:
            if touches in drafts:
                drafts[touches].complete = False
            builder.reject(count, line, str(error)[:200] or "not understood", touches)
    builder.values.extend(_finish(draft) for draft in drafts.values())
    builder.truncated = any(
        draft.declared is not None and len(draft.entries) < draft.declared for draft in drafts.values()
    )
    return builder.result()
