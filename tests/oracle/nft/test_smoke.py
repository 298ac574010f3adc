"""Eight seconds of the nftables oracle: the simulation against the kernel of this machine."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.conftest import REPO, need
from tests.oracle.machine import TOOLS


def test_eight_seconds_without_a_difference() -> None:
    need(*TOOLS, root=True)
    # A process of its own: it moves into the router's namespace.
    seed = int(time.time()) % 100_000 + 100
    done = subprocess.run(
        [sys.executable, "-m", "tests.oracle.nft.run", "--seconds", "8", "--seed", str(seed)],
        cwd=REPO, capture_output=True, text=True, check=False, timeout=300,
        env={"PYTHONPATH": f"{REPO / 'analyzer'}:{REPO}", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, f"seed {seed}\n{done.stderr}\n{done.stdout}"
    packets = int(done.stdout.split(": ")[1].split()[0])
    assert packets >= 100, done.stdout
    assert ", 0 mismatches, " in done.stdout
    unknown = int(done.stdout.split(" unknown")[0].split()[-1])
    assert unknown * 100 <= packets, done.stdout
