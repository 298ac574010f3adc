"""Build the bundles under samples/: `python -m tests.lab.samples [CASE...]`, as root.

For each case: bring the cluster up, prove that the flow works, break it, prove that it is broken, run the real
collector on every node with
captures while the flow is tried again, repair, prove that it works again, and write the node archives and case.yaml.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from .case import Break, Case
from .cases import cases
from .cluster import Cluster
from .faults import broken
from .machine import ENVIRONMENT, LabError
from .traffic import Attempt, flow_works

ROOT = Path(__file__).resolve().parents[2]
CAPTURE_SECONDS = 8
COLLECT_LIMIT = 180


class ProofError(LabError):
    """The client did not see what the case says it must see."""


def tries(cluster: Cluster, case: Case, count: int) -> list[Attempt]:
    address, port = case.address
    return [flow_works(cluster, case.source, address, port, case.proto, case.size, limit=2.5) for _ in range(count)]


def prove_works(cluster: Cluster, case: Case, when: str) -> str:
    seen = tries(cluster, case, case.tries)
    if not all(attempt.works for attempt in seen):
        raise ProofError(f"{case.name}: {when} the flow must work: {words(seen)}")
    return words(seen)


def prove_broken(case: Case, seen: list[Attempt]) -> str:
    """All tries fail with an accepted symptom; for a partial break some work and some fail."""
    bad = [attempt for attempt in seen if not attempt.works]
    strange = [attempt for attempt in bad if attempt.result not in case.symptoms]
    partial = case.verdict == "partial"
    if strange or not bad or (partial == (len(bad) == len(seen))):
        raise ProofError(f"{case.name}: broken, the client must see {case.symptoms}: {words(seen)}")
    return words(seen)


def words(seen: list[Attempt]) -> str:
    return "; ".join(f"{count}x {text}" for text, count in sorted(Counter(attempt.words() for attempt in seen).items()))


class Collection:
    """The collector running on one node."""

    def __init__(self, cluster: Cluster, case: Case, node: str, collector: str) -> None:
        self.node, self.machine = node, cluster.node(node)
        self.capturing = threading.Event()
        self.log: list[str] = []
        self.machine.write("/opt/lab/collector.sh", collector, 0o755)
        _, port = case.address
        address = case.address[0]
        peer = case.target_key if case.target.startswith("pod ") else address
        backends = [word for pod in case.backends for word in ("--pod", pod)]
        question = ["--pod", case.source, *backends, "--peer", peer, "--port", f"{case.proto}/{port}"]
        self.arguments = [*(question if case.asked else []), "--capture", str(CAPTURE_SECONDS), "--dir", "/tmp"]
        self.process = subprocess.Popen(
            self.machine.enter("sh", "/opt/lab/collector.sh", *self.arguments),
            env=ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if "reproduce" in line.lower():
                self.capturing.set()
        self.capturing.set()

    def finish(self, target: Path) -> Path:
        """Wait for the collector and copy its archive to `target`/<node>.<ending>."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(timeout=COLLECT_LIMIT)
        self._reader.join(timeout=5)
        if code not in (0, 10):
            raise LabError(f"collector on {self.node}: exit {code}\n{''.join(self.log[-20:])}")
        if code == 10:
            print(f"  {self.node}: collector exit 10 (partial): {''.join(self.log[-4:]).strip()}", file=sys.stderr)
        path = self.machine.inside(out.strip().splitlines()[-1])
        ending = "".join(suffix for suffix in path.suffixes if suffix in (".tar", ".gz", ".xz", ".zst"))
        copy = target / f"{self.node}{ending}"
        shutil.copyfile(path, copy)
        self._check(copy)
        return copy

    def _check(self, archive: Path) -> None:
        """The collector changed nothing on the node: its own fingerprints, taken before and after, are equal."""
        with tarfile.open(archive) as tar:
            name = next(member for member in tar.getnames() if member.endswith("/node.meta"))
            stream = tar.extractfile(name)
            assert stream is not None
            if b"\nfingerprint_changed=no\n" not in stream.read():
                raise LabError(f"collector on {self.node}: fingerprint_changed is not `no`")


def collect(cluster: Cluster, case: Case, collector: str, target: Path) -> tuple[list[Path], list[Attempt], str]:
    """Run the collector on every node of the case at once, and try the flow while all of them capture."""
    running = [Collection(cluster, case, node, collector) for node in case.nodes]
    for collection in running:
        if not collection.capturing.wait(COLLECT_LIMIT):
            raise LabError(f"collector on {collection.node} never captured: {''.join(collection.log[-5:])}")
    time.sleep(0.5)
    address, port = case.address
    limit = 1.0 if case.verdict == "partial" else 2.5
    seen: list[Attempt] = []
    end = time.monotonic() + CAPTURE_SECONDS - 3
    while time.monotonic() < end and len(seen) < case.tries:
        seen.append(flow_works(cluster, case.source, address, port, case.proto, case.size, limit=limit))
    archives = [collection.finish(target) for collection in running]
    return archives, seen, " ".join(running[0].arguments)


