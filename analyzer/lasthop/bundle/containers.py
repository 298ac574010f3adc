"""From a path on the command line to trees of members: directory, tar (gz, xz, zst, bz2), zip, framed stream, file.

Nothing is ever written; nothing outside the named inputs is opened.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from lasthop.errors import BundleError, BundleRefused

from .budget import ARCHIVE_NAME, Meter
from .framed import MAGIC as STREAM_MAGIC
from .framed import read_framed
from .members import Member, Tree, show_name
from .streams import Source
from .tar import BLOCK, TarReader, valid_header
from .zipped import MAGIC as ZIP_MAGIC
from .zipped import read_zip


def open_trees(path: Path, meter: Meter) -> list[Tree]:
    """The trees of one input: its own, then those of the archives in it. Raises BundleError where it gives nothing."""
    try:
        info = path.stat()
    except OSError as error:
        reason = "no such file or directory" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        raise BundleError(f"{path}: {reason}.") from error
    label = show_name(ARCHIVE_NAME.sub("", path.name) or path.resolve().name or "bundle")
    if stat.S_ISDIR(info.st_mode):
        return _directory(path, label, meter)
    if not stat.S_ISREG(info.st_mode):
        raise BundleError(f"{path}: neither a file nor a directory.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror or error}).") from error
    with file:
        trees = _archive(file, path.name, label, meter, depth=0)
    if trees is None:
        tree = Tree(label, meter, single=True)
        tree.add(_file_member(path, show_name(path.name), info.st_size, meter))
        trees = [tree]
    return trees


def _directory(root: Path, label: str, meter: Meter) -> list[Tree]:
    tree = Tree(label, meter)
    nested: list[Tree] = []
    pending: list[tuple[str, int]] = [("", 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(root / folder) as scan:
                entries = sorted(scan, key=lambda e: e.name)
        except OSError as error:
            tree.warn(f"{label}: {show_name(folder) or '.'} cannot be listed ({error.strerror or error}).")
            continue
        for entry in entries:
            raw = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_symlink():
                name = tree.check(raw)
                if name:
                    tree.add_alias(name, os.readlink(entry.path), hard=False)
            elif entry.is_dir(follow_symlinks=False):
                if depth + 1 < meter.budget.depth:
                    pending.append((raw, depth + 1))
                else:
                    tree.warn(f"{label}: {show_name(raw)[:80]} is deeper than {meter.budget.depth} folders; skipped.")
            elif entry.is_file(follow_symlinks=False):
                problem = meter.spend_member()
                if problem:
                    tree.warn(f"{label}: not read to its end: {problem}.")
                    pending.clear()
                    break
                name = tree.check(raw)
                if name:
                    _directory_file(tree, nested, Path(entry.path), name, entry.stat(follow_symlinks=False).st_size)
            else:
                tree.warn(f"{label}: {show_name(raw)[:80]} is not a regular file; skipped.")
    return [tree, *nested]


def _directory_file(tree: Tree, nested: list[Tree], path: Path, name: str, size: int) -> None:
    meter = tree.meter
    if ARCHIVE_NAME.search(name):
        try:
            with _open_plain(path) as file:
                inner = _archive(file, name, ARCHIVE_NAME.sub("", name.rsplit("/", 1)[-1]), meter, depth=0)
        except (BundleError, OSError) as error:
            tree.warn(f"{tree.label}: {str(error).rstrip('.')}; skipped.")
            return
        if inner is not None:
            nested.extend(inner)
            return
    if size > meter.limit_for(name):
        tree.skipped.append(name)
        tree.warn(f"{tree.label}: {name} is larger than {meter.limit_for(name) // (1 << 20)} MiB; skipped.")
        return
    tree.add(_file_member(path, name, size, meter))


def _open_plain(path: Path) -> BinaryIO:
    """Opens without following a link that took the file's place meanwhile."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


def _file_member(path: Path, name: str, size: int, meter: Meter) -> Member:
    limit = meter.limit_for(name)

    def load() -> bytes:
        try:
            with _open_plain(path) as file:
                data = file.read(limit + 1)
        except OSError:
            return b""
        return b"" if meter.spend_bytes(len(data)) else data[:limit]

    return Member(name, size, load=load)


