"""Counters of the stack. Names: nstat's ("IpInReceives", "TcpExtListenDrops") wherever nstat has one; else
"nf_conntrack.<column>", "softnet.<column>", "dev.<interface>.<column>", "tc.<interface>.<kind>.<handle>.<counter>".

Columns that the kernel prints per CPU are summed and cite all their lines.
"""

from __future__ import annotations

import re

from lasthop.facts.evidence import ParseResult, SourceRef
from lasthop.facts.network import Counter

from .result import STRANGE, ResultBuilder, cite, numbered
from .tokens import Strange, number


def _signed(text: str) -> int:
    return -number(text[1:]) if text.startswith("-") else number(text)


def _builder(path: str) -> ResultBuilder[Counter]:
    return ResultBuilder(path, "counters")


def parse_nstat(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """`nstat -az`, `-as`: name, value, rate."""
    builder = _builder(path)
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        builder.lines += 1
        try:
            if len(words) != 3:
                raise Strange("not name, value, rate")
            builder.values.append(Counter(words[0], _signed(words[1]), cite(path, count, line), sample))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200], words[0])
    return builder.result()


def parse_snmp(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """/proc/net/snmp and /proc/net/netstat: a line of names, then a line of values, of one group."""
    builder = _builder(path)
    names: tuple[str, list[str]] | None = None
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        builder.lines += 1
        group, rest = words[0], words[1:]
        if not group.endswith(":"):
            builder.reject(count, line, "does not begin with a group")
            names = None
        elif names is None or names[0] != group:
            if names is not None:
                builder.reject(count, line, f"values of {names[0]} missing", names[0].rstrip(":"))
            names = (group, rest)
        else:
            try:
                prefix = group[:-1]
                # A tab of some kernels splits no group: names and values must pair.
                pairs = list(zip(names[1], map(_signed, rest), strict=True))
                source = cite(path, count, line)
                builder.values.extend(Counter(prefix + name, value, source, sample) for name, value in pairs)
            except STRANGE as error:
                builder.reject(count, line, str(error)[:200], group[:-1])
            names = None
    if names is not None:
        builder.truncated = True
    return builder.result()


def parse_snmp6(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """/proc/net/snmp6 (and dev_snmp6 files): name, value."""
    builder = _builder(path)
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        builder.lines += 1
        try:
            if len(words) != 2:
                raise Strange("not name and value")
            builder.values.append(Counter(words[0], _signed(words[1]), cite(path, count, line), sample))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200], words[0])
    return builder.result()


class _PerCpu:
    """Sums columns over lines; the source spans the lines added."""

    def __init__(self, builder: ResultBuilder[Counter], sample: int) -> None:
        self.builder = builder
        self.sample = sample
        self.totals: dict[str, int] = {}
        self.sources: list[SourceRef] = []

    def add(self, source: SourceRef, values: dict[str, int]) -> None:
        self.sources.append(source)
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0) + value

    def flush(self) -> ParseResult[Counter]:
        if self.sources:
            first, last = self.sources[0], self.sources[-1]
            source = SourceRef(first.path, first.line, first.text, last.line if last.line != first.line else 0)
            self.builder.values.extend(
                Counter(name, value, source, self.sample) for name, value in self.totals.items()
            )
        return self.builder.result()


def parse_conntrack_stats(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """`conntrack -S`: "nf_conntrack.<name>", summed over the CPUs. A CPU not understood leaves all totals out."""
    builder = _builder(path)
    totals = _PerCpu(builder, sample)
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        builder.lines += 1
        try:
            # "cpu=0   found=0 invalid=0 ..."; older versions have no tab behind the CPU.
            fields = dict(word.split("=", 1) for word in words)
            del fields["cpu"]
            totals.add(
                cite(path, count, line), {f"nf_conntrack.{name}": number(value) for name, value in fields.items()}
            )
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    if builder.unparsed:
        return builder.result()
    return totals.flush()


def parse_proc_stat_conntrack(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """/proc/net/stat/nf_conntrack: names, then hexadecimal columns per CPU; `entries` is a total, not a sum."""
    builder = _builder(path)
    totals = _PerCpu(builder, sample)
    names: list[str] = []
    entries: int | None = None
    for count, line in numbered(text):
        words = line.split()
        if not words or words[0][0] == "#":
            continue
        if words[0] == "entries":
            names = words
            continue
        builder.lines += 1
        try:
            values = dict(zip(names, (int(word, 16) for word in words), strict=True))
            entries = values.pop("entries")
            totals.add(cite(path, count, line), {f"nf_conntrack.{name}": value for name, value in values.items()})
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200] or "not understood")
    if builder.unparsed:
        return builder.result()
    if entries is not None:
        totals.totals["nf_conntrack.count"] = entries
    return totals.flush()


