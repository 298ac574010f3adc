"""Byte sources: a plain or compressed file read as a stream, decompressed once, under the meter's limits.

A source never raises for what is in the file. At damage, at the end of a cut file or at a limit it ends, and `problem`
says why in words; everything before that point has been handed out.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

from .budget import MIB, Meter

CHUNK = 256 * 1024
MEMLIMIT = 512 * MIB
"""Memory that an xz or zstd stream may ask for its dictionary (xz -9 needs 64 MiB)."""

MAGICS = ((b"\x1f\x8b", "gzip"), (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2"))


class _Gzip:
    def __init__(self) -> None:
        self._d = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        # max_length bounds one step of a bomb; what is left over waits in unconsumed_tail
        return self._d.decompress(self._d.unconsumed_tail + data, 4 * MIB)

    @property
    def pending(self) -> bool:
        return bool(self._d.unconsumed_tail)

    @property
    def eof(self) -> bool:
        return self._d.eof

    @property
    def rest(self) -> bytes:
        return self._d.unused_data


class _Lzma:
    def __init__(self) -> None:
        self._d = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MEMLIMIT)

    def feed(self, data: bytes) -> bytes:
        return self._d.decompress(data, 4 * MIB)

    @property
    def pending(self) -> bool:
        return not self._d.needs_input and not self._d.eof

    @property
    def eof(self) -> bool:
        return self._d.eof

    @property
    def rest(self) -> bytes:
        return self._d.unused_data


class _Bzip2:
    def __init__(self) -> None:
        self._d = bz2.BZ2Decompressor()

    def feed(self, data: bytes) -> bytes:
        return self._d.decompress(data, 4 * MIB)

    @property
    def pending(self) -> bool:
        return not self._d.needs_input and not self._d.eof

    @property
    def eof(self) -> bool:
        return self._d.eof

    @property
    def rest(self) -> bytes:
        return self._d.unused_data


class Source:
    """Reads an open file from its start, decompressing what its first bytes say. `read` is short only at the end."""

    def __init__(self, file: BinaryIO, meter: Meter) -> None:
        self._file = file
        self._meter = meter
        self._buffer = bytearray()
        self._ended = False
        self._in = 0
        self._out = 0
        self.problem = ""
        """Why the stream ended early; "" when it did not."""
        first = self._raw()
        self.compression = next((name for magic, name in MAGICS if first.startswith(magic)), "")
        self._step: Callable[[], bytes]
        if not self.compression:
            self._buffer += first
            self._out += len(first)
            self._step = self._plain_step
        elif self.compression == "zstd":
            self._step = self._zstd_step(first)
        else:
            self._pending_input = first
            self._decompressor = self._new()
            self._step = self._codec_step
        if not first:
            self._ended = True

    def _raw(self) -> bytes:
        try:
            data = self._file.read(CHUNK)
        except OSError as error:
            self.problem = f"reading it failed ({error.strerror or error})"
            data = b""
        self._in += len(data)
        return data

    def _new(self) -> _Gzip | _Lzma | _Bzip2:
        if self.compression == "gzip":
            return _Gzip()
        return _Lzma() if self.compression == "xz" else _Bzip2()

    def _plain_step(self) -> bytes:
        data = self._raw()
        self._ended = not data
        return data

    def _codec_step(self) -> bytes:
        codec = self._decompressor
        if codec.eof:
            # Concatenated streams are one file; anything else after the end is padding or garbage, not ours.
            rest = codec.rest.lstrip(b"\0") or self._raw().lstrip(b"\0")
            magic = next((m for m, name in MAGICS if name == self.compression), b"")
            if not rest.startswith(magic):
                self._ended = True
                return b""
            self._decompressor = codec = self._new()
            self._pending_input = rest
        data = self._pending_input
        self._pending_input = b""
        if not data and not codec.pending:
            data = self._raw()
            if not data:
                self._ended = True
                self.problem = self.problem or f"its {self.compression} stream ends early"
                return b""
        try:
            return codec.feed(data)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, MemoryError, ValueError) as error:
            self._ended = True
            self.problem = f"its {self.compression} stream is damaged ({error})"
            return b""

    def _zstd_step(self, first: bytes) -> Callable[[], bytes]:
        import zstandard  # loaded only for the few bundles that are compressed so

        class Joined:
            def __init__(self, source: Source) -> None:
                self.head, self.source = first, source

            def read(self, size: int = -1) -> bytes:
                head, self.head = self.head, b""
                return head or self.source._raw()

        decompressor = zstandard.ZstdDecompressor(max_window_size=MEMLIMIT // 4)
        reader = decompressor.stream_reader(cast(BinaryIO, Joined(self)), read_across_frames=True)

        def step() -> bytes:
            try:
                data: bytes = reader.read(CHUNK)
            except (zstandard.ZstdError, MemoryError) as error:
                self.problem = f"its zstd stream is damaged ({error})"
                data = b""
            self._ended = not data
            return data

        return step

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size and not self._ended:
            data = self._step()
            self._out += len(data)
            problem = self._meter.spend_bytes(len(data))
            budget = self._meter.budget
            if self.compression and self._out > budget.ratio_after and self._out > budget.ratio * max(self._in, 1):
                problem = f"it grows to more than {budget.ratio} times its size when it is decompressed"
            if problem:
                self.problem, self._ended = problem, True
                return
            self._buffer += data

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer only where the stream ends."""
        if len(self._buffer) < size:
            self._fill(size)
        with memoryview(self._buffer) as view:
            data = bytes(view[:size])
        del self._buffer[:size]
        return data

    def peek(self, size: int) -> bytes:
        self._fill(size)
        return bytes(self._buffer[:size])

    def skip(self, size: int) -> int:
        """Drops up to `size` bytes; returns how many there were."""
        left = size
        while left:
            got = len(self.read(min(left, CHUNK)))
            if not got:
                break
            left -= got
        return size - left

    def read_line(self, limit: int) -> bytes:
        """The next line without its LF, or what is left; at most `limit` bytes are looked at."""
        end = -1
        size = 4096
        while True:
            self._fill(size)
            end = self._buffer.find(b"\n", 0, limit)
            if end >= 0 or self._ended or len(self._buffer) >= limit or size >= limit:
                break
            size = min(size * 4, limit)
        if end < 0:
            return self.read(min(limit, len(self._buffer)))
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line
