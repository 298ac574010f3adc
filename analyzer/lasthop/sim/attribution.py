"""Why a table decided as it did: visits and rewrites in words."""

from __future__ import annotations

from lasthop.facts.trace import Packet, RuleVisit, Truth

from .extensions.context import Context
from .worlds import Visit


def rewrite(before: Packet, after: Packet) -> str:
    def end(ip: object, port: int | None) -> str:
        return f"{ip}:{port}" if port is not None else str(ip)

    parts = []
    if (before.src, before.sport) != (after.src, after.sport):
        parts.append(f"source {end(before.src, before.sport)} -> {end(after.src, after.sport)}")
    if (before.dst, before.dport) != (after.dst, after.dport):
        parts.append(f"destination {end(before.dst, before.dport)} -> {end(after.dst, after.dport)}")
    return ", ".join(parts) or "nothing changes"


def rule_visit(c: Context, visit: Visit) -> RuleVisit:
    rule = visit.compiled.rule
    if visit.answer is True:
        return RuleVisit(rule, Truth.YES)
    c.mark, c.ctmark = visit.mark, visit.ctmark
    match = visit.compiled.matches[visit.at]
    if visit.answer is False:
        return RuleVisit(rule, Truth.NO, f"{match.text}: {match.value(c)}")
    return RuleVisit(rule, Truth.UNKNOWN, f"{match.text}: {visit.answer.why}")


def visits(c: Context, met: list[Visit], level: str, stopped: bool) -> tuple[RuleVisit, ...]:
    """Level full: every rule met. Otherwise the rules that matched or are UNKNOWN and, where the packet was stopped,
    the last rule before that did not match in the deciding chain."""
    if level == "full":
        return tuple(rule_visit(c, visit) for visit in met)
    keep = [visit.answer is not False for visit in met]
    if stopped and met:
        chain = met[-1].compiled.rule.chain
        for position in range(len(met) - 1, -1, -1):
            if met[position].answer is False and met[position].compiled.rule.chain == chain:
                keep[position] = True
                break
    return tuple(rule_visit(c, visit) for visit, kept in zip(met, keep, strict=True) if kept)
