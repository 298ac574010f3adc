"""Reads rule files: strict about every key, and says where and what was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lasthop.errors import RuleError
from lasthop.parsers.yaml_guard import BrokenYaml, load_yaml
from lasthop.resources import rules_dir

from .model import (
    CONFIDENCES,
    DATA_PLANES,
    ENCAPSULATIONS,
    NEEDS,
    PLACES,
    SCOPES,
    SEVERITIES,
    AppliesWhen,
    Fix,
    Rule,
    RuleTest,
)

MAX_FILE = 256 * 1024
_ID = re.compile(r"^[A-Z]{2,6}-[A-Z]{2,6}-[0-9]{3}$")
_TESTS = re.compile(r"^tests:[ \t]*$", re.M)
_TEXT_KEYS = (
    "id", "title", "code", "severity", "confidence", "place", "scope", "query", "message", "why", "since",
)  # fmt: skip
_LIST_KEYS = ("verify", "false_positives", "references")
_REQUIRED = (*_TEXT_KEYS, "needs", "fix", *_LIST_KEYS)
_OPTIONAL = ("applies_when", "tolerates_missing_nodes")
_CHOICES: Mapping[str, Sequence[str]] = {
    "severity": SEVERITIES,
    "confidence": CONFIDENCES,
    "place": PLACES,
    "scope": SCOPES,
}


def load_pack(extra: Iterable[Path] = ()) -> tuple[Rule, ...]:
    """The shipped rules and those of the folders in `extra`, in the order of their ids.

    Raises RuleError for a file that is not a rule, a query that does not fit the tables, or an id given twice.
    """
    rules: dict[str, Rule] = {}
    shipped = rules_dir()
    for folder in (shipped, *extra):
        if not folder.is_dir():
            raise RuleError(f"{folder}: no such folder of rules")
        for path in sorted(folder.rglob("*.yaml")):
            rule = load_rule(path)
            if folder != shipped:
                _check_stranger(rule)
            if rule.id in rules:
                raise RuleError(f"{path}: the id {rule.id} is already taken by {rules[rule.id].path}")
            rules[rule.id] = rule
    return tuple(rules[key] for key in sorted(rules))


def _check_stranger(rule: Rule) -> None:
    """The shipped rules are checked when they are built; others when they are loaded."""
    from .check import check_query

    check_query(rule)


def load_rule(path: Path) -> Rule:
    """One rule file without its tests, checked key by key. Raises RuleError with file and line."""
    text = _read(path)
    cut = _TESTS.search(text)
    head = text[: cut.start()] if cut else text
    return _Checker(path, head).rule(tests=cut is not None)


def load_tests(rule: Rule) -> tuple[RuleTest, ...]:
    """The tests of a rule file, at least three. Raises RuleError with file and line."""
    text = _read(rule.path)
    cut = _TESTS.search(text)
    return _Checker(
        rule.path, text[cut.start() :] if cut else "", text[: cut.start()].count("\n") if cut else 0
    ).tests()


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise RuleError(f"{path}: {error.strerror or error}") from error
    if len(raw) > MAX_FILE:
        raise RuleError(f"{path}: larger than {MAX_FILE // 1024} KiB; a rule file is a page")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: not UTF-8 text (byte {error.start})") from error


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean "x"?`, or "" when nothing known comes near."""
    near = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    near.sort(key=lambda other: other[:1] != word[:1])  # people rarely mistype the first letter
    return f'; did you mean "{near[0]}"?' if near else ""


