"""YAML that is safe to load: strings stay strings, and depth and aliases are bounded before anything is composed."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .yaml_subset import Unusual, read_subset

MAX_DEPTH = 100
MAX_ALIASES = 10

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLOW = re.compile(r"[\[\]{}]")
_PREFIX = re.compile(r"^[ \t?:-]*", re.M)
_ALIAS = re.compile(r"(?:^|[\s,\[{:])\*[^\s*]", re.M)
_TAG = "tag:yaml.org,2002:"


class UnsafeYaml(ValueError):
    """The text nests too deep or repeats itself through aliases; it was not composed."""


class StringsLoader(_Base):  # type: ignore[misc]
    """Plain scalars become str, except true, false, null and decimal integers.

    YAML 1.1 would read `mac: 12:34:56:10:20:30` as one base-60 integer, `010` as 8, `no` as False and a date as a
    date; objects of Calico and Kubernetes mean the text.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012
    yaml_constructors: dict[str | None, Any] = {}  # noqa: RUF012

    def construct_small_int(self, node: Any) -> int:
        return int(self.construct_scalar(node))

    def construct_flag(self, node: Any) -> bool:
        return str(self.construct_scalar(node)).lower() == "true"


StringsLoader.add_implicit_resolver(_TAG + "bool", re.compile(r"^(?:true|false)$"), list("tf"))
StringsLoader.add_implicit_resolver(_TAG + "null", re.compile(r"^(?:null|~|)$"), ["n", "~", ""])
StringsLoader.add_implicit_resolver(_TAG + "int", re.compile(r"^(?:0|-?[1-9][0-9]{0,17})$"), list("-0123456789"))
StringsLoader.add_constructor(_TAG + "bool", StringsLoader.construct_flag)
StringsLoader.add_constructor(_TAG + "int", StringsLoader.construct_small_int)
StringsLoader.add_constructor(_TAG + "null", yaml.constructor.SafeConstructor.construct_yaml_null)
StringsLoader.add_constructor(_TAG + "str", yaml.constructor.SafeConstructor.construct_yaml_str)
StringsLoader.add_constructor(_TAG + "seq", yaml.constructor.SafeConstructor.construct_yaml_seq)
StringsLoader.add_constructor(_TAG + "map", yaml.constructor.SafeConstructor.construct_yaml_map)


def load_yaml(text: str) -> Any:
    """The value of one YAML document. Raises UnsafeYaml, or yaml.YAMLError, ValueError, RecursionError for bad text.

    The composer of libyaml recurses and dies of a stack overflow at some ten thousand levels (yaml/libyaml#107), so
    depth is checked first: by an upper bound from columns and brackets, and where that does not settle it by the
    event stream, which does not recurse.
    """
    try:
        return read_subset(text)
    except Unusual:
        _check(text)
        return yaml.load(text, Loader=StringsLoader)


def _check(text: str) -> None:
    flow = _flow_depth(text)
    if flow > MAX_DEPTH:
        raise UnsafeYaml(f"nested deeper than {MAX_DEPTH} levels")
    column = max((match.end() - match.start() for match in _PREFIX.finditer(text)), default=0)
    # A nested block starts at least one column further right, except a sequence inside a mapping: two levels a column.
    deep = 2 * (column + 1) + flow > MAX_DEPTH
    if deep or _ALIAS.search(text):
        _check_events(text)


def _flow_depth(text: str) -> int:
    """Deepest run of open brackets, quotes ignored: brackets in strings come in pairs in practice."""
    depth = deepest = 0
    for match in _FLOW.finditer(text):
        if match.group() in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif depth:
            depth -= 1
    return deepest


def _check_events(text: str) -> None:
    depth = aliases = 0
    for event in yaml.parse(text, Loader=StringsLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise UnsafeYaml(f"nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise UnsafeYaml(f"more than {MAX_ALIASES} aliases")
