"""Calico's selector language: parse, evaluate with unknown labels, print in canonical form.

Grammar and semantics: libcalico-go/lib/selector/{tokenizer,parser}. `==`, `in`, contains, starts with, ends with and
has() are false for an absent label; `!=` and `not in` are true for it. An empty selector is all().
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

NAMESPACE_LABEL = "projectcalico.org/namespace"
MAX_LENGTH = 20_000
MAX_NESTING = 100


class SelectorError(ValueError):
    """The text is not a selector."""


@dataclass(frozen=True, slots=True)
class LabelView:
    """What is known of an endpoint's labels. Labels that begin with one of `unknown` may exist or not; "" means that
    any label may."""

    values: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def known(self, label: str) -> bool:
        return label in self.values or not any(label.startswith(prefix) for prefix in self.unknown)


NOTHING_KNOWN = LabelView({}, ("",))


@dataclass(frozen=True, slots=True)
class Term:
    """`op` is ==, !=, in, not in, contains, starts with, ends with, has, all, global."""

    op: str
    label: str = ""
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    item: Selector


@dataclass(frozen=True, slots=True)
class Group:
    """`op` is && or ||; two or more items."""

    op: str
    items: tuple[Selector, ...]


Selector = Term | Not | Group
ALL = Term("all")

_TOKEN = re.compile(
    r"""[ \t]*(?:
      (?P<string>"[^"]*"|'[^']*')
    | (?P<has>has\([ \t]*(?P<haslabel>[A-Za-z0-9_./-]{1,512})[ \t]*\))
    | (?P<call>(?:all|global)\([ \t]*\))
    | (?P<op>&&|\|\||==|!=|!|\(|\)|\{|\}|,)
    | (?P<word>(?:not[ \t]+in|notin|in|contains|starts[ \t]+with|ends[ \t]+with)(?![A-Za-z0-9_./-]))
    | (?P<label>[A-Za-z0-9_./-]{1,512})
    )""",
    re.X,
)


@lru_cache(maxsize=20_000)
def parse(text: str) -> Selector:
    """The selector of a text. Raises SelectorError with a sentence."""
    if len(text) > MAX_LENGTH:
        raise SelectorError("the selector is too long")
    tokens: list[tuple[str, str]] = []
    position, stripped = 0, text.rstrip(" \t")
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise SelectorError(f"unexpected text at {stripped[position : position + 20]!r}")
        position = match.end()
        kind = match.lastgroup or ""
        if match["has"]:
            tokens.append(("has", match["haslabel"]))
        elif match["call"]:
            tokens.append(("call", match["call"].split("(")[0]))
        elif kind == "string":
            tokens.append(("string", match["string"][1:-1]))
        elif kind == "word":
            tokens.append(("word", re.sub(r"[ \t]+", " ", match["word"])))
        else:
            tokens.append((kind, match[kind]))
    if not tokens:
        return ALL
    parser = _Parser(tokens)
    selector = parser.either(0)
    if parser.peek() is not None:
        raise SelectorError(f"unexpected {parser.peek_text()!r}")
    return selector


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.at = 0

    def peek(self) -> tuple[str, str] | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def peek_text(self) -> str:
        token = self.peek()
        return token[1] if token else "end of the selector"

    def take(self, kind: str, value: str | None = None) -> str:
        token = self.peek()
        if token is None or token[0] != kind or (value is not None and token[1] != value):
            raise SelectorError(f"expected {value or kind}, found {self.peek_text()!r}")
        self.at += 1
        return token[1]

    def either(self, depth: int) -> Selector:
        return self._list("||", depth)

    def _list(self, op: str, depth: int) -> Selector:
        if depth > MAX_NESTING:
            raise SelectorError("the selector is nested too deep")
        items = [self._operand(op, depth)]
        while self.peek() == ("op", op):
            self.at += 1
            items.append(self._operand(op, depth))
        return items[0] if len(items) == 1 else Group(op, tuple(items))

    def _operand(self, op: str, depth: int) -> Selector:
        return self._list("&&", depth) if op == "||" else self._operation(depth)

    def _operation(self, depth: int) -> Selector:
        negations = 0
        while self.peek() == ("op", "!"):
            self.at += 1
            negations += 1
        if negations > MAX_NESTING:
            raise SelectorError("the selector is nested too deep")
        item = self._primary(depth)
        for _ in range(negations):
            item = Not(item)
        return item

    def _primary(self, depth: int) -> Selector:
        token = self.peek()
        if token is None:
            raise SelectorError("the selector ends too early")
        kind, value = token
        if (kind, value) == ("op", "("):
            self.at += 1
            item = self.either(depth + 1)
            self.take("op", ")")
            return item
        if kind == "has":
            self.at += 1
            return Term("has", value)
        if kind == "call":
            self.at += 1
            return Term(value)
        # A label may be spelled like an operator word ("in == 'x'").
        if kind not in ("label", "word"):
            raise SelectorError(f"expected a label, found {value!r}")
        self.at += 1
        return self._comparison(value)

    def _comparison(self, label: str) -> Selector:
        token = self.peek()
        if token is None:
            raise SelectorError(f"expected an operator after {label!r}")
        self.at += 1
        if token in (("op", "=="), ("op", "!=")):
            return Term(token[1], label, (self.take("string"),))
        if token[0] != "word":
            raise SelectorError(f"expected an operator after {label!r}, found {token[1]!r}")
        if token[1] in ("in", "not in", "notin"):
            return Term("in" if token[1] == "in" else "not in", label, self._set())
        return Term(token[1], label, (self.take("string"),))

    def _set(self) -> tuple[str, ...]:
        self.take("op", "{")
        values: list[str] = []
        while self.peek() != ("op", "}"):
            values.append(self.take("string"))
            if self.peek() == ("op", ","):
                self.at += 1
            elif self.peek() != ("op", "}"):
                raise SelectorError(f"expected , or }} in a set, found {self.peek_text()!r}")
        self.at += 1
        return tuple(sorted(set(values)))


def evaluate(selector: Selector, labels: LabelView) -> bool | None:
    """True, False, or None when labels that are not known decide."""
    if isinstance(selector, Term):
        return _term(selector, labels)
    if isinstance(selector, Not):
        inner = evaluate(selector.item, labels)
        return None if inner is None else not inner
    results = [evaluate(item, labels) for item in selector.items]
    decisive = selector.op == "||"
    if decisive in results:
        return decisive
    return None if None in results else not decisive


def _term(term: Term, labels: LabelView) -> bool | None:
    if term.op == "all":
        return True
    label = NAMESPACE_LABEL if term.op == "global" else term.label
    if not labels.known(label):
        return None
    value = labels.values.get(label)
    match term.op:
        case "global":
            return value is None
        case "has":
            return value is not None
        case "!=" | "not in":
            return value is None or value not in term.values
        case "==" | "in":
            return value is not None and value in term.values
        case "contains":
            return value is not None and term.values[0] in value
        case "starts with":
            return value is not None and value.startswith(term.values[0])
        case "ends with":
            return value is not None and value.endswith(term.values[0])
    return None


def matches(text: str, labels: LabelView) -> bool | None:
    """Evaluate a selector's text; None when it cannot be parsed (an unreadable selector is not known to match)."""
    try:
        return evaluate(parse(text), labels)
    except SelectorError:
        return None


