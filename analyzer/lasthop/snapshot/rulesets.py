"""iptables rulesets of both back ends: which dump is of which, and when a back end is known to hold nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from lasthop.facts.evidence import Absent, AbsentReason, Artifact, Complete, Evidence, ParseResult, Status
from lasthop.facts.netfilter import Ruleset

from .kinds import Place
from .reading import best, with_doubt

KEYS: tuple[tuple[str, int], ...] = (("nft", 4), ("legacy", 4), ("nft", 6), ("legacy", 6))
_LEGACY_PRESENT = re.compile(r"ip6?tables-legacy tables present")
_NFT_TABLE = {
    4: re.compile(r"^table ip (?:filter|nat|mangle|raw|security) \{", re.MULTILINE),
    6: re.compile(r"^table ip6 (?:filter|nat|mangle|raw|security) \{", re.MULTILINE),
}


def ruleset(place: Place, backend: str, family: int, default_backend: str = "") -> Evidence[Ruleset]:
    """One back end's dump of one family. Absent(NOT_APPLICABLE) where it is proved that this back end has no table.

    `default_backend` is what the plain `iptables-save` of this node is where its output does not tell ("" unknown).
    """
    six = "6" if family == 6 else ""
    own = _read(place, f"ip{six}tables_{backend}_save", backend, family)
    if own is not None and not isinstance(own, Absent):
        return _marked(place, own, backend)
    plain = _plain(place, backend, family, default_backend)
    if plain is not None and not isinstance(plain, Absent):
        return _marked(place, plain, backend)
    empty = _proved_empty(place, backend, family, default_backend)
    if empty is not None:
        return empty
    found = best([e for e in (own, plain) if e is not None])
    if found is not None and not (
        isinstance(found, Absent) and found.reason is AbsentReason.NOT_COLLECTED and not found.detail
    ):
        return found
    fragments = place.artifacts.get("iptables_fragment", ())
    if fragments and family == 4:
        return Absent(AbsentReason.UNPARSABLE, "rules without their tables and chains", tuple(fragments))
    return Absent(AbsentReason.NOT_COLLECTED, _missing(place, backend, family))


def _marked(place: Place, evidence: Evidence[Ruleset], backend: str) -> Evidence[Ruleset]:
    """iptables-nft-save prints a rule that nft itself added to its tables without the conditions that it cannot
    express: such rules, as `nft list ruleset` shows them, are marked as not understood."""
    if backend == "nft":
        from lasthop.parsers.iptables import LazyRuleset
        from lasthop.parsers.nft import native_rules

        def parse(text: str, path: str) -> ParseResult[frozenset[tuple[int, str, str, int]]]:
            return ParseResult((native_rules(text),), (), 0)

        for artifact in place.artifacts.get("nft_ruleset", ()):
            (native,) = place.reader.parse(artifact, "native rules", parse).values
            for found in evidence.values:
                if isinstance(found, LazyRuleset):
                    found.mark_native(native)
    return evidence


def plain_backend(place: Place, family: int = 4) -> str:
    """What the plain iptables-save is ("nft", "legacy", ""): by its header, or because the other has its own dump."""
    from lasthop.parsers.iptables import detect_backend

    six = "6" if family == 6 else ""
    for artifact in place.artifacts.get(f"ip{six}tables_save", ()):
        detected = detect_backend(place.reader.text(artifact)[:8192])
        if detected:
            return detected
        if _LEGACY_PRESENT.search(artifact.stderr):
            return "nft"
    if f"ip{six}tables_legacy_save" in place.artifacts and f"ip{six}tables_nft_save" not in place.artifacts:
        return "nft"
    if f"ip{six}tables_nft_save" in place.artifacts and f"ip{six}tables_legacy_save" not in place.artifacts:
        return "legacy"
    return ""


def _read(place: Place, identity: str, backend: str, family: int) -> Evidence[Ruleset] | None:
    from lasthop.parsers.iptables import LazyRuleset, parse_iptables_save

    def parse(text: str, path: str) -> ParseResult[LazyRuleset]:
        return parse_iptables_save(text, path, backend, family)

    takes: list[Evidence[Any]] = []
    for artifact in place.artifacts.get(identity, ()):
        if artifact.status is Status.SKIPPED and artifact.why in ("not-loaded", "no-tables"):
            why = "the kernel has no such tables" if artifact.why == "no-tables" else "the subsystem is not loaded"
            return Absent(AbsentReason.NOT_APPLICABLE, why, (artifact,))
        takes.append(_one(place.reader.read(artifact, f"ruleset {backend}", parse), family, artifact))
        if isinstance(takes[-1], Complete):
            break
    return best(takes)


def _one(evidence: Evidence[Any], family: int, artifact: Artifact) -> Evidence[Ruleset]:
    """At most one ruleset, the last of its family; with doubts for tables that were cut or left out."""
    if isinstance(evidence, Absent) or not evidence.values:
        return evidence
    of_family = [found for found in evidence.values if found.family == family]
    if not of_family:
        return Absent(AbsentReason.UNPARSABLE, f"{artifact.path} holds no IPv{family} ruleset", (artifact,))
    chosen = of_family[-1]
    evidence = replace(evidence, values=(chosen,))
    for table in sorted(chosen.left_out):
        evidence = with_doubt(
            evidence, f"iptables-nft-save left out table {table}: nft made changes that it cannot show"
        )
    return evidence


def _plain(place: Place, backend: str, family: int, default: str) -> Evidence[Ruleset] | None:
    six = "6" if family == 6 else ""
    if f"ip{six}tables_save" not in place.artifacts:
        return None
    detected = plain_backend(place, family) or (plain_backend(place) if family == 6 else "") or default
    if detected:
        return _read(place, f"ip{six}tables_save", detected, family) if detected == backend else None
    if backend != "nft":
        return None
    found = _read(place, f"ip{six}tables_save", "nft", family)
    if found is None or isinstance(found, Absent) or not found.values:
        return found
    return with_doubt(found, "its header does not tell whether this is the nft or the legacy back end")


def _proved_empty(place: Place, backend: str, family: int, default: str) -> Evidence[Ruleset] | None:
    if backend == "legacy":
        return _no_legacy(place, family, default)
    for artifact in place.artifacts.get("nft_ruleset", ()):
        if artifact.status is Status.SKIPPED and artifact.why == "not-loaded":
            return Absent(AbsentReason.NOT_APPLICABLE, "nf_tables is not loaded", (artifact,))
        if (
            artifact.status is Status.OK
            and artifact.rc == 0
            and not _NFT_TABLE[family].search(place.reader.text(artifact))
        ):
            return Absent(AbsentReason.NOT_APPLICABLE, "nft lists no table of iptables", (artifact,))
    return None


def _no_legacy(place: Place, family: int, default: str) -> Evidence[Ruleset] | None:
    six = "6" if family == 6 else ""
    for artifact in place.artifacts.get(f"ip{six}_tables_names", ()):
        if artifact.status is Status.SKIPPED and artifact.why == "no-file":
            return Absent(AbsentReason.NOT_APPLICABLE, "the kernel has no legacy tables", (artifact,))
        if place.reader.text(artifact).strip():
            return None
        if artifact.status is Status.OK and artifact.rc == 0:
            return Absent(AbsentReason.NOT_APPLICABLE, "no legacy table exists", (artifact,))
    # iptables-nft-save looks at the same file and says so on stderr; its silence counts only where stderr was kept
    for identity in (f"ip{six}tables_nft_save", f"ip{six}tables_save"):
        for artifact in place.artifacts.get(identity, ()):
            if artifact.rc != 0 or artifact.status is not Status.OK:
                continue
            text = place.reader.text(artifact)
            plain = identity == f"ip{six}tables_save"
            is_nft = "(nf_tables)" in text[:4096] or (plain and not text.strip() and default == "nft")
            if is_nft and not _LEGACY_PRESENT.search(artifact.stderr):
                return Absent(AbsentReason.NOT_APPLICABLE, "iptables-nft-save saw no legacy table", (artifact,))
    return None


def _missing(place: Place, backend: str, family: int) -> str:
    six = "6" if family == 6 else ""
    if backend == "legacy":
        for artifact in place.artifacts.get(f"ip{six}_tables_names", ()):
            names = place.reader.text(artifact).split()
            if names:
                return f"legacy tables exist ({', '.join(names[:8])}) and were not dumped"
        for identity in (f"ip{six}tables_nft_save", f"ip{six}tables_save"):
            for artifact in place.artifacts.get(identity, ()):
                if _LEGACY_PRESENT.search(artifact.stderr):
                    return "iptables-nft-save said that legacy tables are present, and they were not dumped"
    return f"no dump of the {backend} back end (IPv{family})"
