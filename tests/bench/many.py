"""A bundle of many small nodes, made from one real node: names and addresses differ, every node has a route to the
block of every other, and the cluster's objects list them all."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

NODE, POD, CLIENT = "node2", "web-1", "client-b"
HOST_IDS = (
    "clock_start", "clock_end", "ip_link", "ip_addr", "ip4_route_all", "ip4_rule", "ip4_neigh", "ip6_route_all",
    "ip6_rule", "iptables_nft_save", "nft_ruleset", "ip_tables_names", "ipset_save", "sysctl", "ss_listen",
    "processes",
)  # fmt: skip
POD_IDS = ("ip_link", "ip_addr", "ip4_route_all", "ip4_rule", "ip4_neigh", "ss_listen", "sysctl", "nft_ruleset")
OBJECTS = ("calico_nodes", "calico_workloadendpoints", "calico_ipamblocks", "calico_blockaffinities", "kube_nodes",
           "kube_pods")  # fmt: skip
POOL = "10.100.0.0/14"


def address(number: int) -> str:
    return f"10.10.{number // 200 + 1}.{number % 200 + 20}"


def block(number: int) -> str:
    """The first three bytes of the node's block."""
    return f"10.{100 + number // 256}.{number % 256}."


def many(source: Path, target: Path, nodes: int) -> None:
    """Writes `target`, a plain tar with `nodes` nodes like the one in `source` (samples/healthy-bgp/node2.tar.gz).

    Pods are shop/web-N and default/client-N on node-N; web-N listens on tcp/8080. No question is recorded.
    """
    members: dict[str, str] = {}
    with tarfile.open(source) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is not None and not member.name.endswith(".pcap"):
                members[member.name.split("/", 1)[1]] = stream.read().decode(errors="replace")
    with tarfile.open(target, "w") as archive:
        for name, text in _cluster(members, nodes).items():
            _add(archive, name, text)
        wanted = _node_members(members)
        for number in range(nodes):
            for name, text in wanted.items():
                changed = _rename(text, number)
                if name.endswith("host/ip4_route_all.out"):
                    changed = _routes(number, nodes) + changed
                _add(archive, _rename(name, number), changed)


def _node_members(members: dict[str, str]) -> dict[str, str]:
    base = f"nodes/{NODE}/"
    kept = {f"{base}host/{name}.out" for name in HOST_IDS} | {f"{base}pods/shop_{POD}/{name}.out" for name in POD_IDS}
    kept |= {f"{base}node.meta", f"{base}pods/shop_{POD}/pod.meta"}
    found = {name: text for name, text in members.items() if name in kept}
    meta = found[f"{base}node.meta"].split("\n")
    found[f"{base}node.meta"] = "\n".join(line for line in meta if not line.startswith("question"))
    header, *lines = members[f"{base}index.tsv"].split("\n")
    index = [_unsummed(line) for line in lines if line and base + line.split("\t")[7] in kept]
    found[f"{base}index.tsv"] = "\n".join([header, *index, ""])
    return found


def _unsummed(line: str) -> str:
    """An index line that vouches for no size and no checksum."""
    cells = line.split("\t")
    return "\t".join([*cells[:5], "-", "-", *cells[7:]])


def _rename(text: str, number: int) -> str:
    return (
        text.replace("10.10.1.12/24", address(number) + "/16").replace("10.10.1.0/24", "10.10.0.0/16")
        .replace("10.10.1.12", address(number)).replace("10.10.1.255", "10.10.255.255")
        .replace("10_10_1_12", address(number).replace(".", "_")).replace("10.65.0.0/16", POOL)
        .replace("10.65.27.", block(number)).replace(NODE, f"node-{number}").replace(POD, f"web-{number}")
        .replace(CLIENT, f"client-{number}")
    )  # fmt: skip


def _routes(number: int, nodes: int) -> str:
    return "".join(
        f"{block(other)}64/26 via {address(other)} dev eth0 proto bird metric 1024 \n"
        for other in range(nodes)
        if other != number
    )


def _cluster(members: dict[str, str], nodes: int) -> dict[str, str]:
    found = {name: _rename(text, 1) for name, text in members.items() if name.startswith("cluster/")}
    for name in OBJECTS:
        path = f"cluster/{name}.out"
        listed: dict[str, Any] = json.loads(members[path])
        own = [json.dumps(item) for item in listed["items"] if f'"{NODE}"' in json.dumps(item)]
        listed["items"] = [json.loads(_rename(item, number)) for number in range(nodes) for item in own]
        found[path] = json.dumps(listed, indent=1)
    return found


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    info = tarfile.TarInfo(f"many/{name}")
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))
