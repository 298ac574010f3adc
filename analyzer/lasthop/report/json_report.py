"""The JSON report, `lasthop.report/1` (docs/report.schema.json): the same diagnosis always gives the same bytes."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

import lasthop
from lasthop.diagnosis.result import Branch, BundleHealth, Diagnosis, Endpoint, FlowResult
from lasthop.facts.evidence import SourceRef
from lasthop.facts.trace import (
    Choice,
    Command,
    Finding,
    Hop,
    MissingEvidence,
    Packet,
    RuleVisit,
    Sighting,
    Step,
    Trace,
)

from . import order

Json = dict[str, Any]
SCHEMA = "lasthop.report/1"


def report(diagnosis: Diagnosis) -> Json:
    """The report as plain values, keys in the schema's order, lists in the order of report/order.py."""
    return {
        "schema": SCHEMA,
        "lasthop": lasthop.__version__,
        "verdict": diagnosis.verdict.value,
        "exit_code": diagnosis.exit_code,
        "summary": diagnosis.summary,
        "flows": [_flow(flow) for flow in order.flows(diagnosis)],
        "findings": [_finding(finding) for finding in order.findings(diagnosis)],
        "not_evaluated": [
            {"rule": entry.rule, "node": entry.node or None, "lacks": list(entry.lacks)}
            for entry in order.not_evaluated(diagnosis)
        ],
        "missing_evidence": [_missing(entry) for entry in order.missing(diagnosis.missing)],
        "bundle": _bundle(diagnosis.bundle),
    }


_RAW = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def dumps(diagnosis: Diagnosis) -> str:
    """Canonical text: UTF-8 without bytes that could steer a terminal, one space of indent, one newline at the end.

    C1 and bidirectional characters are written as JSON escapes (the value stays the same); half a surrogate pair,
    which no UTF-8 file can hold, becomes U+FFFD.
    """
    text = json.dumps(report(diagnosis), ensure_ascii=False, allow_nan=False, indent=1)
    text = _SURROGATE.sub("\ufffd", text)
    return _RAW.sub(_escaped, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match.group())[1:-1]


def _source(source: SourceRef) -> Json:
    out: Json = {"file": source.path, "line": source.line, "text": source.text}
    if source.end_line:
        out["end_line"] = source.end_line
    return out


def _sources(sources: tuple[SourceRef, ...]) -> list[Json]:
    return [_source(source) for source in sources]


def _endpoint(endpoint: Endpoint) -> Json:
    return {
        "name": endpoint.name,
        "kind": endpoint.kind,
        "ip": None if endpoint.ip is None else str(endpoint.ip),
        "node": endpoint.node or None,
        "interface": endpoint.interface or None,
    }


def mark_text(value: int, known: int) -> str:
    """"0x10000", or "0x10000/0xff0000" where only the bits of the mask are certain."""
    return f"{value:#x}" if known == 0xFFFFFFFF else f"{value:#x}/{known:#x}"


def _packet(packet: Packet) -> Json:
    return {
        "src": str(packet.src),
        "dst": str(packet.dst),
        "proto": packet.proto,
        "sport": packet.sport,
        "dport": packet.dport,
        "length": packet.length,
        "df": packet.df,
        "ttl": packet.ttl,
        "iif": packet.iif,
        "oif": packet.oif,
        "mark": mark_text(packet.mark.value, packet.mark.known),
        "ctstate": packet.ctstate,
        "encap": [
            f"{encap.kind} {encap.src} > {encap.dst}" + ("" if encap.vni is None else f" vni {encap.vni}")
            for encap in packet.encaps
        ],
    }


def _visit(visit: RuleVisit) -> Json:
    rule = visit.rule
    out: Json = {
        "backend": rule.backend,
        "table": rule.table,
        "chain": rule.chain,
        "index": rule.index,
        "truth": visit.truth.value,
        "target": rule.target,
        "source": _source(rule.source),
    }
    if visit.why:
        out["why"] = visit.why
    return out


def _step(step: Step) -> Json:
    out: Json = {
        "stage": step.stage,
        "outcome": step.outcome.value,
        "detail": step.detail,
        "where": step.where,
        "decided_by": _sources(step.sources),
        "rules": [_visit(visit) for visit in step.visits],
        "rules_skipped": step.skipped_rules,
    }
    if step.before is not None:
        out["before"] = _packet(step.before)
    if step.after is not None:
        out["after"] = _packet(step.after)
    if step.disposition is not None:
        out["disposition"] = step.disposition.value
    if step.decides:
        out["decides"] = step.decides
    return out


def _hop(hop: Hop) -> Json:
    return {
        "node": hop.node or None,
        "netns": hop.netns,
        "step": hop.step,
        "iif": hop.iif,
        "oif": hop.oif,
        "steps": [_step(step) for step in hop.steps],
    }


def _choice(choice: Choice) -> Json:
    out: Json = {
        "where": choice.where,
        "label": choice.label,
        "share": share_number(choice.share),
        "share_exact": str(choice.share),
    }
    if choice.source is not None:
        out["source"] = _source(choice.source)
    return out


