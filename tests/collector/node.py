"""A throw-away node (namespaces with private /proc, /sys, /run) in which the real collector.sh runs with real tools."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import REPO, need

COLLECTOR = REPO / "collector.sh"
SHELLS = {"dash": ["dash"], "ash": ["busybox", "ash"], "bash": ["bash"], "mksh": ["mksh"]}
TOOLS = ("unshare", "ip", "nft", "iptables-nft-save", "ipset", "conntrack", "tcpdump", "nsenter", "setsid", "mksh",
         "busybox", "bash", "dash")  # fmt: skip

UNSHARE = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"]

# Two pods as Calico wires them, known to the node by libcni's cache; a filter rule and a set.
PODS = """
ip link set lo up
ip link add eth0 type veth peer name wire; ip addr add 192.0.2.11/24 dev eth0; ip link set eth0 up; ip link set wire up
sysctl -qw net.ipv4.ip_forward=1
for i in 1 2; do
  ip netns add cni-$i
  h=cali$(printf "shop.web-$i" | sha1sum | cut -c1-11)
  ip link add $h type veth peer name eth0 netns cni-$i; ip link set $h up; sysctl -qw net.ipv4.conf.$h.proxy_arp=1
  ip -n cni-$i link set lo up; ip -n cni-$i link set eth0 up; ip -n cni-$i addr add 10.65.0.$i/32 dev eth0
  ip -n cni-$i route add 169.254.1.1 dev eth0 scope link; ip -n cni-$i route add default via 169.254.1.1
  ip route add 10.65.0.$i/32 dev $h
  printf '{"kind":"cniCacheV1","containerId":"c%s","config":"eyJ0b2tlbiI6InhYIn0=","ifName":"eth0",\
"networkName":"k8s-pod-network",\
"netns":"/var/run/netns/cni-%s","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","shop"],["K8S_POD_NAME","web-%s"],\
["K8S_POD_INFRA_CONTAINER_ID","c%s"],["K8S_POD_UID","5f1b2c3d-0000-4000-8000-00000000000%s"]]}' $i $i $i $i $i \
    > /var/lib/cni/results/k8s-pod-network-c$i-eth0
