"""The words of a rule read as expressions, constants and sets. ValueError where they are not understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address

from lasthop.facts.netfilter import NftSet
from lasthop.facts.trace import Mark, MatchResult
from lasthop.sim.extensions.context import ALL_BITS, Context

from . import datatypes as t
from .datatypes import DataType, Pattern, Span, Value, pattern, unknown
from .expressions import BARE_META, BREAK, HEADERS, Break, Chooser, Expression, Read, constant, ct, header, meta
from .sets import Element, ElementSet, read_element

SetSource = Callable[[str], NftSet | None]
"""Name of a set or map of the same table -> its facts."""

_BINARY = {"<<": 4, ">>": 4, "lshift": 4, "rshift": 4, "&": 3, "and": 3, "^": 2, "xor": 2, "|": 1, "or": 1}
_WORDS = {"and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>"}
_OPERATORS = {"==": "==", "!=": "!=", "<": "<", ">": ">", "<=": "<=", ">=": ">=", "!": "!", "eq": "==", "ne": "!=",
              "lt": "<", "gt": ">", "le": "<=", "ge": ">="}  # fmt: skip
_CHANCE = frozenset({"numgen", "jhash", "symhash"})


class Reader:
    """A cursor over one rule's words. `selector` names the last plain field that was read ("meta", "mark"), None after
    anything more complicated."""

    def __init__(self, words: tuple[str, ...], family: str, sets: SetSource) -> None:
        self.words = words
        self.family = family
        self.sets = sets
        self.at = 0
        self.selector: tuple[str, ...] | None = None

    def more(self) -> bool:
        return self.at < len(self.words)

    def peek(self, ahead: int = 0) -> str:
        return self.words[self.at + ahead] if self.at + ahead < len(self.words) else ""

    def next(self) -> str:
        word = self.words[self.at]
        self.at += 1
        return word

    def skip(self, count: int) -> None:
        self.at += count
        if self.at > len(self.words):
            raise ValueError("the rule ends too early")

    def expect(self, word: str) -> None:
        if self.next() != word:
            raise ValueError(f"{word} expected")

    def operator(self) -> str:
        if self.peek() in _OPERATORS:
            return _OPERATORS[self.next()]
        return ""

    # -- expressions ------------------------------------------------------------------------------------------------

    def is_selector(self) -> bool:
        word, following = self.peek(), self.peek(1)
        return word in ("meta", "ct", "fib", "(") or word in BARE_META or (word in HEADERS and following != "")

    def expression(self) -> Expression:
        """A field, a calculation with it, or a concatenation of fields."""
        first = self._binary(0)
        selector = self.selector
        parts = [first]
        while self.peek() == ".":
            self.next()
            parts.append(self._binary(0))
        if len(parts) == 1:
            self.selector = selector
            return first
        self.selector = None
        if any(part.chooser is not None for part in parts):
            raise ValueError("chance inside a concatenation")
        reads = tuple(read for part in parts for read in part.reads)
        return Expression(reads, tuple(type_ for part in parts for type_ in part.types))

    def typed(self, type_: DataType) -> Expression:
        """The value of a statement: a constant of this type, a field, or a calculation with both."""
        found = self._binary(0, type_)
        if self.peek() == "map":
            self.next()
            return self._mapped(found, type_)
        return found

    def value_words(self) -> None:
        """Skips a value that does not matter."""
        self.next()

    def _binary(self, level: int, type_: DataType | None = None) -> Expression:
        left = self._primary(type_)
        while self.peek() in _BINARY and _BINARY[self.peek()] > level:
            word = self.next()
            right = self._binary(_BINARY[word], left.types[0])
            left = _combine(_WORDS.get(word, word), left, right)
            self.selector = None
        return left

    def _primary(self, type_: DataType | None) -> Expression:
        if self.peek() == "(":
            self.next()
            inner = self._binary(0, type_)
            self.expect(")")
            self.selector = None
            return inner
        if type_ is not None:
            try:
                found = pattern(self.peek(), type_)
            except ValueError:
                found = None
            if isinstance(found, Span) and found.exact:
                self.next()
                return Expression((constant(found.low),), (type_,))
        return self._selector()

    def _selector(self) -> Expression:
        word = self.next()
        if word in _CHANCE:
            return self._chance(word)
        if word == "meta" or word in BARE_META:
            key = self.next() if word == "meta" else word
            self.selector = ("meta", key)
            if key == "random":
                chooser = Chooser(1 << 32, 0, "by chance")
                return Expression((constant(0),), (t.INTEGER,), chooser)
            return _plain(meta(key))
        if word == "ct":
            words = [self.next()]
            if words[0] in ("original", "reply"):
                words.append(self.next())
                if words[-1] in ("ip", "ip6"):
                    words.append(self.next())
            self.selector = ("ct", *words)
            return _plain(ct(words, self.family))
        if word == "fib":
            self.at -= 1
            flags, result = self.fib_words()
            if result != "type":
                raise ValueError("fib oif inside an expression")
            self.selector = None
            return Expression((_fib_type(flags),), (t.ADDRESS_TYPE,))
        if word in HEADERS:
            field = self.next()
            self.selector = (word, field)
            return _plain(header(word, field))
        raise ValueError(f"{word} is not evaluated")

    def _chance(self, word: str) -> Expression:
        self.selector = None
        read: Read = constant(0)
        if word == "numgen":
            how = self.next()
            words = "by chance" if how == "random" else "in turn"
        elif word == "jhash":
            inner = self.expression()
            self.selector = None
            words = "by a hash of the flow"

            def hashed(c: Context) -> Value | Break:
                return BREAK if isinstance(inner.values(c), Break) else 0

            read = hashed
        else:
            words = "by a hash of the flow"
        self.expect("mod")
        count = int(self.next(), 0)
        first = 0
        while self.peek() in ("seed", "offset"):
            if self.next() == "seed":
                self.next()
            else:
                first = int(self.next(), 0)
        return Expression((read,), (t.INTEGER,), Chooser(count, first, words))

    def map_lookup(self) -> tuple[Expression, ElementSet]:
        """EXPRESSION map @name or { … }."""
        expression = self.expression()
        self.expect("map")
        return expression, self.set(expression.types)

    def _mapped(self, expression: Expression, type_: DataType) -> Expression:
        elements = self.set(expression.types)
        if expression.chooser is not None:
            raise ValueError("chance inside a value")
        results: dict[int, int] = {}
        for element in elements.elements:
            found = pattern(element.data[0], type_) if len(element.data) == 1 else None
            if not isinstance(found, Span) or not found.exact:
                raise ValueError("map data")
            results[id(element)] = found.low

        def read(c: Context) -> Value | Break:
            values = expression.values(c)
            if isinstance(values, Break):
                return BREAK
            found = elements.find(values)
            if found.unknown is not None:
                return found.unknown
            return results[id(found.element)] if found.element is not None else BREAK

        return Expression((read,), (type_,))

    # -- right sides ------------------------------------------------------------------------------------------------

    def wanted(self, type_: DataType) -> tuple[Pattern, int | None]:
        """A constant, a range, or names joined by commas or "|"; with the mask of "x / mask", None without."""
        found = self._constant(type_)
        if self.peek() == "/" and type_.bitmask:
            self.next()
            mask = self._constant(type_)
            if not isinstance(mask, Span):
                raise ValueError("mask")
            return found, mask.low
        return found, None

    def _constant(self, type_: DataType) -> Pattern:
        if self.peek() == "(":
            self.next()
            found = self._constant(type_)
            self.expect(")")
            return found
        found = pattern(self.next(), type_)
        while self.peek() in (",", "|") and type_.bitmask:
            self.next()
            other = pattern(self.next(), type_)
            if not isinstance(found, Span) or not isinstance(other, Span):
                raise ValueError("names joined")
            found = Span(found.low | other.low, found.low | other.low)
        return found

    def braces(self) -> tuple[str, ...]:
        """The words between the braces that stand here."""
        self.expect("{")
        start, depth = self.at, 1
        while depth:
            word = self.next()
            depth += (word == "{") - (word == "}")
        return self.words[start : self.at - 1]

    def set(self, types: tuple[DataType, ...]) -> ElementSet:
        """The set that stands here, by name or with its elements."""
        if self.peek() == "{":
            return ElementSet([read_element(words, types) for words in _split(self.braces())], "", "the set")
        name = self.next()
        if not name.startswith("@"):
            raise ValueError(name)
        found = self.sets(name[1:])
        if found is None:
            raise ValueError(f"{name} is not in the listing")
        elements: list[Element] = []
        doubt = found.doubt
        for words in found.elements:
            try:
                elements.append(read_element(words, types))
            except (ValueError, IndexError):
                doubt = f"element {' '.join(words)[:60]} is not understood"
        return ElementSet(elements, doubt, f"set {name}")

    # -- fib --------------------------------------------------------------------------------------------------------

    def fib_words(self) -> tuple[frozenset[str], str]:
        """(flags, result) of "fib saddr . mark . iif oif"."""
        self.expect("fib")
        flags = {self.next()}
        while self.peek() == ".":
            self.next()
            flags.add(self.next())
        if not flags <= {"saddr", "daddr", "mark", "iif", "oif"}:
            raise ValueError("fib")
        result = self.next()
        if result not in ("oif", "oifname", "type"):
            raise ValueError(f"fib {result}")
        return frozenset(flags), result

    def fib_result(self) -> str:
        """What the fib expression that stands here answers: "oif", "oifname" or "type"."""
        at = self.at
        try:
            return self.fib_words()[1]
        except (ValueError, IndexError):
            return "type"
        finally:
            self.at = at


def _plain(found: tuple[Read, DataType]) -> Expression:
    return Expression((found[0],), (found[1],))


def _split(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    found: list[list[str]] = [[]]
    for word in words:
        if word == ",":
            found.append([])
        else:
            found[-1].append(word)
    return [tuple(part) for part in found if part]


def _fib_type(flags: frozenset[str]) -> Read:
    source = "saddr" in flags

    def read(c: Context) -> Value | Break:
        dev = c.iif if "iif" in flags else c.oif if "oif" in flags else None
        kind = c.address_type(c.src if source else c.dst, dev)
        if kind is None:
            ip = c.packet.src if source else c.packet.dst
            return unknown(f"the type of address {ip} is not known", f"ip{c.family}_route_all")
        return t.ADDRESS_TYPE.names[kind.lower()]

    return read


def _combine(operator: str, left: Expression, right: Expression) -> Expression:
    """Bitwise calculation on one field, bit by bit where not all bits are known."""
    if len(left.reads) != 1 or len(right.reads) != 1:
        raise ValueError("calculation with a concatenation")
    if left.chooser is not None:
        mask = right.reads[0](None)  # type: ignore[arg-type]
        if operator != "&" or not isinstance(mask, int) or mask & (mask + 1):
            raise ValueError("calculation with chance")
        chooser = Chooser(min(left.chooser.count, mask + 1), left.chooser.first, left.chooser.words)
        return replace(left, chooser=chooser)
    one, other = left.reads[0], right.reads[0]

    def read(c: Context) -> Value | Break:
        a, b = one(c), other(c)
        if isinstance(a, Break) or isinstance(b, Break):
            return BREAK
        if isinstance(a, int) and isinstance(b, int):
            return _calculate(operator, a, b, left.types[0].bits)
        if isinstance(a, str) or isinstance(b, str):
            raise TypeError("calculation with a name")
        if isinstance(a, MatchResult) or isinstance(b, MatchResult):
            return a if isinstance(a, MatchResult) else b
        return _calculate_bits(operator, as_mark(a), as_mark(b))

    return Expression((read,), left.types)


def _calculate(operator: str, a: int, b: int, bits: int) -> int:
    if operator == "&":
        return a & b
    if operator == "|":
        return a | b
    if operator == "^":
        return a ^ b
    return a >> b if operator == ">>" else a << b & ((1 << bits) - 1)


def _calculate_bits(operator: str, a: Mark, b: Mark) -> Value:
    if operator == "&":
        zeros = (a.known & ~a.value | b.known & ~b.value) & ALL_BITS
        known = a.known & b.known | zeros
        return Mark(a.value & b.value & known, known)
    if operator == "|":
        ones = a.known & a.value | b.known & b.value
        known = a.known & b.known | ones
        return Mark((a.value & a.known | b.value & b.known) & known, known)
    if operator == "^":
        known = a.known & b.known
        return Mark((a.value ^ b.value) & known, known)
    if b.known != ALL_BITS:
        return unknown("the width of a shift is not known")
    if operator == ">>":
        return Mark(a.value >> b.value, a.known >> b.value | ALL_BITS & ~(ALL_BITS >> b.value))
    return Mark(a.value << b.value & ALL_BITS, (a.known << b.value | (1 << b.value) - 1) & ALL_BITS)


def as_mark(value: Value) -> Mark:
    """A value as it is written into a mark; not known at all where it is UNKNOWN."""
    if isinstance(value, Mark):
        return value
    return Mark(value & ALL_BITS) if isinstance(value, int) else Mark(0, 0)


def described(expression: Expression, c: Context) -> str:
    """What the packet has instead, in words."""
    values = expression.values(c)
    if isinstance(values, Break):
        return f"the {c.packet.proto} packet has no such field"
    return " . ".join(_show(value, type_) for value, type_ in zip(values, expression.types, strict=True))


def _show(value: Value, type_: DataType) -> str:
    if isinstance(value, MatchResult):
        return value.why
    if isinstance(value, Mark):
        return f"{value.value:#x} (known bits {value.known:#x})"
    if isinstance(value, str):
        return value or "(none)"
    if type_ in (t.IPV4, t.IPV6):
        return str(ip_address(value) if type_ is t.IPV4 or value >> 32 else ip_address(value.to_bytes(16, "big")))
    if type_.bitmask:
        return ",".join(name for name, bit in type_.names.items() if value & bit) or "none"
    names = [name for name, number in type_.names.items() if number == value]
    return names[0] if names else f"{value:#x}" if type_ is t.MARK else str(value)
