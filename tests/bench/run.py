"""`make bench`: how long things take, in milliseconds, best of several runs. Prints; never fails on a slow machine.

Wall time with start-up, in processes of their own; processor time tells what it costs when the machine is busy with
other things. The aims are the project's: --help < 200 ms, a small bundle < 1 s, two nodes with 40,000 iptables rules
each and captures < 2 s.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from tests.conftest import REPO

from .large import inflate
from .many import many

SMALL = REPO / "samples" / "pod-route-missing"
INFLATED = REPO / "samples" / "healthy-bgp"
"""The large bundle is made from this one."""
T = TypeVar("T")
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
    """Seconds of this process and of its children that have ended, in microseconds' steps (os.times has 10 ms)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def report(name: str, times: tuple[float, float], aim: float | None = None) -> None:
    wall, used = times
    told = "" if aim is None else f"   aim {aim:5.0f}: {wall / aim:4.2f} of it"
    print(f"{name:<52} {wall:8.1f} ms wall {used:8.1f} ms processor{told}", flush=True)


def main() -> None:
    print(f"load average {os.getloadavg()[0]:.1f}; {os.cpu_count()} processors")
    report("python -c pass", best(lambda: subprocess.run([sys.executable, "-c", "pass"], check=False), 7))
    report("lasthop --help", best(lambda: lasthop("--help"), 7), 200)
    small, source = (sorted(folder.glob("*.tar.gz")) for folder in (SMALL, INFLATED))
    if not small or not source:
        print("no samples: run `make samples` for the rest")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _whole("small bundle, two nodes, all three reports", small, folder, 1000)
        large = [folder / archive.name for archive in source]
        rules = [inflate(*pair) for pair in zip(source, large, strict=True)]
        size = sum(path.stat().st_size for path in large) / 1e6
        _whole(f"large bundle, {min(rules):,} rules per node, {size:.0f} MB", large, folder, 2000)
        report("everything in it parsed, every rule tokenised", best(lambda: _all_of(large), 2))


def _whole(title: str, archives: list[Path], folder: Path, aim: float) -> None:
    """The command as it is typed, then its stages inside one process that has everything imported."""
    outputs = ("--html", folder / "r.html", "--json", folder / "r.json")
    codes = set()
    report(title, best(lambda: codes.add(lasthop("analyze", *archives, *outputs)), 3), aim)
    print(f"{'  its exit code':<52} {', '.join(map(str, codes)):>8}")
    _stages(archives)
    for stage, times in _stages(archives).items():
        report(f"  {stage}", times)


def _stages(archives: list[Path]) -> dict[str, tuple[float, float]]:
    """Stage of one run -> (wall, processor) milliseconds. A file is parsed by the stage that first needs it."""
    from lasthop.bundle import open_bundle
    from lasthop.diagnosis.diagnose import Diagnoser, diagnose, walk_flows
    from lasthop.report.html.page import page
    from lasthop.report.json_report import dumps
    from lasthop.report.terminal import render
    from lasthop.report.view import report_view
    from lasthop.rules.load import load_pack
    from lasthop.rules.run import run_rules
    from lasthop.snapshot.build import build

    found: dict[str, tuple[float, float]] = {}

    def timed(stage: str, what: Callable[[], T]) -> T:
        results: list[T] = []
        found[stage] = best(lambda: results.append(what()), 1)
        return results[0]

    bundle = timed("open", lambda: open_bundle(archives))
    snapshot = timed("snapshot, nothing parsed", lambda: build(bundle))
    diagnoser = timed("what Calico and the nodes say", lambda: Diagnoser(snapshot, bundle))
    flows, _ = timed("walk, captures, verdict", lambda: walk_flows(diagnoser))
    pack = timed("rules read", load_pack)
    timed("rules asked", lambda: run_rules(snapshot, pack, tuple(flows)))
    diagnosis = diagnose(snapshot, bundle)
    timed("JSON", lambda: dumps(diagnosis))
    view = timed("view", lambda: report_view(diagnosis))
    timed("HTML", lambda: page(view))
    timed("terminal", lambda: render(view, width=80, color=False, verbose=0, html=""))
    return found


def _many(nodes: int) -> None:
    """How the time grows with nodes that all know each other: routes are nodes squared."""
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "many.tar"
        many(SMALL / "node2.tar.gz", bundle, nodes)
        question = ("--from", "shop/web-3", "--to", "shop/web-7:8080")
        report(f"analyze {nodes} nodes, one question", best(lambda: lasthop("analyze", bundle, *question), 1))


def _all_of(archives: list[Path]) -> None:
    from lasthop.bundle import open_bundle
    from lasthop.snapshot.build import build, read_all

    read_all(build(open_bundle(archives)))


if __name__ == "__main__":
    main()
    for count in (10, 50, 100):
        _many(count)
