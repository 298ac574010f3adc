"""A plain folder or archive of command outputs, as customers send them: each file is recognised by a command list where
there is one, else as a terminal transcript, else by its name, else by its content.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from lasthop.facts.evidence import Artifact, Status
from lasthop.facts.snapshot import Capture

from .budget import is_capture_name
from .commands import Command, identify_command
from .kinds import objects_in
from .members import LAYOUT_FOLDERS, Member, Tree
from .model import decode
from .names import identify_name
from .native import Part, capture_pod, folder_pod
from .sniff import sniff, starts_like_capture
from .transcript import split_transcript

_LISTS = re.compile(r"(?:^|/)commands?\.tsv$", re.IGNORECASE)
_STDERR = re.compile(r"\.(?:stderr(?:\.txt)?|err)$", re.IGNORECASE)
_EARLIER = frozenset({"t0", "before", "first", "sample1"})
_CLUSTER_FOLDERS = frozenset({"cluster", "k8s-handmade", "kubernetes", "k8s", "cluster-resources"})
_NODE_FOLDER = re.compile(r"(?:^|/)nodes?/([^/]+)/")
_POD_FOLDER = re.compile(r"(?:^|/)pods/([^/]+)/")
_HOST_IDS = ("nodename", "hostname")
# what these say is no evidence that is read; known all the same, so that they are not counted as unrecognised
_CLUSTER_IDS = re.compile(r"^(?:calico_(?!node_status$|mtu$)|kube_|calicoctl_version|other_objects|etcd)")


@dataclass(slots=True)
class _File:
    """One recognised output, before it is known which node it is of."""

    path: str
    command: Command
    line: str = ""
    rc: int | None = None
    start: float | None = None
    duration: float | None = None
    listed: bool = False
    span: tuple[int, int] | None = None
    host: str = ""
    hint: str = ""


def read_loose(tree: Tree) -> list[Part]:
    """One Part per node found, and one with node "" for cluster objects. Statuses come from the command list; without
    one `rc` is None (unknown)."""
    rows = _command_lists(tree)
    files: list[_File] = []
    captures: list[Member] = []
    unrecognised: list[str] = []
    for path, member in tree.members.items():
        if _LISTS.search(path) or _STDERR.search(path):
            continue
        if is_capture_name(path):
            captures.append(member)
            continue
        if re.search(r"(?:^|/)readme(?:\.\w+)?$", path, re.IGNORECASE):
            continue
        found = _recognise(path, member, rows, tree)
        if found is None and starts_like_capture(member.read()):
            captures.append(member)
        elif found:
            files.extend(found)
        else:
            unrecognised.append(path)
    return _assemble(tree, files, captures, unrecognised)


def _recognise(path: str, member: Member, rows: Mapping[str, Mapping[str, str]], tree: Tree) -> list[_File] | None:
    """None when the content is not text at all."""
    row = rows.get(re.sub(r"\.(?:txt|out|json|yaml|yml)$", "", path))
    if row is not None:
        command = identify_command(row["command"])
        if command is None:
            # the list names the command: it is known what the file is, and that nothing here reads it
            command = Command("other_output")
        start, duration = _epoch(row.get("start")), _float(row.get("duration"))
        return [_File(path, command, row["command"], _int(row.get("rc")), start, duration, True)]
    data = member.read()
    if b"\0" in data[:1024] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    name = path.rsplit("/", 1)[-1]
    text = decode(data, tree.meter.budget.line_bytes)
    by_name = identify_name(name)
    if by_name is not None and by_name.id == "log_other":
        by_name = sniff(text) or by_name  # "calico-node1.txt" is a log only if nothing better can be seen in it
    hint = ""
    if by_name is not None and by_name.node:
        # "holiday-links.txt": only with content that agrees is the rest of the name a node
        hint, by_name = by_name.node, sniff(text)
    if by_name is None or not by_name.id.startswith(("log_", "bird_config_", "kube_", "calico_")):
        parts = split_transcript(text)
        if parts:
            return [_File(path, p.command, p.line, span=(p.first, p.last), host=p.host) for p in parts]
    if by_name is not None and by_name.id.startswith(("kube_", "calico_")) and not by_name.id.endswith("_status"):
        # the content decides between the two APIs that share a kind's name
        by_name = Command(objects_in(text) or by_name.id)
    if by_name is not None and (text.strip() or member.size == 0):
        by_content = sniff(text) if by_name.id in _PLAIN else None
        # `ip-route.txt` may hold every table or JSON; `iptables.txt` may hold `iptables -L`
        return [_File(path, _finer(by_name, by_content), hint=hint)]
    found = sniff(text)
    return [_File(path, found)] if found is not None else []


_PLAIN = frozenset(
    {"ip4_route_main", "ip_addr", "ip_link", "ip_neigh", "ip4_rule", "iptables_save", "ipset_save", "ss_listen",
     "bridge_fdb", "nft_ruleset", "ip_route_all"}
)  # fmt: skip


def _finer(by_name: Command, by_content: Command | None) -> Command:
    if by_content is None:
        if by_name.id == "iptables_save":
            return Command("iptables_listing")
        return by_name
    same = {"ip4_route_main", "ip_route_all", "ip_route_all_json", "ip_route_main_json", "route_n"}
    if by_name.id in same and by_content.id in same:
        return by_content
    if by_content.id.removesuffix("_json") == by_name.id:
        return by_content
    if by_name.id in ("ipset_save", "ss_listen") and by_content.id in ("ipset_list", "netstat"):
        return by_content
    return by_name


def _command_lists(tree: Tree) -> dict[str, dict[str, str]]:
    """Every line of every command list, by the path of its file without ending."""
    rows: dict[str, dict[str, str]] = {}
    for path, member in tree.members.items():
        if not _LISTS.search(path):
            continue
        folder = path.rpartition("/")[0]
        lines = member.read().decode("utf-8", "replace").split("\n")
        header = [_COLUMNS.get(column.strip().lower(), column.strip().lower()) for column in lines[0].split("\t")]
        if "slug" not in header or "command" not in header:
            tree.warn(f"{tree.label}: {path} is no command list that is understood.")
            continue
        for line in lines[1:]:
            row = dict(zip(header, line.rstrip("\r").split("\t"), strict=False))
            if row.get("slug") and row.get("command"):
                name = re.sub(r"\.(?:txt|out)$", "", row["slug"])
                rows[f"{folder}/{name}" if folder else name] = row
    return rows


_COLUMNS = {
    "slug": "slug", "name": "slug", "file": "slug", "path": "slug", "id": "slug", "command": "command",
    "cmd": "command",
    "exit_code": "rc", "exit": "rc", "rc": "rc", "exitcode": "rc", "start": "start", "duration": "duration",
    "duration_s": "duration",
}  # fmt: skip


def _int(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d{1,5}", text) else None


def _float(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else None


def _epoch(text: str | None) -> float | None:
    if not text:
        return None
    if re.fullmatch(r"\d{9,11}(?:\.\d+)?", text):
        return float(text)
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return None


def _assemble(tree: Tree, files: list[_File], captures: list[Member], unrecognised: list[str]) -> list[Part]:
    nodes = _Nodes(tree, files, captures)
    parts: dict[str, Part] = {}
    seen: dict[tuple[str, str, str], int] = {}
    for file in files:
        in_cluster = bool(_CLUSTER_IDS.match(file.command.id))
        node = "" if in_cluster else nodes.of(file.path, file.host or file.command.node, file.hint)
        netns = "" if in_cluster else _netns(file)
        if netns is None:
            unrecognised.append(file.path)
            continue
        part = parts.setdefault(node, Part(node))
        earlier = bool(_EARLIER & set(file.path.split("/")[:-1]))
        artifact = _artifact(tree, file, node, netns)
        key = (node, netns, file.command.id)
        if file.span is not None:
            # the same command twice in one transcript: the later take is the newer state
            if not file.command.limits:
                seen[key] = seen.get(key, 0) + 1
            artifact = replace(artifact, sample=max(seen.get(key, 0), 1))
        elif not earlier and _has_earlier(tree, file.path):
            artifact = replace(artifact, sample=2)
        part.artifacts.append(artifact)
        if file.span is not None:
            part.spans[artifact] = file.span
        if netns.startswith("pod:"):
            part.pods.setdefault(netns[4:], {})
        if artifact.start is not None:
            part.start = max(part.start or 0.0, artifact.start)
    for member in captures:
        node = nodes.of(member.path, "")
        netns, interface = capture_pod(member.path.rsplit("/", 1)[-1].rsplit(".", 1)[0])
        why = "the archive ends inside this capture" if member.cut else ""
        capture = Capture(node, netns, interface, member.path, member.size, why=why)
        parts.setdefault(node, Part(node)).captures.append(capture)
    if not parts:
        parts[""] = Part("")
    first = next(iter(parts.values()))
    first.warnings = list(tree.warnings) + first.warnings
    if files and not any(file.listed for file in files):
        first.warnings.append(
            f"{tree.label}: no list of the commands, so it is not known whether they ended well; taken as whole."
        )
    first.unrecognised = unrecognised
    first.members = dict(tree.members)
    return list(parts.values())


def _has_earlier(tree: Tree, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return any((f"{folder}/{early}/{name}" if folder else f"{early}/{name}") in tree.members for early in _EARLIER)


def _netns(file: _File) -> str | None:
    """ "host", "pod:<namespace>/<name>", or None where the output is of a namespace that has no name."""
    match = _POD_FOLDER.search(file.path)
    if match:
        rest = file.path[match.end() :]
        name = folder_pod(match.group(1))
        if "/" not in name and "/" in rest:
            name = f"{name}/{rest.split('/', 1)[0]}"
        return f"pod:{name}"
    if file.command.pod == "?":
        return None
    return f"pod:{file.command.pod}" if file.command.pod else "host"


def _artifact(tree: Tree, file: _File, node: str, netns: str) -> Artifact:
    member = tree.members[file.path]
    status, why = Status.OK, file.command.limits
    if member.cut:
        status, why = Status.TRUNCATED, "the archive ends inside this file"
    elif file.listed and file.rc not in (0, None):
        status = Status.MISSING if file.rc == 127 else Status.FAILED
    elif why:
        status = Status.TRUNCATED
    stderr = ""
    stem = re.sub(r"\.(?:txt|out|json|yaml|yml)$", "", file.path)
    for ending in (".stderr.txt", ".stderr", ".err"):
        error = tree.members.get(stem + ending)
        if error is not None:
            stderr = error.read()[:4096].decode("utf-8", "replace")
            break
    return Artifact(
        file.command.id, file.path, node, netns, file.line, status, file.rc, file.start, file.duration, stderr, why=why
    )


class _Nodes:
    """Which node a file is of."""

    def __init__(self, tree: Tree, files: list[_File], captures: list[Member]) -> None:
        self._label = re.sub(r"\.(?:txt|out|log|md)$", "", tree.label)
        self._folders: dict[str, str] = {}
        for wanted in reversed(_HOST_IDS):  # nodename outranks hostname
            for file in files:
                if file.command.id != wanted or file.span is not None or _netns(file) != "host":
                    continue
                name = tree.members[file.path].read()[:256].decode("utf-8", "replace").strip()
                if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", name):
                    self._folders[file.path.rpartition("/")[0]] = name
        tops = {
            path.split("/", 1)[0]
            for path in [f.path for f in files if not _CLUSTER_IDS.match(f.command.id)] + [m.path for m in captures]
            if "/" in path
        }
        self._tops = tops - LAYOUT_FOLDERS - _CLUSTER_FOLDERS - _EARLIER

    def of(self, path: str, host: str, hint: str = "") -> str:
        match = _NODE_FOLDER.search(path)
        if match:
            return self._folders.get(path[: match.end() - 1], match.group(1))
        if host:
            return host
        folder = path.rpartition("/")[0]
        while True:
            if folder in self._folders:
                return self._folders[folder]
            if not folder:
                break
            folder = folder.rpartition("/")[0]
        top = path.split("/", 1)[0] if "/" in path else ""
        return top if top in self._tops else hint or self._label
