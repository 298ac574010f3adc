"""Any text of cluster objects, whichever tool and API version wrote it -> facts."""

from __future__ import annotations

from lasthop.facts.evidence import ParseResult, Unparsed

from .calico_objects import CalicoFact, calico_fact, is_calico
from .kube_objects import KubeFact, kube_facts
from .objects import RawObject, load_objects, paused_gc

ClusterFact = CalicoFact | KubeFact


def parse_cluster_objects(text: str, path: str) -> ParseResult[ClusterFact]:
    """Facts of every object of a YAML or JSON text, in order. Never raises.

    An object that cannot be read counts as one unparsed entry; its `touches` is "<kind> <namespace>/<name>".
    `truncated` says that the text ends in the middle: what follows is unknown.
    """
    objects = load_objects(text, path)
    values: list[ClusterFact] = []
    unparsed: list[Unparsed] = list(objects.unparsed)
    touches = [""] * len(unparsed)
    with paused_gc():
        for raw in objects.values:
            try:
                values.extend(_facts(raw))
            except ValueError as error:
                unparsed.append(Unparsed(raw.source, raw.kind, str(error)[:200]))
                touches.append(f"{raw.kind} {raw.namespace}/{raw.name}")
    return ParseResult(tuple(values), tuple(unparsed), objects.lines, objects.truncated, tuple(touches))


def _facts(raw: RawObject) -> tuple[ClusterFact, ...]:
    return (calico_fact(raw),) if is_calico(raw) else kube_facts(raw)
