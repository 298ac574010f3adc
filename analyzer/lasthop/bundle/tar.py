"""tar read as a stream, without ever creating a file: ustar, GNU long names and pax, and nothing else.

Written out here instead of using tarfile because a reader of hostile archives must bound every size before it
allocates, must keep the bytes of a cut member, and must have one way to fail. Formats: POSIX.1-2017 pax, GNU tar manual
"Basic Tar Format".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .budget import MIB
from .streams import Source

BLOCK = 512
_HEADER_LIMIT = MIB
"""Largest long-name or pax record block that is believed."""

_KINDS = {
    b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "symlink", b"3": "device", b"4": "device",
    b"5": "directory", b"6": "fifo", b"S": "sparse",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """`kind` is file, directory, symlink, hardlink, device, fifo, sparse or other; `size` as the header says."""

    name: str
    kind: str
    size: int
    target: str = ""


class TarReader:
    """Iterates the entries of a tar stream. After each entry the caller may `take()` its data; else it is skipped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._left = 0
        self._padding = 0
        self.problem = ""
        """Why reading ended before the end of the archive; "" when it did not."""

    def take(self, limit: int) -> tuple[bytes, bool]:
        """The entry's data and whether it is whole; call only when its size is at most `limit`."""
        data = self._source.read(min(self._left, limit))
        whole = len(data) == self._left
        self._left -= len(data)
        return data, whole

    def __iter__(self) -> Iterator[Entry]:
        long_name = long_target = ""
        pax: dict[str, str] = {}
        zeros = 0
        while True:
            self._skip_rest()
            if self.problem:
                return
            block = self._source.read(BLOCK)
            if len(block) < BLOCK:
                if self._source.problem or block or not zeros:
                    self.problem = self._source.problem or "it ends in the middle"
                return
            if not block.strip(b"\0"):
                zeros += 1
                continue
            if not valid_header(block):
                self.problem = "there is something that is not tar after its end" if zeros else "a header is damaged"
                return
            zeros = 0
            size = _number(block[124:136])
            kind = block[156:157]
            if size is None:
                self.problem = "a header gives an impossible size"
                return
            if kind in (b"L", b"K", b"x", b"g", b"X"):
                if size > _HEADER_LIMIT:
                    self.problem = "a name or attribute block is larger than 1 MiB"
                    return
                self._set(size)
                data, whole = self.take(_HEADER_LIMIT)
                if not whole:
                    self.problem = self._source.problem or "it ends in the middle"
                    return
                if kind == b"L":
                    long_name = _text(data)
                elif kind == b"K":
                    long_target = _text(data)
                elif kind in (b"x", b"X"):
                    pax = _pax(data)
                continue
            if "size" in pax:
                value = pax["size"]
                # more digits than any file has are a lie, and int() of a million digits is an attack
                if not (value.isascii() and value.isdigit() and len(value) < 20):
                    self.problem = "an attribute block gives an impossible size"
                    return
                size = int(value)
            name = pax.get("path") or long_name or _short_name(block)
            target = pax.get("linkpath") or long_target or _text(block[157:257])
            word = _KINDS.get(kind, "other")
            if any(key.startswith("GNU.sparse") for key in pax):
                word = "sparse"
            if word == "file" and name.endswith("/"):
                word = "directory"
            if kind == b"S" and not self._skip_sparse_map(block):
                return
            # only regular files have data; a size on a link or a directory is ignored, as GNU tar and POSIX say
            self._set(size if word in ("file", "sparse", "other") else 0)
            yield Entry(name, word, size, target)
            long_name = long_target = ""
            pax = {}

    def _set(self, size: int) -> None:
        self._left = size
        self._padding = -size % BLOCK

    def _skip_rest(self) -> None:
        want = self._left + self._padding
        if want and self._source.skip(want) < want:
            self.problem = self._source.problem or "it ends in the middle"
        self._left = self._padding = 0

    def _skip_sparse_map(self, block: bytes) -> bool:
        more = block[482:483] not in (b"", b"\0")
        while more:
            extension = self._source.read(BLOCK)
            if len(extension) < BLOCK:
                self.problem = self._source.problem or "it ends in the middle"
                return False
            more = extension[504:505] not in (b"", b"\0")
        return True


def valid_header(block: bytes) -> bool:
    """The checksum of a tar header block is right (unsigned or, as old tars wrote it, signed)."""
    stored = _number(block[148:156])
    if stored is None or len(block) < BLOCK:
        return False
    rest = block[:148] + b"        " + block[156:BLOCK]
    unsigned = sum(rest)
    return stored == unsigned or stored == unsigned - 256 * sum(1 for byte in rest if byte > 127)


def _number(field: bytes) -> int | None:
    """Octal text or GNU base-256; None when it is neither, or negative."""
    if field[:1] and field[0] & 0x80:
        return None if field[0] & 0x40 else int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    text = field.split(b"\0", 1)[0].strip()
    if not text:
        return 0
    try:
        return int(text, 8) if text.isdigit() else None
    except ValueError:
        return None


def _short_name(block: bytes) -> str:
    name = _text(block[0:100])
    if block[257:263] == b"ustar\0":
        prefix = _text(block[345:500])
        if prefix:
            return f"{prefix}/{name}"
    return name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _pax(data: bytes) -> dict[str, str]:
    """Records `<length> <key>=<value>\\n`; stops at the first that is not one."""
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        digits = data[at:space] if space > at else b""
        if not digits.isdigit():
            break
        end = at + int(digits)
        if end <= space + 1 or end > len(data):
            break
        key, _, value = data[space + 1 : end].rstrip(b"\n").partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        at = end
    return records
