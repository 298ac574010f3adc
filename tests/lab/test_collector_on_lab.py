"""The collector on lab nodes: complete, nothing changed, and fast on a node with many pods."""

from __future__ import annotations

import tarfile
import time
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.lab.case_parts import CLIENT, SERVER, bgp, vxlan
from tests.lab.cluster import Cluster
from tests.lab.model import ClusterSpec
from tests.lab.presets import crowded
from tests.lab.test_lab import need_lab


def collect(cluster: Cluster, node: str, *options: str) -> tuple[int, dict[str, str], list[str]]:
    """Run collector.sh on a node: (exit code, node.meta, member names without the top directory)."""
    machine = cluster.node(node)
    machine.write("/opt/lab/collector.sh", (REPO / "collector.sh").read_text(), 0o755)
    command = ["sh", "/opt/lab/collector.sh", "--dir", "/tmp", "--quiet", *options]
    done = machine.run(*command, check=False, timeout=150)
    archive: Path = machine.inside(done.stdout.strip().splitlines()[-1])
    with tarfile.open(archive) as tar:
        names = [name.partition("/")[2] for name in tar.getnames()]
        stream = tar.extractfile(next(m for m in tar.getmembers() if m.name.endswith("/node.meta")))
        assert stream is not None
        lines = stream.read().decode().splitlines()
    return done.returncode, dict(line.split("=", 1) for line in lines), names


@pytest.mark.lab
@pytest.mark.parametrize("spec", [bgp(), vxlan(), bgp("v3.27", "legacy")], ids=["bgp-nft", "vxlan-nft", "bgp-legacy"])
def test_complete_and_nothing_changed(spec: ClusterSpec) -> None:
    need_lab("tcpdump", "conntrack")
    with Cluster(spec) as cluster:
        code, meta, names = collect(cluster, "node1", "--pod", CLIENT, "--peer", SERVER, "--port", "tcp/8080")
    assert (code, meta["node"], meta["fingerprint_changed"]) == (0, "node1", "no")
    assert "nodes/node1/pods/default_client-a/ip_addr.out" in names
    assert "cluster/calico_workloadendpoints.out" in names


@pytest.mark.lab
@pytest.mark.slow
def test_a_node_with_100_pods_takes_less_than_a_minute() -> None:
    need_lab("tcpdump", "conntrack")
    with Cluster(crowded(100)) as cluster:
        start = time.monotonic()
        code, meta, names = collect(cluster, "node1")
        seconds = time.monotonic() - start
    assert (code, meta["pods_found"], meta["fingerprint_changed"]) == (0, "100", "no")
    assert sum(name.endswith("/pod.meta") for name in names) == int(meta["pods_collected"])
    assert seconds < 60
