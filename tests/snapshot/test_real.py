"""Real clusters and published texts: everything that matters is understood, and every quotation is literal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lasthop.bundle import Bundle, open_bundle
from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.snapshot import Snapshot
from lasthop.snapshot.build import build, read_all
from tests.conftest import SHARED, shared

CASES = sorted((SHARED / "reference-cluster" / "cases").glob("*.tar.xz"))
SAMPLE = CASES[::4] or [None]


def sources(found: Snapshot) -> Iterator[SourceRef]:
    for node in found.nodes.values():
        for netns in (node.host, *node.pods.values()):
            for field in fields(netns):
                value: Any = getattr(netns, field.name)
                if field.name == "rulesets":
                    for evidence in value.values():
                        for ruleset in evidence.values:
                            for table in ruleset.tables():
                                for chain in ruleset.chains(table):
                                    yield chain.source
                                    yield from (rule.source for rule in ruleset.rules(table, chain.name))
                elif field.name == "nft":
                    for listing in value.values:
                        yield from (chain.source for key in listing.tables() for chain in listing.chains(*key))
                        yield from (rule.source for rule in listing.all_rules())
                elif field.name == "nft":
                    for listing in value.values:
                        for family, table in listing.tables():
                            for chain in listing.chains(family, table):
                                yield chain.source
                                yield from (rule.source for rule in listing.rules(family, table, chain.name))
                elif hasattr(value, "values"):
                    yield from (entry.source for entry in value.values)
        for field in ("bgp_sessions", "bird_protocols", "bgp_routes", "statuses", "processes"):
            yield from (entry.source for entry in getattr(node, field).values)
    for field in fields(found.cluster):
        yield from (entry.source for entry in getattr(found.cluster, field.name).values)


def check_quotations(bundle: Bundle, found: Snapshot) -> int:
    count = 0
    lines: dict[str, list[str]] = {}
    for source in sources(found):
        if source.path not in lines:
            lines[source.path] = bundle.text(source.path).split("\n")
        assert 1 <= source.line <= len(lines[source.path])
        assert source.text.strip() in lines[source.path][source.line - 1]
        count += 1
    return count


@pytest.mark.parametrize("case", SAMPLE, ids=lambda path: path.name if path else "absent")
def test_a_real_cluster_is_understood_to_the_last_line(case: Path | None) -> None:
    if case is None:
        shared("reference-cluster", "cases")
    assert case is not None
    bundle = open_bundle([case])
    found = build(bundle)
    read_all(found)
    assert found.lines > 9000
    assert found.unparsed == ()
    for node in found.nodes.values():
        for kind in ("links", "addresses", "routes", "routing_rules", "neighbours", "ipsets", "conntrack", "sockets"):
            assert isinstance(getattr(node.host, kind), Complete), (node.name, kind)
        for pod in node.pods.values():
            assert pod.host_interface.startswith("cali")
            for kind in ("links", "addresses", "routes", "neighbours", "sockets"):
                assert isinstance(getattr(pod, kind), Complete), (pod.name, kind)
    for kind in ("workload_endpoints", "ip_pools", "policies", "services", "ipam_blocks", "calico_nodes", "pods"):
        assert isinstance(getattr(found.cluster, kind), Complete), kind
    assert check_quotations(bundle, found) > 1000


def test_published_texts_are_understood() -> None:
    lines = unparsed = 0
    for path in sorted(shared("real-evidence").glob("*.txt")):
        bundle = open_bundle([path])
        found = build(bundle)
        read_all(found)
        check_quotations(bundle, found)
        lines += found.lines
        unparsed += len(found.unparsed)
    assert lines > 500
    assert unparsed / lines < 0.005


def _cut_samples() -> list[tuple[Path, int]]:
    samples = sorted((Path(__file__).resolve().parents[2] / "samples").glob("healthy-*/node1.tar.gz"))
    return [(path, percent) for path in samples[:2] for percent in (15, 30, 55, 80, 97)]


@pytest.mark.parametrize("path, percent", _cut_samples(), ids=lambda value: getattr(value, "parent", value))
def test_a_cut_bundle_of_the_collector_says_less_and_nothing_else(path: Path, percent: int, tmp_path: Path) -> None:
    """What is Complete after a cut holds the same facts as the whole bundle's evidence, or an earlier take's."""
    cut = tmp_path / path.name
    data = path.read_bytes()
    cut.write_bytes(data[: len(data) * percent // 100])
    less, whole = build(open_bundle([cut])), build(open_bundle([path]))
    assert less.warnings != ()
    for name, node in less.nodes.items():
        for kind in ("addresses", "routing_rules", "sysctls", "ipsets"):
            found, before = getattr(node.host, kind), getattr(whole.nodes[name].host, kind)
            if isinstance(found, Complete):
                assert {str(v).replace("_t2", "") for v in found.values} == {
                    str(v).replace("_t2", "") for v in before.values
                }
