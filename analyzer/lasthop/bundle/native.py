"""The product's own layout (docs/bundle-format.md): index lines say what each file is and how its command ended."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from lasthop.facts.evidence import Artifact, Status
from lasthop.facts.snapshot import Capture, Question

from .budget import is_capture_name
from .framed import unescape
from .members import Member, Tree, show_name

FORMAT = "lasthop.bundle/1"
_NODE_FILE = re.compile(r"^nodes/([^/]+)/(.+)$")
_STATUS = {status.value: status for status in Status}


@dataclass(slots=True)
class Part:
    """One node's (or the cluster's) share of one tree, not yet merged with others of the same node."""

    node: str
    start: float | None = None
    artifacts: list[Artifact] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    pods: dict[str, dict[str, str]] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unrecognised: list[str] = field(default_factory=list)
    members: dict[str, Member] = field(default_factory=dict)
    spans: dict[Artifact, tuple[int, int]] = field(default_factory=dict)


def is_native(tree: Tree) -> bool:
    """The tree has the layout of the format page: an index, a node.meta or a bundle.json where that page puts them."""
    return any(
        path in ("bundle.json", "cluster/index.tsv")
        or (path.startswith("nodes/") and path.count("/") == 2 and path.endswith(("/node.meta", "/index.tsv")))
        for path in tree.members
    )


def read_native(tree: Tree) -> list[Part]:
    """One Part per node folder, and one with node "" for `cluster/` where there is one."""
    folders: dict[str, dict[str, Member]] = {}
    loose: list[str] = []
    warnings = list(tree.warnings)
    for path, member in tree.members.items():
        match = _NODE_FILE.match(path)
        if match:
            folders.setdefault(match.group(1), {})[match.group(2)] = member
        elif path.startswith("cluster/"):
            folders.setdefault("", {})[path.removeprefix("cluster/")] = member
        elif path not in ("bundle.json", "SHA256SUMS", "COLLECTOR.log"):
            loose.append(path)
    warnings += _format_warnings(tree)
    parts = [_node_part(node, files, tree) if node else _cluster_part(files, tree) for node, files in folders.items()]
    _give_to_node(parts)
    holder = parts[0] if parts else Part("")
    if not parts:
        parts = [holder]
    holder.warnings = warnings + holder.warnings
    holder.unrecognised += loose
    holder.members = {path: m for path, m in tree.members.items() if not path.startswith(("nodes/", "cluster/"))} | (
        holder.members
    )
    clock = max((part.start for part in parts if part.start is not None), default=None)
    for part in parts:
        if not part.node:
            part.start = clock
    return parts


_OF_ONE_NODE = frozenset({"calico_node_status"})
"""Outputs that lie in cluster/ because calicoctl makes them, and that speak of the node where it ran."""


def _give_to_node(parts: list[Part]) -> None:
    """In the bundle of one node, what calicoctl says of "the node" is of that node."""
    nodes = [part for part in parts if part.node]
    cluster = next((part for part in parts if not part.node), None)
    if cluster is None or len(nodes) != 1:
        return
    owner = nodes[0]
    for artifact in [a for a in cluster.artifacts if a.id in _OF_ONE_NODE]:
        cluster.artifacts.remove(artifact)
        path = f"nodes/{owner.node}/{artifact.path}" if artifact.path else ""
        for end in (".out", ".err"):
            member = cluster.members.get(artifact.path.removesuffix(".out") + end)
            if member is not None:
                owner.members[path.removesuffix(".out") + end] = member
        owner.artifacts.append(replace(artifact, node=owner.node, netns="host", path=path))


def _format_warnings(tree: Tree) -> list[str]:
    member = tree.members.get("bundle.json")
    if member is None:
        return [f"{tree.label}: no bundle.json, the collector was interrupted or killed; what is there is used."]
    try:
        head = json.loads(member.read())
    except (ValueError, RecursionError):
        return [f"{tree.label}: bundle.json is damaged."]
    found = head.get("format") if isinstance(head, dict) else None
    if found != FORMAT:
        return [f"{tree.label}: its format is {str(found)[:60]!r}, not {FORMAT!r}; read as far as it is understood."]
    return []


def tell_failed_nodes(tree: Tree) -> None:
    """Takes the records of nodes that gave nothing (`FAILED/<node>.txt`) out of the tree and keeps them as warnings."""
    for path in [path for path in tree.members if path.startswith("FAILED/")]:
        node = path.removeprefix("FAILED/").removesuffix(".txt")
        said = _first_line(tree.members.pop(path))
        tree.warn(f"Nothing was collected from node {node}" + (f": {show_name(said)}" if said else "."))


def _first_line(member: Member) -> str:
    return member.read()[:300].decode("utf-8", "replace").strip().split("\n")[0]


def _cluster_part(files: Mapping[str, Member], tree: Tree) -> Part:
    part = Part("")
    _read_folder(part, files, "cluster", "", tree)
    starts = [a.start for a in part.artifacts if a.start is not None]
    part.start = max(starts, default=None)
    return part


def _node_part(folder: str, files: Mapping[str, Member], tree: Tree) -> Part:
    meta = read_meta(files["node.meta"]) if "node.meta" in files else {}
    part = Part(folder, meta=meta)
    part.start = _float(meta.get("start_epoch"))
    if "node.meta" not in files:
        part.warnings.append(f"Node {folder}: no node.meta, its clocks are unknown.")
    elif meta.get("status") == "running":
        part.warnings.append(f"Node {folder}: the collector was killed before it ended.")
    elif meta.get("status") == "interrupted":
        part.warnings.append(f"Node {folder}: the collector was interrupted.")
    if meta.get("format", FORMAT) != FORMAT:
        part.warnings.append(f"Node {folder}: format {meta['format'][:60]!r}; read as far as it is understood.")
    names: dict[str, str] = {}
    for path, member in files.items():
        match = re.fullmatch(r"pods/([^/]+)/pod\.meta", path)
        if match:
            pod = read_meta(member)
            name = f"{pod['namespace']}/{pod['name']}" if "namespace" in pod and "name" in pod else ""
            names[match.group(1)] = name or folder_pod(match.group(1))
            part.pods[names[match.group(1)]] = pod
    _read_folder(part, files, f"nodes/{folder}", folder, tree, names)
    part.questions = _questions(meta)
    return part


def folder_pod(folder: str) -> str:
    """ "namespace/name" of a pod's folder; namespaces cannot hold "_". A folder without one is an unnamed netns."""
    namespace, _, name = folder.partition("_")
    return f"{namespace}/{name}" if namespace and name else f"{folder}"


