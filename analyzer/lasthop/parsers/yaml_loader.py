"""The full YAML parser behind yaml_guard: imported only for texts outside the subset, because loading it takes long."""

from __future__ import annotations

import re
from typing import Any

import yaml

from .yaml_guard import MAX_DEPTH, BrokenYaml, UnsafeYaml

MAX_ALIASES = 10

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_FLOW = re.compile(r"[\[\]{}]")
_PREFIX = re.compile(r"^[ \t?:-]*", re.M)
_ALIAS = re.compile(r"(?:^|[\s,\[{:])\*[^\s*]", re.M)
_TAG = "tag:yaml.org,2002:"


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


def load(text: str) -> Any:
    """The value of one YAML document, its depth and aliases checked first. Raises as load_yaml."""
    try:
        _check(text)
        return yaml.load(text, Loader=StringsLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error) or type(error).__name__
        raise BrokenYaml(problem, mark.line if mark else 0) from error


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