done
ip route add default via 192.0.2.1
iptables-nft -A FORWARD -m comment --comment 'a "quoted" comment' -j ACCEPT
ipset create cali40s:abc hash:net; ipset add cali40s:abc 10.65.0.0/16
"""


@dataclass(frozen=True)
class Run:
    """What one run left: exit code, stdout, stderr, and the bundle's files by name below its top directory."""

    rc: int
    stdout: bytes
    stderr: str
    elapsed: float
    survivors: list[str]
    before: str
    after: str
    called: str
    files: dict[str, bytes]

    @property
    def last_line(self) -> str:
        return self.stdout.decode(errors="replace").rstrip("\n").rsplit("\n", 1)[-1]

    def text(self, name: str) -> str:
        return self.files[name].decode()

    def node(self, name: str) -> str:
        return self.text(f"nodes/lhcol-node/{name}")

    def meta(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for line in self.node("node.meta").splitlines():
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
        return found

    def index(self, name: str = "nodes/lhcol-node/index.tsv") -> dict[str, dict[str, str]]:
        """path -> line of the index (path without .out is the id with its place)."""
        rows = csv.DictReader(io.StringIO(self.text(name)), delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["path"].removesuffix(".out"): row for row in rows}

    def status(self, path: str) -> str:
        return self.index()[path]["status"]


def unframe(data: bytes) -> dict[str, bytes]:
    """The files of a framed stream (docs/bundle-format.md section 8), checked to its last byte."""
    head, rest = data.split(b"\n", 1)
    assert head == b"LASTHOP-STREAM 1"
    files: dict[str, bytes] = {}
    while True:
        line, rest = rest.split(b"\n", 1)
        word, size, *path = line.split(b" ", 2)
        if word == b"E":
            assert int(size) == len(files)
            assert rest == b""
            return files
        assert word == b"F"
        files[path[0].decode()] = rest[: int(size)]
        assert rest[int(size) : int(size) + 1] == b"\n"
        rest = rest[int(size) + 1 :]


def untar(data: bytes) -> dict[str, bytes]:
    """Members of a tar by name below the top directory."""
    files: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            handle = tar.extractfile(member)
            if handle is not None:
                files[member.name.partition("/")[2]] = handle.read()
    return files


@dataclass
class Node:
    """How to prepare the node and call the collector; `run` does it once."""

    shell: str = "dash"
    setup: str = "ip link set lo up\n"
    hide: list[str] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    stubs: dict[str, str] = field(default_factory=dict)
    background: list[str] = field(default_factory=list)
    before: str = ""
    signal: str = ""
    prefix: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    piped: bool = False
    limit: float = 60
    dir_mount: str = ""

    def run(self, *arguments: str, first: tuple[str, ...] = ()) -> Run:
        need(*TOOLS, root=True)
        with tempfile.TemporaryDirectory(prefix="lhcol-") as name:
            place = Path(name)
            place.chmod(0o755)
            out = place / "out"
            out.mkdir(mode=0o777)
            out.chmod(0o777)
            script = place / "collector.sh"
            script.write_bytes(COLLECTOR.read_bytes())
            script.chmod(0o755)
            shell = SHELLS[self.shell]
            options = [*first, "--dir", str(out), *arguments]
            command = [*self.prefix, *shell, *(["-s", "--"] if self.piped else [str(script)]), *options]
            mount = f"mount -t tmpfs -o mode=777,{self.dir_mount} tmpfs {out}\n" if self.dir_mount else ""
            job: dict[str, Any] = {
                "setup": self.setup + mount,
                "hide": [*({"kubectl", "calicoctl"} - set(self.keep)), *self.hide],
                "stubs": self.stubs,
                "background": self.background,
                "before": self.before,
                "command": command,
                "stdin": str(script) if self.piped else "",
                "stdout": str(place / "stdout"),
                "cwd": str(out),
                "path": "/usr/bin:/usr/sbin:/bin:/sbin",
                "env": self.env,
                "signal": self.signal,
                "limit": self.limit,
                "report": str(place / "report.json"),
            }
            if self.dir_mount:
                # The archive may be anywhere; what matters is copied out of the mount before it goes.
                keep = (
                    f'"$@" >{place}/said; rc=$?; cat {place}/said; f=$(tail -n 1 {place}/said); '
                    f'[ ! -f "$f" ] || cp "$f" {place}/kept; exit $rc'
                )
                job["command"] = ["sh", "-c", keep, "sh", *command]
            (place / "job.json").write_text(json.dumps(job))
            inside = Path(__file__).with_name("inside.py")
            done = subprocess.run(
                [*UNSHARE, "python3", str(inside), str(place / "job.json")],
                check=False,
                capture_output=True,
                text=True,
                timeout=self.limit + 30,
            )
            assert done.returncode == 0, done.stderr
            report = json.loads((place / "report.json").read_text())
            stdout = (place / "stdout").read_bytes()
            return Run(files=self._files(place, stdout), stdout=stdout, **report)

    def _files(self, place: Path, stdout: bytes) -> dict[str, bytes]:
        if stdout.startswith(b"LASTHOP-STREAM"):
            return unframe(stdout)
        last = Path(stdout.decode(errors="replace").rstrip("\n").rsplit("\n", 1)[-1])
        kept = place / "kept"
        archive = kept if kept.exists() else last
        if not archive.is_file() or not last.name.startswith("lasthop-"):
            return {}
        data = archive.read_bytes()
        if not last.is_relative_to(place):
            last.unlink(missing_ok=True)
        return unframe(data) if last.suffix == ".stream" else untar(data)
