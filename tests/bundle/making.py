"""Builds small bundles in memory and on disk: native layouts, archives, and tar headers that no honest tool writes."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import zstandard

HEADER = "id\tstatus\trc\tstart\tduration_ms\tbytes\tsha256\tpath\tcommand\n"
ROUTES = "default via 192.0.2.1 dev eth0 \n10.65.0.0/26 via 192.0.2.12 dev eth0 proto bird \n"
LINKS = (
    "1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default \n"
    "    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00\n"
)


def row(identity: str, data: bytes | None, path: str, status: str = "ok", rc: str = "0", start: float = 1000.0) -> str:
    if data is None:
        return f"{identity}\t{status}\t-\t{start:.2f}\t0\t-\t-\t{path}\ttool of {identity}\n"
    digest = hashlib.sha256(data).hexdigest()
    return f"{identity}\t{status}\t{rc}\t{start:.2f}\t10\t{len(data)}\t{digest}\t{path}\ttool of {identity}\n"


def node(
    name: str = "node1", outputs: Mapping[str, str] | None = None, start: float = 1000.0, meta: str = ""
) -> dict[str, bytes]:
    """The files of one native node bundle whose commands all ended well. Keys: ids, or "pods/<dir>/<id>"."""
    outputs = {"ip4_route_all": ROUTES, "ip_link": LINKS} if outputs is None else outputs
    base = f"nodes/{name}"
    index = HEADER
    files: dict[str, bytes] = {}
    for identity, text in outputs.items():
        path = f"{identity}.out" if "/" in identity else f"host/{identity}.out"
        data = text.encode()
        files[f"{base}/{path}"] = data
        index += row(identity.rsplit("/", 1)[-1], data, path, start=start)
    files[f"{base}/index.tsv"] = index.encode()
    files[f"{base}/node.meta"] = (
        f"format=lasthop.bundle/1\nnode={name}\nstart_epoch={start:.2f}\nend_epoch={start + 5:.2f}\n"
        f"status=complete\n{meta}"
    ).encode()
    files["bundle.json"] = b'{"format": "lasthop.bundle/1", "status": "complete"}\n'
    return files


def tar(files: Mapping[str, bytes], top: str = "") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{top}/{name}" if top else name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def framed(files: Mapping[str, bytes]) -> bytes:
    body = b"LASTHOP-STREAM 1\n"
    for name, data in files.items():
        body += b"F %d %s\n" % (len(data), name.encode()) + data + b"\n"
    return body + b"E %d\n" % len(files)


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


PACKED = {
    "tar": lambda data: data,
    "tar.gz": gzip.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
    "tar.bz2": bz2.compress,
}


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def header(name: bytes, size: int = 0, kind: bytes = b"0", target: bytes = b"", raw_size: bytes | None = None) -> bytes:
    """One 512-byte tar header with a right checksum, whatever it says."""
    block = bytearray(512)
    block[0:100] = name.ljust(100, b"\0")[:100]
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\0" * 2
    block[124:136] = raw_size if raw_size is not None else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157:257] = target.ljust(100, b"\0")[:100]
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def entry(name: bytes, data: bytes = b"", kind: bytes = b"0", target: bytes = b"") -> bytes:
    return header(name, len(data), kind, target) + data + b"\0" * (-len(data) % 512)


END = b"\0" * 1024
