"""`make bench`: how long things take, in milliseconds, best of several runs. Prints; never fails on a slow machine.

Wall time with start-up, in processes of their own; processor time tells what it costs when the machine is busy with
other things. The aims are the project's: --help < 200 ms, a small bundle < 1 s, two nodes with 40,000 iptables rules
each and captures < 2 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import REPO

from .large import inflate

SMALL = REPO / "samples" / "healthy-bgp"
START = "from lasthop.cli.main import run; run()"


def lasthop(*words: object) -> int:
    environment = {**os.environ, "PYTHONPATH": str(REPO / "analyzer")}
    return subprocess.run(
        [sys.executable, "-c", START, *map(str, words)],
        check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
    ).returncode  # fmt: skip


def best(what: Callable[[], object], runs: int) -> tuple[float, float]:
    """(wall, processor) milliseconds: the least of several runs, children included."""
    wall, used = [], []
    for _ in range(runs):
        started, before = time.perf_counter(), _processor()
        what()
        wall.append((time.perf_counter() - started) * 1000)
        used.append((_processor() - before) * 1000)
    return min(wall), min(used)


def _processor() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def report(name: str, times: tuple[float, float], aim: float | None = None) -> None:
    wall, used = times
    told = "" if aim is None else f"   aim {aim:5.0f}: {wall / aim:4.2f} of it"
    print(f"{name:<52} {wall:8.1f} ms wall {used:8.1f} ms processor{told}", flush=True)


def main() -> None:
    report("python -c pass", best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=False), 7))
    report("lasthop --help", best(lambda: lasthop("--help"), 7), 200)
    archives = sorted(SMALL.glob("*.tar.gz"))
    if not archives:
        print("no samples: run `make samples` for the rest")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = ("--html", folder / "r.html", "--json", folder / "r.json")
        small = best(lambda: lasthop("analyze", *archives, *outputs), 5)
        report("small bundle, two nodes, all three reports", small, 1000)
        large = [folder / archive.name for archive in archives]
        rules = [inflate(*pair) for pair in zip(archives, large, strict=True)]
        size = sum(path.stat().st_size for path in large) / 1e6
        title = f"large bundle, {min(rules):,} rules per node, {size:.0f} MB"
        report(title, best(lambda: lasthop("analyze", *large, *outputs), 3), 2000)
        print(f"{'exit code of the large bundle':<52} {lasthop('analyze', *large):8d}")
        _parsers(large[0])


def _parsers(archive: Path) -> None:
    """The work inside one process, without start-up."""
    from lasthop.bundle import open_bundle
    from lasthop.snapshot.build import build, read_all

    report("open the large node", best(lambda: open_bundle([archive]), 3))
    bundle = open_bundle([archive])
    report("snapshot of it, nothing parsed", best(lambda: build(bundle), 3))
    report("everything in it parsed, every rule tokenised", best(lambda: read_all(build(bundle)), 2))


if __name__ == "__main__":
    main()
