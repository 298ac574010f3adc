"""A large bundle made from a small real one: 40,000 iptables rules per node, and busy captures.

What is added is shaped as kube-proxy and Felix write it, and the flow in question really passes the long chain
KUBE-SERVICES, as it does on a node of a cluster with thousands of Services.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import tarfile
from pathlib import Path

SERVICES = 4_000
POLICY_CHAINS = 2_400
FRAMES = 60_000


def inflate(source: Path, target: Path) -> int:
    """Writes `target`, a node archive like `source` with many more rules and frames; returns the rules per dump."""
    members: dict[str, bytes] = {}
    with tarfile.open(source) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None:
                members[member.name] = stream.read()
    rules = 0
    changed: dict[str, bytes] = {}
    for name, data in members.items():
        base = name.rsplit("/", 1)[-1]
        if "/host/" in name and re.fullmatch(r"iptables_nft_save(_t2)?\.out", base):
            changed[name] = _rules(data.decode()).encode()
            rules = changed[name].count(b"\n[") + changed[name].count(b"\n-A ")
        elif "/host/" in name and re.fullmatch(r"nft_ruleset(_t2)?\.out", base):
            changed[name] = _nft(data.decode()).encode()
        elif name.endswith("/pcap/eth0.pcap"):
            changed[name] = data + _frames(data)
    members |= changed
    for name, data in members.items():
        if name.endswith("/index.tsv"):
            members[name] = _index(name, data, changed)
    with tarfile.open(target, "w:gz", compresslevel=1) as archive:
        for name, data in members.items():
            if not name.endswith("SHA256SUMS"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return rules


def _rules(text: str) -> str:
    tables = []
    for table in re.split(r"(?m)^(?=\*)", text):
        if table.startswith("*nat"):
            table = _nat(table)
        elif table.startswith("*filter"):
            table = _filter(table)
        tables.append(table)
    return "".join(tables)


def _nat(table: str) -> str:
    heads, services, rest = [], [], []
    backend = re.search(r"--to-destination ([0-9.]+:\d+)", table)
    if backend is None:
        raise ValueError("the dump has no backend to send to")
    source = backend[1].split(":")[0]
    for i in range(SERVICES):
        service, endpoint = f"KUBE-SVC-{i:016X}", f"KUBE-SEP-{i:016X}"
        address = f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}"
        heads += [f":{service} - [0:0]", f":{endpoint} - [0:0]"]
        services.append(
            f'[0:0] -A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "ns{i % 50}/svc-{i}:http cluster IP" '
            f"-m tcp --dport 80 -j {service}"
        )
        rest += [
            f"[0:0] -A {service} ! -s 10.65.0.0/16 -d {address}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ",
            f'[0:0] -A {service} -m comment --comment "ns/svc-{i}" -j {endpoint}',
            f'[0:0] -A {endpoint} -s {source}/32 -m comment --comment "ns/svc-{i}" -j KUBE-MARK-MASQ',
            f"[0:0] -A {endpoint} -p tcp -m tcp -j DNAT --to-destination {backend[1]}",
        ]
    first = re.search(r"(?m)^(?:\[\d+:\d+\] )?-A KUBE-SERVICES ", table)
    if first is None:
        raise ValueError("the dump has no chain KUBE-SERVICES to fill")
    table = table[: first.start()] + "\n".join(services) + "\n" + table[first.start() :]
    return table.replace("\nCOMMIT", "\n" + "\n".join(rest) + "\nCOMMIT").replace(
        "\n:KUBE-SERVICES ", "\n" + "\n".join(heads) + "\n:KUBE-SERVICES "
    )


def _filter(table: str) -> str:
    heads, rest = [], []
    for i in range(POLICY_CHAINS):
        chain = f"cali-tw-cali{i:011x}"
        heads.append(f":{chain} - [0:0]")
        rest += [
            f'[0:0] -A {chain} -m comment --comment "cali:x" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
            f"[0:0] -A {chain} -m conntrack --ctstate INVALID -j DROP",
            f"[0:0] -A {chain} -j MARK --set-xmark 0x0/0x10000",
            f"[0:0] -A {chain} -m set --match-set cali40s:abcdefghijklmno src -j MARK --set-xmark 0x10000/0x10000",
            f"[0:0] -A {chain} -m mark --mark 0x10000/0x10000 -j RETURN",
            f"[0:0] -A {chain} -p tcp -m multiport --dports 80,443,8080 -j MARK --set-xmark 0x10000/0x10000",
            f"[0:0] -A {chain} -m mark --mark 0x10000/0x10000 -j RETURN",
            f'[0:0] -A {chain} -m comment --comment "Drop if no profiles matched" -j DROP',
        ]
    return table.replace("\n:FORWARD", "\n" + "\n".join(heads) + "\n:FORWARD", 1).replace(
        "\nCOMMIT", "\n" + "\n".join(rest) + "\nCOMMIT"
    )


def _nft(text: str) -> str:
    chains = []
    for i in range(POLICY_CHAINS):
        rule = "\t\tmeta l4proto tcp counter packets 0 bytes 0 return # handle"
        lines = "".join(f"{rule} {i * 9 + j}\n" for j in range(7))
        chains.append(f"\tchain cali-tw-cali{i:011x} {{ # handle {i}\n{lines}\t}}\n")
    place = text.find("table ip filter {")
    end = text.find("\n", place) + 1
    return text if place < 0 else text[:end] + "".join(chains) + text[end:]


def _frames(data: bytes) -> bytes:
    """TCP frames of other flows, after the last one of the capture."""
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at, last = 24, 0
    while at + 16 <= len(data):
        last, _, length, _ = struct.unpack_from(order + "IIII", data, at)
        at += 16 + length
    out = []
    for i in range(FRAMES):
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40, i & 0xFFFF, 0x4000, 64, 6, 0, b"\x0a\x09\x01\x01",
                         bytes((10, 9, i >> 8 & 255, i & 255)))  # fmt: skip
        tcp = struct.pack(">HHIIBBHHH", 1024 + i % 50000, 443, i, 0, 0x50, 0x10, 512, 0, 0)
        frame = b"\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02\x08\x00" + ip + tcp + b"\0" * 6
        out.append(struct.pack(order + "IIII", last + 1 + i // 10000, i % 10000 * 100, len(frame), len(frame)) + frame)
    return b"".join(out)


def _index(name: str, data: bytes, changed: dict[str, bytes]) -> bytes:
    folder = name.rsplit("/", 1)[0]
    lines = []
    for line in data.decode().split("\n"):
        cells = line.split("\t")
        if len(cells) > 7 and f"{folder}/{cells[7]}" in changed:
            new = changed[f"{folder}/{cells[7]}"]
            cells[5], cells[6] = str(len(new)), hashlib.sha256(new).hexdigest()
        lines.append("\t".join(cells))
    return "\n".join(lines).encode()
