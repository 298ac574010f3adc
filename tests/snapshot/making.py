"""Snapshots of small native bundles in memory."""

from __future__ import annotations

from collections.abc import Mapping

from lasthop.bundle import Bundle
from lasthop.bundle.members import Member
from lasthop.facts.evidence import Artifact, Status
from lasthop.facts.snapshot import NetNS, Snapshot
from lasthop.snapshot.build import build

Output = str | Artifact | tuple[str, Mapping[str, object]]


def bundle(outputs: Mapping[str, str | tuple[str, dict[str, object]]], node: str = "n1", netns: str = "host") -> Bundle:
    """`outputs`: id (id#n for several takes) -> text, or (text, fields of Artifact to change)."""
    artifacts: list[Artifact] = []
    members: dict[str, Member] = {}
    for key, given in outputs.items():
        text, fields = given if isinstance(given, tuple) else (given, {})
        identity = key.partition("#")[0]
        place = {"node": node, "netns": netns, **fields}
        cluster = identity.startswith(("calico_", "kube_", "etcd", "other_")) and identity != "calico_node_status"
        if cluster:
            place.update(node="", netns="")
        path = f"{place['node'] or 'cluster'}/{str(place['netns']).replace(':', '_')}/{key}.out"
        artifacts.append(Artifact(identity, path, **{"rc": 0, **place}))  # type: ignore[arg-type]
        members[path] = Member(path, len(text), text.encode())
        if fields.get("stderr"):
            err = path.removesuffix(".out") + ".err"
            members[err] = Member(err, 1, str(fields["stderr"]).encode())
    return Bundle(artifacts=tuple(artifacts), members=members, meta={node: {}}, pods={node: {}})


def snapshot(outputs: Mapping[str, str | tuple[str, dict[str, object]]]) -> Snapshot:
    return build(bundle(outputs))


def host(outputs: Mapping[str, str | tuple[str, dict[str, object]]]) -> NetNS:
    return snapshot(outputs).nodes["n1"].host


def failed(rc: int | None = 1, stderr: str = "", why: str = "") -> dict[str, object]:
    return {"status": Status.FAILED, "rc": rc, "stderr": stderr, "why": why}


def skipped(why: str) -> dict[str, object]:
    return {"status": Status.SKIPPED, "rc": None, "why": why}
