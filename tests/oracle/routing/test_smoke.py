"""Eight seconds of the routing oracle: route, reverse path and proxy ARP decisions beside this machine's kernel."""

from __future__ import annotations

import re
import subprocess
import sys
import time

from tests.conftest import REPO, need


def test_eight_seconds_without_a_difference() -> None:
    need("ip", "iptables-legacy", root=True)
    seed = int(time.time()) % 100_000 + 100
    done = subprocess.run(
        [sys.executable, "-m", "tests.oracle.routing.compare", "--seconds", "8", "--seed", str(seed)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={"PYTHONPATH": f"{REPO / 'analyzer'}:{REPO}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
    assert done.returncode == 0, f"seed {seed}\n{done.stderr}\n{done.stdout}"
    counted = re.search(r"(\d+) packets, (\d+) ARP requests, 0 mismatches, (\d+) unknown", done.stdout)
    assert counted is not None, done.stdout
    packets, arps, unknown = (int(number) for number in counted.groups())
    # Everything that routing needs was collected: hardly anything may be left open.
    assert packets >= 200 and arps >= 20 and unknown <= packets // 100, done.stdout
