"""Kernel settings: `sysctl -a`, `key: value` lists, and `/proc/sys/...` path forms."""

from __future__ import annotations

import re

from lasthop.facts.evidence import ParseResult
from lasthop.facts.network import Sysctl

from .result import ResultBuilder, cite, numbered

_LINE = re.compile(r"([A-Za-z0-9_][^\s=:]*(?::[^\s=:]+)*)\s*(?:=\s*(.*)|:(?:\s+(.*))?)$")
_PATH = re.compile(r"(/proc/sys/[^\s=:]+(?:[:@][^\s=:]+)*)\s*[=:]\s*(.*)$")
_ERROR = re.compile(
    r"sysctl: (?:permission denied on key|reading key|error: |cannot stat|unable to open|setting key)"
    r"\s*['\"“”‘’]?([A-Za-z0-9_./-]*)"
)


def key_of(path: str) -> str:
    """The dotted key of a /proc/sys path: "net/ipv4/conf/eth0.100/rp_filter" is "net.ipv4.conf.eth0/100.rp_filter"."""
    bare = path.removeprefix("/proc/sys/").strip("/")
    return bare.translate(str.maketrans("./", "/."))


def parse_sysctls(text: str, path: str) -> ParseResult[Sysctl]:
    """Settings in file order. Lines of sysctl(8)'s own errors are not understood and touch their key.

    A key whose parts are separated by slashes is rewritten with dots. A `key =` without a value has value "".
    """
    builder: ResultBuilder[Sysctl] = ResultBuilder(path, "sysctls")
    for count, line in numbered(text):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        builder.lines += 1
        error = _ERROR.match(stripped)
        if error is not None:
            touched = error.group(1)
            key = key_of(touched) if "/" in touched else touched
            builder.reject(count, line, "sysctl could not read this key", key)
            continue
        match = _PATH.match(stripped)
        if match is not None:
            key = key_of(match.group(1))
        else:
            match = _LINE.match(stripped)
            if match is None:
                builder.reject(count, line, "not `key = value`")
                continue
            key = match.group(1)
            if "." not in key and "/" in key:
                key = key_of(key)
        builder.values.append(Sysctl(key, next(filter(None, match.groups()[1:]), "").strip(), cite(path, count, line)))
    return builder.result()