def _questions(meta: Mapping[str, str]) -> list[Question]:
    src, dst = meta.get("question_from", ""), meta.get("question_to", "")
    if not (src or dst):
        return []
    port = meta.get("question_port", "")
    return [
        Question(
            src,
            dst,
            (meta.get("question_proto") or "tcp").lower(),
            int(port) if port.isdigit() else None,
            "collected-for",
        )
    ]


def read_meta(member: Member) -> dict[str, str]:
    """key=value lines. A repeated key is a list joined by a newline, except those of which the last one counts."""
    values: dict[str, str] = {}
    text = member.read().decode("utf-8", "replace")
    for line in text.split("\n"):
        key, equals, value = line.rstrip("\r").partition("=")
        if not equals:
            continue
        value = unescape(value)
        last_wins = key.startswith(("end_", "fingerprint_")) or key in ("status", "exit")
        values[key] = value if last_wins or key not in values else f"{values[key]}\n{value}"
    return values


def _float(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < 1e12 else None


def _read_folder(
    part: Part, files: Mapping[str, Member], base: str, node: str, tree: Tree, names: Mapping[str, str] | None = None
) -> None:
    names = names or {}
    seen: set[str] = set()
    found: dict[tuple[str, str], Artifact] = {}
    rows = {(row.get("path", "-").rpartition("/")[0], row["id"]): row for row in _index_rows(files.get("index.tsv"))}
    for row in rows.values():  # a later line of the same id (a retry) has replaced the earlier one
        path = row.get("path", "-")
        relative = "" if path == "-" else path
        member = files.get(relative) if relative else None
        artifact = _from_row(row, base, node, relative, names)
        if relative:
            seen.update((relative, relative.removesuffix(".out") + ".err"))
        if relative and is_capture_name(relative):
            if member is not None:
                part.captures.append(_capture(base, node, relative, member, files))
            continue
        artifact = _judge(artifact, row, member, files, tree, part)
        found[(artifact.netns, row["id"])] = artifact
    for relative, member in files.items():
        if relative in seen or relative in ("index.tsv", "node.meta") or relative.endswith((".meta", ".err")):
            continue
        if relative.startswith("fingerprint_") or relative == "observer_diff.txt":
            continue
        if is_capture_name(relative):
            part.captures.append(_capture(base, node, relative, member, files))
        elif relative.endswith(".out"):
            identity, sample = _sample(relative.rsplit("/", 1)[-1].removesuffix(".out"))
            netns = _netns(relative, node, names)
            found[(netns, relative)] = Artifact(
                identity, f"{base}/{relative}", node, netns, status=Status.FAILED, rc=None, sample=sample,
                why="the index has no line for it, so it is not known whether the command ended well",
            )  # fmt: skip
        else:
            part.unrecognised.append(f"{base}/{relative}")
    part.artifacts.extend(found.values())
    part.members.update({f"{base}/{relative}": member for relative, member in files.items()})


def _index_rows(member: Member | None) -> list[dict[str, str]]:
    if member is None:
        return []
    lines = member.read().decode("utf-8", "replace").split("\n")
    header = lines[0].split("\t")
    rows = []
    for line in lines[1:-1]:  # what follows the last LF is a line that was being written
        row = dict(zip(header, (unescape(f) for f in line.split("\t")), strict=False))
        if row.get("id"):
            rows.append(row)
    return rows


def _sample(identity: str) -> tuple[str, int]:
    return (identity.removesuffix("_t2"), 2) if identity.endswith("_t2") else (identity, 1)


def _netns(relative: str, node: str, names: Mapping[str, str]) -> str:
    if not node:
        return ""
    match = re.match(r"pods/([^/]+)/", relative)
    if match:
        return "pod:" + names.get(match.group(1), folder_pod(match.group(1)))
    return "host"


def _from_row(row: Mapping[str, str], base: str, node: str, relative: str, names: Mapping[str, str]) -> Artifact:
    word, _, why = row.get("status", "rc").partition(":")
    identity, sample = _sample(row["id"])
    rc = row.get("rc", "-")
    duration = _float(row.get("duration_ms"))
    sha = row.get("sha256", "-")
    return Artifact(
        identity, f"{base}/{relative}" if relative else "", node, _netns(relative, node, names),
        command="" if row.get("command", "-") == "-" else row["command"],
        status=_STATUS.get(word, Status.FAILED),
        rc=int(rc) if rc.lstrip("-").isdigit() and len(rc) < 6 else None,
        start=_float(row.get("start")), duration=None if duration is None else duration / 1000,
        sha256="" if sha == "-" else sha, why=why, sample=sample,
    )  # fmt: skip


def _judge(
    artifact: Artifact,
    row: Mapping[str, str],
    member: Member | None,
    files: Mapping[str, Member],
    tree: Tree,
    part: Part,
) -> Artifact:
    """The artifact with its stderr, and degraded where the file is missing, cut or not what the index recorded."""
    relative = row.get("path", "-")
    status, why, stderr = artifact.status, artifact.why, ""
    error = files.get(relative.removesuffix(".out") + ".err")
    if error is not None:
        stderr = error.read()[:4096].decode("utf-8", "replace")
    if member is None:
        if status in (Status.OK, Status.FAILED, Status.TIMEOUT, Status.TRUNCATED) and artifact.path:
            lost = "larger than the reader's limit" if artifact.path in tree.skipped else "not in the bundle"
            why, status = f"the index lists it as {row.get('status', '')!r}, but the file is {lost}", Status.SKIPPED
    elif member.cut:
        status, why = Status.TRUNCATED, "the archive ends inside this file"
    elif row.get("bytes", "-").isdigit() and int(row["bytes"]) != member.size:
        status, why = Status.TRUNCATED, f"the file has {member.size} bytes, the index recorded {row['bytes']}"
        part.warnings.append(f"{artifact.path}: {why}.")
    elif artifact.sha256 and hashlib.sha256(member.read()).hexdigest() != artifact.sha256:
        status, why = Status.TRUNCATED, "its sha256 is not the one that the index recorded: changed after collection"
        part.warnings.append(f"{artifact.path}: {why}.")
    if (status, why, stderr) == (artifact.status, artifact.why, artifact.stderr):
        return artifact
    return replace(artifact, status=status, why=why, stderr=stderr)


def _capture(base: str, node: str, relative: str, member: Member, files: Mapping[str, Member]) -> Capture:
    stem = relative.rsplit(".", 1)[0]
    meta_member = files.get(stem + ".meta")
    meta = read_meta(meta_member) if meta_member is not None else {}
    name = stem.rsplit("/", 1)[-1]
    interface, netns = meta.get("interface", ""), "host"
    if meta.get("netns") == "pod" and meta.get("pod"):
        netns = f"pod:{meta['pod']}"
    elif name.startswith("pod_") and "netns" not in meta:
        netns, guessed = capture_pod(name)
        interface = interface or guessed
    drops = meta.get("dropped_kernel", "")
    snaplen = meta.get("snaplen", "")
    return Capture(
        node, netns, interface or name, f"{base}/{relative}", member.size, meta.get("filter", ""),
        int(snaplen) if snaplen.isdigit() else None, _float(meta.get("start")), _float(meta.get("end")),
        int(drops) if drops.isdigit() else None,
        why="" if not member.cut else "the archive ends inside this capture",
    )  # fmt: skip


def capture_pod(name: str) -> tuple[str, str]:
    """(netns, interface) of a capture file's name `pod_<ns>_<pod>_<interface>`."""
    pieces = name.removeprefix("pod_").split("_", 2)
    if len(pieces) == 3:
        return f"pod:{pieces[0]}/{pieces[1]}", pieces[2]
    return "host", name
