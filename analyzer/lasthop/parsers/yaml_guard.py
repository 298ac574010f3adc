"""YAML that is safe to load: strings stay strings, and depth and aliases are bounded before anything is composed."""

from __future__ import annotations

from typing import Any

from .yaml_subset import Unusual, read_subset

MAX_DEPTH = 100


class UnsafeYaml(ValueError):
    """The text nests too deep or repeats itself through aliases; it was not composed."""


class BrokenYaml(ValueError):
    """The text is no YAML; `line` counts from 0."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.line = line


def load_yaml(text: str) -> Any:
    """The value of one YAML document. Raises UnsafeYaml, BrokenYaml, or another ValueError or RecursionError for bad
    text.

    The composer of libyaml recurses and dies of a stack overflow at some ten thousand levels (yaml/libyaml#107), so
    depth is checked first: by an upper bound from columns and brackets, and where that does not settle it by the
    event stream, which does not recurse.
    """
    try:
        return read_subset(text)
    except Unusual:
        from .yaml_loader import load

        return load(text)