def canonical(selector: Selector) -> str:
    """The text that Felix hashes into set names (libcalico-go/lib/selector/parser/ast.go)."""
    if isinstance(selector, Not):
        return "!" + canonical(selector.item)
    if isinstance(selector, Group):
        return "(" + f" {selector.op} ".join(canonical(item) for item in selector.items) + ")"
    if selector.op in ("all", "global"):
        return f"{selector.op}()"
    if selector.op == "has":
        return f"has({selector.label})"
    if selector.op in ("in", "not in"):
        return f"{selector.label} {selector.op} {{" + ", ".join(map(_quoted, selector.values)) + "}"
    return f"{selector.label} {selector.op} {_quoted(selector.values[0])}"


def _quoted(value: str) -> str:
    return f"'{value}'" if '"' in value else f'"{value}"'


def with_prefix(selector: Selector, prefix: str) -> Selector:
    """A namespace or service account selector as it is applied to endpoints: every label gets the prefix
    (`pcns.`, `pcsa.`); all() and global() ask for the namespace label itself (updateprocessors/rules.go)."""
    if isinstance(selector, Not):
        return Not(with_prefix(selector.item, prefix))
    if isinstance(selector, Group):
        return Group(selector.op, tuple(with_prefix(item, prefix) for item in selector.items))
    if selector.op == "all":
        return Term("has", NAMESPACE_LABEL)
    if selector.op == "global":
        return Not(Term("has", NAMESPACE_LABEL))
    return Term(selector.op, prefix + selector.label, selector.values)
