"""A large bundle made from a small real one: 40,000 iptables rules per node, and busy captures.

What is added is shaped as kube-proxy and Felix write it, with the Service and EndpointSlice objects that explain the
chains, and the flow in question really passes the long chain KUBE-SERVICES.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import struct
import tarfile
from ipaddress import ip_address
from pathlib import Path

from lasthop.kube.chains import endpoint_chain, service_chain

SERVICES = 2_000
POLICY_CHAINS = 3_000
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
        elif base in ("kube_services.out", "kube_endpointslices.out"):
            changed[name] = _objects(data)
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


def _address(i: int) -> str:
    return f"10.{100 + i // 65536}.{i // 256 % 256}.{i % 256}"


def _nat(table: str) -> str:
    backends = [(ip_address(ip), int(port)) for ip, port in _backends(table)]
    heads, services, rest = [], [], []
    for i in range(SERVICES):
        who = ("bench", f"svc-{i}", "http", "tcp")
        service, address = service_chain(*who), _address(i)
        heads.append(f":{service} - [0:0]")
        services.append(
            f'[0:0] -A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "bench/svc-{i}:http cluster IP" '
            f"-m tcp --dport 80 -j {service}"
        )
        rest.append(f"[0:0] -A {service} ! -s 10.65.0.0/16 -d {address}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ")
        for left, (ip, port) in zip(range(len(backends), 0, -1), backends, strict=True):
            endpoint = endpoint_chain(*who, ip, port)
            chance = f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else ""
            heads.append(f":{endpoint} - [0:0]")
            rest += [
                f'[0:0] -A {service} -m comment --comment "bench/svc-{i}:http -> {ip}:{port}" {chance}-j {endpoint}',
                f'[0:0] -A {endpoint} -s {ip}/32 -m comment --comment "bench/svc-{i}:http" -j KUBE-MARK-MASQ',
                f'[0:0] -A {endpoint} -p tcp -m comment --comment "bench/svc-{i}:http" -m tcp -j DNAT '
                f"--to-destination {ip}:{port}",
            ]
    first = re.search(r"(?m)^(?:\[\d+:\d+\] )?-A KUBE-SERVICES ", table)
    if first is None:
        raise ValueError("the dump has no chain KUBE-SERVICES to fill")
    table = table[: first.start()] + "\n".join(services) + "\n" + table[first.start() :]
    return table.replace("\nCOMMIT", "\n" + "\n".join(rest) + "\nCOMMIT").replace(
        "\n:KUBE-SERVICES ", "\n" + "\n".join(heads) + "\n:KUBE-SERVICES "
    )


def _backends(dump: str) -> list[tuple[str, str]]:
    found = sorted(set(re.findall(r"--to-destination ([0-9.]+):(\d+)", dump)))
    if not found:
        raise ValueError("the dump has no backend to send to")
    return found


def _objects(data: bytes) -> bytes:
    """A List with the first item's copies, renamed as the added chains' Services are."""
    listed = json.loads(data)
    for i in range(SERVICES):
        item = copy.deepcopy(listed["items"][0])
        item["metadata"] |= {"namespace": "bench", "name": f"svc-{i}"}
        if item["kind"] == "Service":
            item["spec"] |= {"clusterIP": _address(i), "clusterIPs": [_address(i)], "type": "ClusterIP"}
            item["spec"]["ports"][0].pop("nodePort", None)
        else:
            item["metadata"]["labels"]["kubernetes.io/service-name"] = f"svc-{i}"
        listed["items"].append(item)
    return json.dumps(listed, indent=4).encode()


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