def parse_conntrack_count(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """One number: `conntrack -C` or nf_conntrack_count, as "nf_conntrack.count"."""
    builder = _builder(path)
    for count, line in numbered(text):
        if not line.strip():
            continue
        builder.lines += 1
        try:
            builder.values.append(Counter("nf_conntrack.count", number(line.strip()), cite(path, count, line), sample))
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200])
    return builder.result()


_SOFTNET = ("processed", "dropped", "time_squeeze")


def parse_softnet(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """/proc/net/softnet_stat: the first three hexadecimal columns, summed over the CPUs (net/core/net-procfs.c)."""
    builder = _builder(path)
    totals = _PerCpu(builder, sample)
    for count, line in numbered(text):
        words = line.split()
        if not words:
            continue
        builder.lines += 1
        try:
            if len(words) < 3 or any(len(word) != 8 for word in words):
                raise Strange("not columns of eight hexadecimal digits")
            values = {f"softnet.{name}": int(word, 16) for name, word in zip(_SOFTNET, words, strict=False)}
            totals.add(cite(path, count, line), values)
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200])
    return builder.result() if builder.unparsed else totals.flush()


_DEV = ("rx_bytes", "rx_packets", "rx_errors", "rx_dropped", "rx_fifo", "rx_frame", "rx_compressed", "rx_multicast",
        "tx_bytes", "tx_packets", "tx_errors", "tx_dropped", "tx_fifo", "tx_collisions", "tx_carrier",
        "tx_compressed")  # fmt: skip


def parse_proc_dev(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """/proc/net/dev: "dev.<interface>.rx_packets" and so on."""
    builder = _builder(path)
    for count, line in numbered(text):
        if not line.strip() or line.lstrip().startswith(("Inter-|", "face |")):
            continue
        builder.lines += 1
        name, _, rest = line.strip().partition(":")
        try:
            source = cite(path, count, line)
            pairs = list(zip(_DEV, map(number, rest.split()), strict=True))
            builder.values.extend(Counter(f"dev.{name}.{column}", value, source, sample) for column, value in pairs)
        except STRANGE as error:
            builder.reject(count, line, str(error)[:200], name)
    return builder.result()


_QDISC = re.compile(r"(?:qdisc|class) (\S+) (\S+) (?:dev (\S+) )?")
_SENT = re.compile(r" Sent (\d+) bytes (\d+) pkts? \(dropped (\d+), overlimits (\d+) requeues (\d+)\)")


def parse_tc_qdisc(text: str, path: str, sample: int = 1) -> ParseResult[Counter]:
    """`tc -s qdisc show`: packets and drops of each qdisc. Other indented lines belong to the qdisc and are skipped."""
    builder = _builder(path)
    name = ""
    for count, line in numbered(text):
        if not line.strip():
            continue
        builder.lines += 1
        if line[0] in " \t":
            match = _SENT.match(line)
            if not name:
                builder.reject(count, line, "belongs to a qdisc that was not understood")
            elif match is not None:
                source = cite(path, count, line)
                for column, value in (("packets", 2), ("dropped", 3), ("overlimits", 4)):
                    builder.values.append(Counter(f"{name}.{column}", int(match.group(value)), source, sample))
            elif line.startswith(" Sent "):
                builder.reject(count, line, "not understood", name)
            continue
        match = _QDISC.match(line)
        if match is None:
            name = ""
            builder.reject(count, line, "not a qdisc")
            continue
        kind, handle, dev = match.groups()
        name = f"tc.{dev or ''}.{kind}.{handle}"
    return builder.result()