def share_number(share: Fraction) -> float:
    return round(float(share), 6)


def _trace(trace: Trace | None) -> Json | None:
    if trace is None:
        return None
    return {
        "direction": trace.direction,
        "packet": trace.packet,
        "disposition": trace.disposition.value,
        "hops": [_hop(hop) for hop in trace.hops],
        "choices": [_choice(choice) for choice in trace.choices],
        "assumptions": list(trace.assumptions),
        "endings": [ending.value for ending in trace.endings],
    }


def _command(command: Command) -> Json:
    return {"command": command.command, "risk": command.risk, "on": command.on}


def _break(rank: int, finding: Finding) -> Json:
    return {
        "rank": rank,
        "code": finding.code,
        "rule": finding.rule,
        "title": finding.title,
        "direction": finding.direction or "request",
        "step": finding.step,
        "node": finding.node or None,
        "netns": finding.netns,
        "object": finding.object,
        "died_at": {
            "node": finding.died_node or None,
            "step": finding.died_step,
            "disposition": finding.disposition.value if finding.disposition else "INSUFFICIENT_EVIDENCE",
        },
        "confidence": finding.confidence,
        "share": share_number(finding.share),
        "policy": finding.policy,
        "because": finding.because,
        "evidence": _sources(finding.evidence),
        "fix": [_command(command) for command in finding.fix],
        "verify": list(finding.verify),
    }


def _finding(finding: Finding) -> Json:
    return {
        "code": finding.code,
        "rule": finding.rule,
        "title": finding.title,
        "severity": finding.severity,
        "confidence": finding.confidence,
        "place": finding.place,
        "step": finding.step,
        "direction": finding.direction or None,
        "node": finding.node or None,
        "netns": finding.netns,
        "object": finding.object,
        "because": finding.because,
        "evidence": _sources(finding.evidence),
        "fix": [_command(command) for command in finding.fix],
        "verify": list(finding.verify),
    }


def _sighting(sighting: Sighting) -> Json:
    return {
        "node": sighting.node,
        "netns": sighting.netns,
        "interface": sighting.interface,
        "direction": sighting.direction,
        "packet": sighting.packet,
        "seen": sighting.seen,
        "received": sighting.received,
        "file": sighting.path,
        "frames": list(sighting.frames),
        "first_time": sighting.first_time,
        "note": sighting.note,
        "step": sighting.step,
    }


def _missing(entry: MissingEvidence) -> Json:
    return {"node": entry.node or None, "id": entry.id, "why": entry.why, "command": entry.command}


def _branch(branch: Branch) -> Json:
    return {
        "label": branch.label,
        "share": share_number(branch.share),
        "share_exact": str(branch.share),
        "verdict": branch.verdict.value,
        "choices": [_choice(choice) for choice in branch.choices],
        "request": _trace(branch.request),
        "reply": _trace(branch.reply),
    }


def _flow(flow: FlowResult) -> Json:
    return {
        "from": _endpoint(flow.src),
        "to": _endpoint(flow.dst),
        "proto": flow.proto,
        "port": flow.port,
        "origin": flow.origin,
        "verdict": flow.verdict.value,
        "first": flow.first,
        "summary": flow.summary,
        "breaks": [_break(rank, finding) for rank, finding in enumerate(flow.breaks, 1)],
        "request": _trace(flow.request),
        "reply": _trace(flow.reply),
        "request_full": _trace(flow.request_full),
        "reply_full": _trace(flow.reply_full),
        "branches": [_branch(branch) for branch in flow.branches],
        "assumptions": list(flow.assumptions),
        "sightings": [_sighting(sighting) for sighting in flow.sightings],
        "missing_evidence": [_missing(entry) for entry in order.missing(flow.missing)],
    }


def _bundle(bundle: BundleHealth) -> Json:
    return {
        "inputs": list(bundle.inputs),
        "nodes": [
            {
                "name": node.name,
                "start": node.start,
                "end": node.end,
                "pods": node.pods,
                "collector": node.collector,
                "changed": None if node.changed is None else list(node.changed),
            }
            for node in sorted(bundle.nodes, key=lambda node: node.name)
        ],
        "coverage": [
            {
                "node": cell.node,
                "netns": cell.netns,
                "kind": cell.kind,
                "state": cell.state,
                "why": cell.why,
                "command": cell.command,
                "hides": cell.hides,
            }
            for cell in order.coverage(bundle)
        ],
        "clocks": {
            "spread_seconds": bundle.spread_seconds,
            "offsets": {node.name: node.clock_offset for node in sorted(bundle.nodes, key=lambda node: node.name)},
        },
        "unparsed": {
            "lines": bundle.lines,
            "count": bundle.unparsed,
            "examples": _sources(bundle.unparsed_examples),
        },
        "unrecognised": sorted(bundle.unrecognised),
        "warnings": list(bundle.warnings),
    }