def build(case: Case, collector: str, target: Path) -> dict[str, Any]:
    """Build one sample into `target`; returns the content of its case.yaml. Raises ProofError when the client saw
    something else.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    with Cluster(case.spec) as cluster:
        for command in case.prepare:
            command.run(cluster)
        saw = {"before": prove_works(cluster, case, "before")}
        with contextlib.ExitStack() as stack:
            if case.faults:
                stack.enter_context(broken(cluster, *case.faults))
                time.sleep(0.5)
                saw["broken"] = prove_broken(case, tries(cluster, case, case.tries))
            archives, seen, arguments = collect(cluster, case, collector, target)
            saw["while_collecting"] = (
                prove_broken(case, seen) if case.faults and case.verdict != "partial" else words(seen)
            )
        alone: list[str] = []
        saw["after_repair"] = prove_works(cluster, case, "after the repair")
        if len(case.faults) > 1:
            alone = each_alone(cluster, case)
    return describe(case, saw, alone, archives, arguments)


def each_alone(cluster: Cluster, case: Case) -> list[str]:
    """What the client sees with each fault alone: tells faults that break by themselves from those that only break
    together.
    """
    result = []
    for fault in case.faults:
        with broken(cluster, fault):
            time.sleep(0.3)
            result.append(words(tries(cluster, case, 1)))
    return result


def describe(case: Case, saw: dict[str, str], alone: list[str], archives: list[Path], arguments: str) -> dict[str, Any]:
    address, port = case.address
    spec = case.spec
    expected: dict[str, Any] = {"verdict": case.verdict, "breaks": [expectation(item) for item in case.breaks]}
    if case.verdict == "no-break":
        expected["findings"] = "none above info" if case.quiet else "any"
    return {
        "name": case.name,
        "title": case.title,
        "cluster": {
            "routing": spec.routing,
            "calico": spec.calico,
            "iptables": spec.backend,
            "nodes": [node.name for node in spec.nodes],
        },
        "flow": {
            "from": case.source,
            "to": case.target_key,
            "kind": case.target.split()[0],
            "address": address,
            "proto": case.proto,
            "port": port,
        },
        "prepared": [commands(command) for command in case.prepare],
        "done": [commands(command) for fault in case.faults for command in fault.breaks],
        "undone": [commands(command) for fault in reversed(case.faults) for command in fault.repairs],
        "collected_with": arguments,
        "client_saw": {**saw, **({"with_each_fault_alone": alone} if alone else {})},
        "bundles": [path.name for path in archives],
        "expected": expected,
        "harmless": list(case.harmless),
    }


def commands(command: Any) -> dict[str, str]:
    return {"where": command.on, "command": command.command}


def expectation(item: Break) -> dict[str, Any]:
    """One expected break; `codes` lists the accepted cause codes of docs/causes.md."""
    result: dict[str, Any] = {
        "direction": item.direction,
        "step": item.step,
        "node": item.node,
        "netns": item.netns,
        "object": item.object,
        "cause": item.cause,
        "disposition": list(item.disposition),
        "codes": list(item.codes),
    }
    if item.policy:
        result["policy"] = item.policy
    if item.share != 1.0:
        result["share"] = round(item.share, 4)
    if item.died_at:
        result["died_at"] = item.died_at
    if item.accept_steps:
        result["accept_steps"] = list(item.accept_steps)
    return result


def rebuild(case: Case, collector: str, into: Path) -> bool:
    """Build the sample beside the old one and put it in its place; unproved, the old one stays."""
    start = time.monotonic()
    work, target = into / f".{case.name}.new", into / case.name
    try:
        content = build(case, collector, work)
    except LabError as error:
        print(f"FAILED {case.name}: {error}", file=sys.stderr, flush=True)
        shutil.rmtree(work, ignore_errors=True)
        return False
    (work / "case.yaml").write_text(yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True))
    shutil.rmtree(target, ignore_errors=True)
    work.rename(target)
    size = sum(path.stat().st_size for path in target.iterdir())
    saw = content["client_saw"].get("broken", content["client_saw"]["before"])
    print(f"{case.name}: {saw} ({size // 1024} KiB, {time.monotonic() - start:.0f} s)", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help="names; all when none is given")
    parser.add_argument("--into", type=Path, default=ROOT / "samples")
    parser.add_argument("--jobs", type=int, default=2, help="cases at a time")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    options = parser.parse_args()
    known = {case.name: case for case in cases()}
    if options.list:
        print("\n".join(known))
        return 0
    if unknown := [name for name in options.cases if name not in known]:
        parser.error(f"no such case: {', '.join(unknown)}")
    if os.geteuid():
        parser.error("needs root: it builds network namespaces")
    collector = (ROOT / "collector.sh").read_text()
    with ThreadPoolExecutor(options.jobs) as pool:
        done = list(pool.map(lambda name: rebuild(known[name], collector, options.into), options.cases or known))
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
