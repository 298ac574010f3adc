"""`open_bundle`: inputs of any kind to one Bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lasthop.errors import BundleError
from lasthop.facts.evidence import Status

from .budget import Budget, Meter
from .containers import open_trees
from .loose import read_loose
from .members import Member, Tree
from .model import Bundle
from .native import Part, is_native, read_native, tell_failed_nodes

DEFAULT = Budget()


def open_bundle(paths: Sequence[Path], budget: Budget = DEFAULT) -> Bundle:
    """Reads and merges the inputs; nothing is extracted, nothing is written.

    A node that is there twice counts once, the newest, with a warning; so do the cluster objects. Raises BundleError
    when an input cannot be opened, or when nothing in any of them is evidence; BundleRefused when a limit was reached
    before anything was read.
    """
    if not paths:
        raise BundleError("No bundle was named.")
    meter = Meter(budget)
    trees = _together([tree for path in paths for tree in open_trees(Path(path), meter)])
    for tree in trees:
        tree.strip_top()
        tell_failed_nodes(tree)
    loose = [tree for tree in trees if tree.members and not is_native(tree)]
    parts: list[Part] = []
    for tree in trees:
        if not tree.members:
            parts.append(Part("", warnings=list(tree.warnings)))
        elif is_native(tree):
            parts.extend(read_native(tree))
        else:
            if len(loose) > 1:
                _prefix(tree)
            parts.extend(read_loose(tree))
    bundle = _merge(parts, trees, budget)
    bundle.inputs = tuple(str(path) for path in paths)
    if not (bundle.artifacts or bundle.captures or bundle.meta or _started(bundle)):
        names = ", ".join(str(path) for path in paths)
        detail = f" ({bundle.warnings[0]})" if bundle.warnings else ""
        raise BundleError(f"{names}: nothing in it is evidence that is understood{detail}.")
    return bundle


def _started(bundle: Bundle) -> bool:
    """A bundle of the collector that was cut before its first evidence: it says nothing, and is one all the same."""
    ours = ("bundle.json", "SHA256SUMS", "COLLECTOR.log", "nodes/", "cluster/")
    return any(path.startswith(ours) and not member.cut for path, member in bundle.members.items())


def _together(trees: list[Tree]) -> list[Tree]:
    """Single files given side by side are one collection of outputs, not one bundle each."""
    single = [tree for tree in trees if tree.single]
    if len(single) < 2:
        return trees
    first = single[0]
    first.label = "bundle"
    for tree in single[1:]:
        for member in tree.members.values():
            first.add(member)
        first.warnings.extend(tree.warnings)
    return [tree for tree in trees if tree is first or not tree.single]


def _prefix(tree: Tree) -> None:
    """Several loose inputs may use the same names: each gets its label as a folder."""
    for member in tree.members.values():
        member.path = f"{tree.label}/{member.path}"
    tree.members = {member.path: member for member in tree.members.values()}
    tree.aliases = {f"{tree.label}/{alias}": f"{tree.label}/{target}" for alias, target in tree.aliases.items()}


def _merge(parts: list[Part], trees: list[Tree], budget: Budget) -> Bundle:
    chosen: dict[str, Part] = {}
    warnings: list[str] = []
    unrecognised: list[str] = []
    members: dict[str, Member] = {}
    for part in parts:
        warnings.extend(part.warnings)
        unrecognised.extend(part.unrecognised)
        previous = chosen.get(part.node)
        if previous is None or not (previous.artifacts or previous.captures or previous.meta):
            chosen[part.node] = part
        elif not part.node:
            chosen[""] = _merge_cluster(previous, part)
        elif (followed := _follow_up(previous, part)) is not None:
            chosen[part.node] = followed
        elif part.artifacts or part.captures or part.meta:
            newer = part if (part.start or 0.0) > (previous.start or 0.0) else previous
            chosen[part.node] = newer
            warnings.append(f"Node {part.node} is in the bundle more than once; the newest state is used.")
    for part in parts:
        if part is not chosen.get(part.node):
            for path, member in part.members.items():
                members.setdefault(path, member)
    kept = list(chosen.values())
    for part in kept:
        members.update(part.members)
    for tree in trees:
        for alias in tree.aliases:
            found = tree.resolve(alias)
            if found is not None:
                members.setdefault(alias, found)
    nodes = [part for part in kept if part.node]
    questions = dict.fromkeys(q for part in kept for q in part.questions)
    return Bundle(
        artifacts=tuple(a for part in kept for a in part.artifacts),
        captures=tuple(c for part in kept for c in part.captures),
        meta={part.node: part.meta for part in nodes},
        pods={part.node: part.pods for part in nodes},
        questions=tuple(questions),
        warnings=tuple(dict.fromkeys(warnings)),
        unrecognised=tuple(dict.fromkeys(unrecognised)),
        spans={artifact: span for part in kept for artifact, span in part.spans.items()},
        members=members,
        budget=budget,
    )


def _follow_up(one: Part, other: Part) -> Part | None:
    """A run with `--only` after a whole one, of the same boot: its good lines replace the older lines of the same path
    and everything else stands (docs/bundle-format.md section 9). None when the two are not such a pair."""
    older, newer = sorted((one, other), key=lambda part: part.start or 0.0)
    if not newer.meta.get("only") or older.meta.get("only"):
        return None
    boot = newer.meta.get("boot_id")
    if not boot or older.meta.get("boot_id") != boot:
        return None
    good = {artifact.path: artifact for artifact in newer.artifacts if artifact.status is Status.OK and artifact.path}
    merged = replace(older)
    merged.artifacts = [artifact for artifact in older.artifacts if artifact.path not in good]
    known = {(artifact.netns, artifact.id) for artifact in merged.artifacts}
    merged.artifacts += [
        artifact
        for artifact in newer.artifacts
        if good.get(artifact.path) is artifact or (artifact.netns, artifact.id) not in known
    ]
    merged.captures = older.captures + newer.captures
    merged.members = {**newer.members, **older.members, **{path: newer.members[path] for path in good.keys()
                                                           & newer.members.keys()}}  # fmt: skip
    merged.spans = {**older.spans, **newer.spans}
    merged.pods = {**newer.pods, **older.pods}
    merged.questions = older.questions + newer.questions
    merged.warnings = older.warnings
    return merged


def _merge_cluster(one: Part, other: Part) -> Part:
    """Cluster objects may come with every node's bundle: of each list the newest that was taken well is used."""
    older, newer = sorted((one, other), key=lambda part: part.start or 0.0)
    merged = Part("", start=newer.start, questions=older.questions + newer.questions)
    merged.captures = older.captures + newer.captures
    merged.members = {**older.members, **newer.members}
    merged.spans = {**older.spans, **newer.spans}
    lists = {(artifact.id, artifact.path or artifact.id): artifact for artifact in older.artifacts}
    for artifact in newer.artifacts:
        key = (artifact.id, artifact.path or artifact.id)
        before = lists.get(key)
        if before is not None and before.status is Status.OK and artifact.status is not Status.OK:
            if before.path in older.members:
                merged.members[before.path] = older.members[before.path]
            continue
        lists[key] = artifact
    merged.artifacts = list(lists.values())
    return merged
