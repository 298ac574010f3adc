"""A name that the bundle does not know, and the names that were probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from lasthop.errors import UsageError
from lasthop.facts.evidence import Complete
from lasthop.facts.snapshot import Question, Snapshot


def check_question(question: Question, snapshot: Snapshot) -> None:
    """Returns unless an end is named that a complete list of the bundle lacks.

    Raises UsageError with near names. Where the list is not complete the name may exist: the walk then says what is
    missing.
    """
    for option, end in (("--from", question.src), ("--to", question.dst)):
        kind, known, complete = _known(end, snapshot)
        name = end.partition(":")[2] if kind in ("node", "service") else end
        if kind and complete and name not in known:
            raise UsageError(f"{option} {end}: no such {kind} in the bundle{near(name, known)}")


def near(name: str, known: Iterable[str]) -> str:
    """"; did you mean a or b?", or "." when nothing is alike; at most three names."""
    names = sorted(known)
    alike = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    last = name.rpartition("/")[2]
    alike += [other for other in names if other.rpartition("/")[2] == last and other not in alike][: 3 - len(alike)]
    return f"; did you mean {' or '.join(alike)}?" if alike else "."


def _known(end: str, snapshot: Snapshot) -> tuple[str, set[str], bool]:
    cluster = snapshot.cluster
    if end.startswith("node:"):
        nodes = set(snapshot.nodes) | {node.name for node in cluster.nodes.values}
        nodes |= {node.name for node in cluster.calico_nodes.values}
        complete = isinstance(cluster.nodes, Complete) or isinstance(cluster.calico_nodes, Complete)
        return "node", nodes, complete
    if end.startswith("svc:"):
        services = {f"{service.namespace}/{service.name}" for service in cluster.services.values}
        return "service", services, isinstance(cluster.services, Complete)
    if "/" in end:
        pods = {f"{pod.namespace}/{pod.name}" for pod in cluster.pods.values}
        pods |= {name for node in snapshot.nodes.values() for name in node.pods}
        pods |= {
            f"{endpoint.namespace}/{endpoint.pod}" for endpoint in cluster.workload_endpoints.values if endpoint.pod
        }
        return "pod", pods, isinstance(cluster.pods, Complete)
    return "", set(), False