def _archive(file: BinaryIO, name: str, label: str, meter: Meter, depth: int) -> list[Tree] | None:
    """Trees of an archive, or None when the file is none (a plain file of text or packets)."""
    tree = Tree(label, meter)
    nested: list[Tree] = []
    store = _storer(tree, nested, depth)
    first = file.read(len(ZIP_MAGIC))
    file.seek(0)
    if first == ZIP_MAGIC:
        return _finish(name, read_zip(file, tree, store), tree, nested, depth)
    source = Source(file, meter)
    head = source.peek(BLOCK)
    if head.startswith(STREAM_MAGIC):
        problem = read_framed(source, tree, store)
    elif valid_header(head.ljust(BLOCK, b"\0")) and len(head) == BLOCK:
        problem = _read_tar(source, tree, store)
    elif source.compression and head and not ARCHIVE_NAME.search(name):
        # a single compressed file of output or packets
        inner = re.sub(r"\.(gz|xz|zst|bz2)$", "", name.rsplit("/", 1)[-1], flags=re.IGNORECASE)
        data = source.read(meter.limit_for(inner))
        clean = tree.check(inner)
        if clean:
            tree.add(Member(clean, len(data), data, cut=bool(source.problem)))
        problem = source.problem
    elif ARCHIVE_NAME.search(name) or (source.compression and not head):
        _not_an_archive(source, head, name, depth)
        return []
    else:
        return None
    return _finish(name, problem, tree, nested, depth)


def _finish(name: str, problem: str, tree: Tree, nested: list[Tree], depth: int) -> list[Tree]:
    if problem:
        tree.warn(f"{show_name(name)}: {problem}; what was read before that is used.")
    if not tree.members and not nested:
        if depth:
            return [tree]
        if problem:
            raise BundleRefused(f"{show_name(name)}: nothing could be read: {problem}.")
        raise BundleError(f"{show_name(name)}: the archive is empty.")
    return [tree, *nested]


def _not_an_archive(source: Source, head: bytes, name: str, depth: int) -> None:
    if depth:
        return
    shown = show_name(name)
    if source.problem:
        raise BundleError(f"{shown}: nothing could be read: {source.problem}.")
    if not head:
        raise BundleError(f"{shown}: the file is empty.")
    if not head.strip(b"\0"):
        raise BundleError(f"{shown}: the archive is empty.")
    raise BundleError(f"{shown}: not a tar archive.")


Store = Callable[[str, bytes, bool], None]


def _storer(tree: Tree, nested: list[Tree], depth: int) -> Store:
    def store(name: str, data: bytes, whole: bool) -> None:
        if ARCHIVE_NAME.search(name):
            if depth < tree.meter.budget.nesting:
                label = ARCHIVE_NAME.sub("", name.rsplit("/", 1)[-1])
                inner = _archive(io.BytesIO(data), name, label, tree.meter, depth + 1)
                if inner and any(found.members for found in inner):
                    nested.extend(inner)
                    return
                if inner:
                    tree.warnings.extend(warning for found in inner for warning in found.warnings)
            else:
                tree.warn(f"{tree.label}: {name} is an archive inside an archive inside an archive; not opened.")
        tree.add(Member(name, len(data), data, cut=not whole))

    return store


def _read_tar(source: Source, tree: Tree, store: Store) -> str:
    reader = TarReader(source)
    meter = tree.meter
    for entry in reader:
        problem = meter.spend_member()
        if problem:
            return problem
        if entry.kind == "directory":
            continue
        name = tree.check(entry.name)
        if not name:
            continue
        if entry.kind in ("symlink", "hardlink"):
            tree.add_alias(name, entry.target, hard=entry.kind == "hardlink")
        elif entry.kind != "file":
            tree.warn(f"{tree.label}: {name} is a {entry.kind} entry, which no bundle has; skipped.")
        elif entry.size > meter.limit_for(name):
            tree.skipped.append(name)
            tree.warn(f"{tree.label}: {name} is larger than {meter.limit_for(name) // (1 << 20)} MiB; skipped.")
        else:
            data, whole = reader.take(entry.size)
            store(name, data, whole)
    return reader.problem