class _Checker:
    """One pass over one file; knows the lines of its keys only when something is wrong."""

    def __init__(self, path: Path, text: str, first_line: int = 0) -> None:
        self.path = path
        self.text = text
        self.first_line = first_line
        try:
            self.value = load_yaml(text)
        except (ValueError, RecursionError) as error:
            line = first_line + 1 + (error.line if isinstance(error, BrokenYaml) else 0)
            raise RuleError(f"{path}:{line}: not readable as YAML: {error}") from error
        if not isinstance(self.value, dict):
            raise RuleError(f"{path}:1: a rule file is a mapping of keys; this one is not")
        repeated = _repeated_key(text)
        if repeated:
            raise RuleError(f'{path}:{first_line + repeated[1]}: the key "{repeated[0]}" is given twice')

    def fail(self, sentence: str, *keys: str | int) -> RuleError:
        return RuleError(f"{self.path}:{self._line(keys)}: {sentence}")

    def _line(self, keys: Sequence[str | int]) -> int:
        """Line of the value at `keys`, or of the deepest key on the way that exists."""
        import yaml

        from lasthop.parsers.yaml_loader import StringsLoader

        node = yaml.compose(self.text, Loader=StringsLoader)
        line = node.start_mark.line if node else 0
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = [(k, v) for k, v in node.value if k.value == key]
                if not found:
                    break
                line, node = found[0][0].start_mark.line, found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line
        return self.first_line + int(line) + 1

    def keys(self, value: Mapping[str, Any], known: Sequence[str], required: Sequence[str], *at: str | int) -> None:
        for key in value:
            if key not in known:
                raise self.fail(f'unknown key "{key}"{did_you_mean(str(key), known)}', *at, key)
        for key in required:
            if key not in value:
                raise self.fail(f'the key "{key}" is missing', *at)

    def choice(self, value: Any, known: Sequence[str], *at: str | int) -> str:
        if value not in known:
            said = f'"{value}" is not one of {", ".join(known)}'
            raise self.fail(f"{at[-1]}: {said}{did_you_mean(str(value), known)}", *at)
        return str(value)

    def words(self, value: Any, *at: str | int) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.fail(f"{at[-1]}: a text is needed here", *at)
        return value.strip()

    def items(self, value: Any, *at: str | int) -> list[Any]:
        if not isinstance(value, list):
            raise self.fail(f"{at[-1]}: a list is needed here", *at)
        return value

    def mapping(self, value: Any, *at: str | int) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(f"{at[-1]}: a mapping of keys is needed here", *at)
        return value

    def rule(self, tests: bool) -> Rule:
        value = self.value
        self.keys(value, (*_REQUIRED, *_OPTIONAL, "tests"), _REQUIRED)
        if not tests:
            raise self.fail('the key "tests" is missing; it stands last, alone on its line')
        text = {key: self.words(value[key], key) for key in _TEXT_KEYS}
        if not _ID.match(text["id"]):
            raise self.fail(f'id: "{text["id"]}" is not of the form CAL-RT-003', "id")
        for key, known in _CHOICES.items():
            self.choice(text[key], known, key)
        needs = self.mapping(value["needs"], "needs")
        for key in needs:
            self.choice(needs[key], NEEDS, "needs", key)
        tolerates = value.get("tolerates_missing_nodes", False)
        if not isinstance(tolerates, bool):
            raise self.fail("tolerates_missing_nodes: true or false is needed here", "tolerates_missing_nodes")
        return Rule(
            id=text["id"],
            title=text["title"],
            code=text["code"],
            severity=text["severity"],
            confidence=text["confidence"],
            place=text["place"],
            scope=text["scope"],
            needs=needs,
            query=text["query"],
            message=text["message"],
            why=text["why"],
            fix=self._fixes(value["fix"]),
            verify=self._texts(value, "verify"),
            false_positives=self._texts(value, "false_positives"),
            references=self._texts(value, "references"),
            since=text["since"],
            path=self.path,
            applies_when=self._applies(value.get("applies_when")),
            tolerates_missing_nodes=tolerates,
        )

    def _texts(self, value: Mapping[str, Any], key: str) -> tuple[str, ...]:
        return tuple(self.words(text, key, number) for number, text in enumerate(self.items(value[key], key)))

    def _fixes(self, value: Any) -> tuple[Fix, ...]:
        made = []
        for n, fix in enumerate(self.items(value, "fix")):
            self.mapping(fix, "fix", n)
            self.keys(fix, ("command", "risk", "on"), ("command", "risk"), "fix", n)
            risk = self.choice(fix["risk"], ("read-only", "changes"), "fix", n, "risk")
            on = self.words(fix.get("on", "{node}"), "fix", n, "on")
            made.append(Fix(self.words(fix["command"], "fix", n, "command"), risk, on))
        return tuple(made)

    def _applies(self, value: Any) -> AppliesWhen:
        if value is None:
            return AppliesWhen()
        self.mapping(value, "applies_when")
        self.keys(value, ("data_plane", "encapsulation", "calico"), (), "applies_when")
        lists = {}
        for key, known in (("data_plane", DATA_PLANES), ("encapsulation", ENCAPSULATIONS)):
            items = self.items(value.get(key, []), "applies_when", key)
            lists[key] = tuple(self.choice(item, known, "applies_when", key) for item in items)
        calico = value.get("calico", "")
        if calico and not re.fullmatch(r"(>=|<=|>|<|==)\d+(\.\d+)*(,(>=|<=|>|<|==)\d+(\.\d+)*)*", str(calico)):
            raise self.fail(f'calico: "{calico}" is not a version range such as >=3.0,<3.27', "applies_when", "calico")
        return AppliesWhen(lists["data_plane"], lists["encapsulation"], str(calico))

    def tests(self) -> tuple[RuleTest, ...]:
        self.keys(self.value, ("tests",), ("tests",))
        made = []
        for n, test in enumerate(self.items(self.value["tests"], "tests")):
            self.mapping(test, "tests", n)
            self.keys(test, ("name", "facts", "absent", "expect"), ("name", "expect"), "tests", n)
            facts: dict[str, tuple[Mapping[str, Any], ...]] = {}
            for table, rows in self.mapping(test.get("facts", {}), "tests", n, "facts").items():
                at = ("tests", n, "facts", table)
                facts[table] = tuple(self.mapping(row, *at) for row in self.items(rows, *at))
            expect = test["expect"]
            if expect != "not evaluated":
                expect = tuple(
                    self.mapping(row, "tests", n, "expect") for row in self.items(expect, "tests", n, "expect")
                )
            made.append(
                RuleTest(
                    self.words(test["name"], "tests", n, "name"),
                    facts,
                    tuple(self.items(test.get("absent", []), "tests", n, "absent")),
                    None if expect == "not evaluated" else expect,
                )
            )
        if len(made) < 3:
            raise self.fail(
                f"tests: {len(made)} given; a hit, a near miss and one with missing evidence are needed", "tests"
            )
        return tuple(made)


def _repeated_key(text: str) -> tuple[str, int] | None:
    """The first top-level key given twice and its line: YAML loaders silently keep the last."""
    seen: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"([a-z_]+):(?:\s|$)", line)
        if match:
            if match[1] in seen:
                return match[1], number
            seen.add(match[1])
    return None
