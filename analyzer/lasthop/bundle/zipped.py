"""zip archives: what a desktop makes of a folder of outputs. Budgets and names as for tar; nothing is extracted."""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

from .members import Tree

MAGIC = b"PK\x03\x04"
_BROKEN = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, RuntimeError, NotImplementedError, EOFError, OSError,
    ValueError, MemoryError,
)  # fmt: skip


def read_zip(file: BinaryIO, tree: Tree, store: Callable[[str, bytes, bool], None]) -> str:
    """Hands every file to `store`; returns why reading ended early, "" when it did not.

    A zip that was cut has lost its directory, which is at its end: nothing of it can be read.
    """
    meter = tree.meter
    try:
        archive = zipfile.ZipFile(file)
    except _BROKEN:
        return "its zip directory is damaged or cut off"
    with archive:
        for info in archive.infolist():
            problem = meter.spend_member()
            if problem:
                return problem
            if info.is_dir():
                continue
            name = tree.check(info.filename)
            if not name:
                continue
            mode = info.external_attr >> 16
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                tree.warn(f"{tree.label}: {name} is not a regular file; skipped.")
                continue
            problem = _read_one(archive, info, name, tree, store)
            if problem:
                return problem
    return ""


def _read_one(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, tree: Tree, store: Callable[[str, bytes, bool], None]
) -> str:
    meter = tree.meter
    limit = meter.limit_for(name)
    try:
        with archive.open(info) as member:
            data = member.read(limit + 1)
    except _BROKEN as error:
        tree.skipped.append(name)
        tree.warn(f"{tree.label}: {name} cannot be read from the zip ({str(error)[:100]}); skipped.")
        return ""
    problem = meter.spend_bytes(len(data))
    if len(data) > meter.budget.ratio_after and len(data) > meter.budget.ratio * max(info.compress_size, 1):
        problem = f"it grows to more than {meter.budget.ratio} times its size when it is decompressed"
    if problem:
        return problem
    if len(data) > limit:
        tree.skipped.append(name)
        tree.warn(f"{tree.label}: {name} is larger than {limit // (1 << 20)} MiB; skipped.")
        return ""
    store(name, data, True)
    return ""
