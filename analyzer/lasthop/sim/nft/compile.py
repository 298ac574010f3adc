"""Rules of a listing compiled to operations. What is not recognised makes the rule UNKNOWN from there on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address

from lasthop.facts.netfilter import Match, NetfilterRule, NftRule
from lasthop.facts.trace import Mark, MatchResult, Truth
from lasthop.sim.extensions.context import ALL_BITS, Context
from lasthop.sim.extensions.protocols import TCP
from lasthop.sim.extensions.registry import CompiledMatch
from lasthop.sim.extensions.targets import NatRequest

from . import datatypes as t
from .datatypes import Span, Value, compare, unknown
from .expressions import BREAK, Break, Expression
from .operations import Chance, Change, CompiledNftRule, Condition, Decide, Open, Operation, Rewrite, Verdict, shown
from .reading import Reader, SetSource, as_mark, described
from .sets import Element, ElementSet

FAMILY = {"ip": 4, "ip6": 6}
_PLAIN = frozenset({"accept", "drop", "return", "continue"})
_TARGETS = {"accept": "ACCEPT", "drop": "DROP", "return": "RETURN", "reject": "REJECT", "continue": ""}
_REJECTS = {
    "icmp": ("icmp-", {"prot-unreachable": "icmp-proto-unreachable", "net-prohibited": "icmp-net-prohibited"}),
    "icmpv6": ("icmp6-", {"admin-prohibited": "icmp6-adm-prohibited", "no-route": "icmp6-no-route"}),
}
_ICMPX = {
    "port-unreachable": ("icmp-port-unreachable", "icmp6-port-unreachable"),
    "admin-prohibited": ("icmp-admin-prohibited", "icmp6-adm-prohibited"),
    "no-route": ("icmp-net-unreachable", "icmp6-no-route"),
    "host-unreachable": ("icmp-host-unreachable", "icmp6-addr-unreachable"),
}
_NOT_EVALUATED = {
    "queue": "a user-space program decides", "tproxy": "transparent proxying is not evaluated",
    "synproxy": "SYN proxying is not evaluated",
}  # fmt: skip
_IGNORED_SETS = frozenset({"helper", "event", "timeout", "label", "expectation", "secmark"})
_STRANGE = (ValueError, IndexError, KeyError, TypeError)


def verdict_of(words: Sequence[str]) -> Verdict:
    """The verdict words of a map's element."""
    if len(words) == 1 and words[0] in _PLAIN:
        return words[0], ""
    if len(words) == 2 and words[0] in ("jump", "goto"):
        return words[0], words[1]
    raise ValueError(" ".join(words))


def target_of(verdict: Verdict) -> str:
    return verdict[1] if verdict[0] in ("jump", "goto") else _TARGETS.get(verdict[0], "")


class Compiler:
    """Compiles the rules of one table; named sets are read when a rule first asks for them."""

    def __init__(self, family: str, table: str, sets: SetSource) -> None:
        self.family = family
        self.table = table
        self.sets = sets

    def rule(self, rule: NftRule) -> CompiledNftRule:
        reader = Reader(rule.tokens, self.family, self.sets)
        work = _Work(self, reader)
        while reader.more():
            start = reader.at
            try:
                work.statement()
            except _STRANGE as error:
                reader.at = start
                work.give_up(str(error)[:120])
                break
        fact = NetfilterRule(
            "native", FAMILY.get(self.family, 0), f"{self.family} {self.table}", rule.chain, rule.index, rule.source,
            tuple(work.facts), work.target, work.options, work.goto, rule.packets, rule.bytes, rule.comment,
            work.strange,
        )  # fmt: skip
        return CompiledNftRule(fact, work.operations)


class _Work:
    """One rule being compiled."""

    def __init__(self, compiler: Compiler, reader: Reader) -> None:
        self.compiler = compiler
        self.reader = reader
        self.operations: list[Operation] = []
        self.facts: list[Match] = []
        self.target = ""
        self.options: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self.goto = False
        self.strange = ""

    # -- statements -----------------------------------------------------------------------------------------------

    def statement(self) -> None:
        reader = self.reader
        start = reader.at
        word = reader.peek()
        simple: dict[str, Callable[[], None]] = {
            "counter": self._counter, "log": self._log, "limit": self._limit, "quota": self._quota,
            "reject": self._reject, "masquerade": self._nat, "redirect": self._nat, "dnat": self._nat,
            "snat": self._nat, "notrack": self._notrack, "flow": self._flow, "add": self._dynamic,
            "update": self._dynamic, "delete": self._dynamic, "last": self._last,
        }  # fmt: skip
        if word in _PLAIN:
            reader.next()
            self._verdict((word, ""), start)
        elif word in ("jump", "goto"):
            reader.next()
            self._verdict((word, reader.next()), start)
        elif word in simple:
            simple[word]()
        elif word == "ct" and reader.peek(1) == "count":
            reader.skip(2)
            if reader.peek() == "over":
                reader.next()
            reader.next()
            self._condition(start, lambda c: unknown("the number of connections is not counted"), lambda c: "")
        elif word in ("queue", "tproxy", "synproxy", "dup", "fwd"):
            why = _NOT_EVALUATED.get(word, "copies of packets are not followed")
            reader.at = len(reader.words)
            self.operations.append(Decide(self._text(start), ("unknown", why)))
        elif word == "fib" and reader.fib_result() != "type":
            self._fib_oif()
        else:
            self._clause()

    def give_up(self, why: str) -> None:
        """The rest of the rule is not understood: a condition that may hold or not, then its last verdict if it ends
        with one and changes nothing on the way."""
        rest = self.reader.words[self.reader.at :]
        self.strange = shown(rest)
        answer = unknown(f"'{shown(rest)[:200]}' is not understood" + (f" ({why})" if why and why not in rest else ""))
        match = CompiledMatch(lambda c: answer, shown(rest), lambda c: "not understood")
        self.operations.append(Condition(match))
        verdict = _last_verdict(rest)
        self.operations.append(Decide(match, verdict or ("unknown", answer.why)))
        if verdict is not None:
            self.target = target_of(verdict)
            self.goto = verdict[0] == "goto"

    def _text(self, start: int) -> CompiledMatch:
        return CompiledMatch(lambda c: True, shown(self.reader.words[start : self.reader.at]), lambda c: "")

    def _verdict(self, verdict: Verdict, start: int) -> None:
        if verdict[0] != "continue":
            self.target = target_of(verdict)
            self.goto = verdict[0] == "goto"
            self.operations.append(Decide(self._text(start), verdict))

    def _condition(
        self, start: int, test: Callable[[Context], bool | MatchResult], value: Callable[[Context], str],
        fact: Match | None = None,
    ) -> None:  # fmt: skip
        text = shown(self.reader.words[start : self.reader.at])
        self.operations.append(Condition(CompiledMatch(test, text, value)))
        self.facts.append(fact or Match("nft", "", (text,)))

    def _counter(self) -> None:
        self.reader.next()
        if self.reader.peek() == "name":
            self.reader.skip(2)

    def _last(self) -> None:
        self.reader.next()
        if self.reader.peek() == "used":
            self.reader.skip(2)

    def _log(self) -> None:
        reader = self.reader
        reader.next()
        while reader.peek() in ("prefix", "level", "flags", "group", "snaplen", "queue-threshold"):
            reader.skip(2)
            while reader.peek() == ",":
                reader.skip(2)

    def _limit(self) -> None:
        reader = self.reader
        start = reader.at
        reader.next()
        if reader.next() != "name":
            if reader.peek() == "over":
                reader.next()
            if "/" not in reader.next():
                reader.next()
            if reader.peek() == "burst":
                reader.skip(3)
        else:
            reader.next()
        self._condition(start, lambda c: unknown("how much of the limit is used is not known"), lambda c: "")

    def _quota(self) -> None:
        reader = self.reader
        start = reader.at
        reader.next()
        if reader.peek() in ("over", "until", "name"):
            named = reader.next() == "name"
        else:
            named = False
        reader.skip(1 if named else 2)
        if reader.peek() == "used":
            reader.skip(3)
        self._condition(start, lambda c: unknown("how much of the quota is used is not known"), lambda c: "")

    def _reject(self) -> None:
        reader = self.reader
        start = reader.at
        reader.next()
        kind, code = "icmpx", "port-unreachable"
        if reader.peek() == "with":
            reader.next()
            kind, code = reader.next(), reader.next()
            if code == "type":
                code = reader.next()
        match = self._text(start)
        if kind == "tcp":
            self.operations.append(Condition(CompiledMatch(lambda c: c.proto == TCP, match.text,
                                                           lambda c: f"protocol {c.packet.proto}")))  # fmt: skip
            word = "tcp-reset"
            self.operations.append(Decide(match, ("reject", word)))
        elif kind == "icmpx":
            four, six = _ICMPX[code]
            self.operations.append(
                Decide(match, ("reject", four), lambda c: ("reject", four if c.family == 4 else six))
            )
        else:
            prefix, names = _REJECTS[kind]
            family = 4 if kind == "icmp" else 6
            self.operations.append(Condition(CompiledMatch(lambda c: c.family == family, match.text,
                                                           lambda c: f"IPv{c.family}")))  # fmt: skip
            self.operations.append(Decide(match, ("reject", names.get(code, prefix + code))))
        self.target = "REJECT"

    def _notrack(self) -> None:
        self.reader.next()

        def run(c: Context) -> bool | str:
            # nft_notrack_eval: also a packet that conntrack found invalid has no connection.
            if c.packet.ctstate in ("", "INVALID"):
                c.packet = replace(c.packet, ctstate="UNTRACKED")
            return True

        self.operations.append(Change(run, self._text(self.reader.at - 1)))

    def _flow(self) -> None:
        """Only later packets of the connection go past the hooks; this one is not touched."""
        start = self.reader.at
        self.reader.skip(3)
        self.operations.append(Change(lambda c: True, self._text(start)))

    def _dynamic(self) -> None:
        """add/update/delete @set { key [timeout] [: data] }: later lookups in the set are not certain."""
        reader = self.reader
        start = reader.at
        how = reader.next()
        name = reader.next()
        if not name.startswith("@"):
            raise ValueError(name)
        words = reader.braces()
        if {"limit", "quota", "count"} & set(words):
            raise ValueError("what is counted per element is not known")
        key = ("-" if how == "delete" else "+") + name[1:]

        def run(c: Context) -> bool | str:
            c.touched_sets = c.touched_sets | {key}
            return True

        self.operations.append(Change(run, self._text(start)))

    # -- clauses that begin with an expression --------------------------------------------------------------------

    def _clause(self) -> None:
        reader = self.reader
        start = reader.at
        expression = reader.expression()
        word = reader.peek()
        if word == "set" and reader.selector is not None:
            reader.next()
            self._set(start, reader.selector)
        elif word == "vmap":
            reader.next()
            self._vmap(start, expression)
        else:
            self._relation(start, expression)

    def _relation(self, start: int, expression: Expression) -> None:
        reader = self.reader
        selector = reader.selector
        operator = reader.operator()
        negated = operator in ("!=", "!")
        if reader.peek() in ("{",) or reader.peek().startswith("@"):
            name = reader.peek()
            elements = reader.set(expression.types)
            if expression.chooser is not None:
                self._chance_of_set(start, expression, elements, negated)
                return
            side = {"saddr": "src", "daddr": "dst"}.get(selector[1] if selector else "")
            fact = Match("set", "match-set", (name[1:], side), negated) if name[0] == "@" and side else None
            self._lookup(start, expression, elements, negated, name, fact)
            return
        if len(expression.types) > 1:
            raise ValueError("a concatenation compared with something else than a set")
        type_ = expression.types[0]
        wanted, mask = reader.wanted(type_)
        if expression.chooser is not None:
            self._chance_of_span(start, expression, _interval(operator, wanted))
            return
        fact = None
        if selector == ("ct", "state"):
            bits = wanted.low if isinstance(wanted, Span) else 0
            names = tuple(name.upper() for name, bit in t.CT_STATE.names.items() if bits & bit)
            fact = Match("conntrack", "ctstate", (",".join(names),), negated)
        compare_with = _comparison(type_, operator, wanted, mask)

        def test(c: Context) -> bool | MatchResult:
            values = expression.values(c)
            return False if isinstance(values, Break) else compare_with(values[0])

        self._condition(start, test, lambda c: described(expression, c), fact)

    def _lookup(
        self, start: int, expression: Expression, elements: ElementSet, negated: bool, name: str, fact: Match | None
    ) -> None:
        touched = {"+" + name[1:], "-" + name[1:]}

        def test(c: Context) -> bool | MatchResult:
            values = expression.values(c)
            if isinstance(values, Break):
                return False
            found = elements.find(values)
            if found.unknown is not None:
                return found.unknown
            if c.touched_sets and c.touched_sets & touched:
                return unknown(f"set {name} was changed by a rule before")
            return (found.element is not None) != negated

        self._condition(start, test, lambda c: described(expression, c), fact)

    def _vmap(self, start: int, expression: Expression) -> None:
        reader = self.reader
        name = reader.peek()
        elements = reader.set(expression.types)
        verdicts = {id(element): verdict_of(element.data) for element in elements.elements}
        touched = {"+" + name[1:], "-" + name[1:]}
        if expression.chooser is not None:
            shares: dict[Verdict, int] = {}
            for element, hits in _hits(expression, elements):
                verdict = verdicts[id(element)]
                shares[verdict] = shares.get(verdict, 0) + hits
            match = self._text(start)
            self._chance(start, expression, [
                (hits, target_of(verdict) or verdict[0], Decide(match, verdict)) for verdict, hits in shares.items()
            ])  # fmt: skip
            return

        def find(c: Context) -> Verdict | Open | None:
            values = expression.values(c)
            if isinstance(values, Break):
                return None
            found = elements.find(values)
            if found.unknown is None and c.touched_sets and c.touched_sets & touched:
                return Open(unknown(f"map {name} was changed by a rule before"),
                            tuple(dict.fromkeys(verdicts.values())))  # fmt: skip
            if found.unknown is not None:
                return Open(found.unknown, tuple(dict.fromkeys(verdicts[id(e)] for e in found.possible)))
            return verdicts[id(found.element)] if found.element is not None else None

        text = shown(reader.words[start : reader.at])
        match = CompiledMatch(lambda c: True, text, lambda c: described(expression, c))
        self.operations.append(Decide(match, find=find))
        self.facts.append(Match("nft", "", (text,)))

    def _set(self, start: int, selector: tuple[str, ...]) -> None:
        reader = self.reader
        run: Callable[[Context], bool | str]
        if selector in (("meta", "mark"), ("ct", "mark")):
            value = reader.typed(t.MARK)
            of_packet = selector[0] == "meta"
            if value.chooser is not None:
                raise ValueError("a mark that the kernel draws")

            def set_mark(c: Context) -> bool | str:
                # nft_ct_set_eval does nothing without a connection, but what is written is read before.
                found = value.values(c)
                if isinstance(found, Break):
                    return False
                if of_packet:
                    c.mark = as_mark(found[0])
                elif c.packet.ct_original is not None:
                    c.ctmark = as_mark(found[0])
                return True

            run = set_mark
        elif selector == ("ct", "zone"):
            zone = reader.typed(t.DataType("integer", 16))

            def set_zone(c: Context) -> bool | str:
                found = zone.values(c)
                if isinstance(found, Break):
                    return False
                if not isinstance(found[0], int):
                    return "the conntrack zone is not known"
                if not c.packet.ctstate:
                    c.packet = replace(c.packet, ct_zone=found[0])
                return True

            run = set_zone
        elif (selector[0] == "ct" and selector[-1] in _IGNORED_SETS) or (
            selector[0] == "meta" and selector[1] in ("priority", "nftrace", "secmark")
        ):
            reader.value_words()
            run = lambda c: True  # noqa: E731
        elif selector in (("ip", "dscp"), ("ip6", "dscp"), ("ip", "ttl"), ("ip6", "hoplimit"), ("ip", "ecn"),
                          ("ip6", "ecn")):  # fmt: skip
            run = self._header_change(selector)
        else:
            raise ValueError(f"{' '.join(selector)} set")
        self.operations.append(Change(run, self._text(start)))

    def _header_change(self, selector: tuple[str, ...]) -> Callable[[Context], bool | str]:
        family, field = 4 if selector[0] == "ip" else 6, selector[1]
        value = self.reader.typed({"dscp": t.DSCP, "ecn": t.ECN}.get(field, t.INTEGER))

        def run(c: Context) -> bool | str:
            if c.family != family:
                return False
            found = value.values(c)
            if isinstance(found, Break):
                return False
            if not isinstance(found[0], int):
                return f"the {field} that is set is not known"
            if field == "dscp":
                c.tos = c.tos & 3 | found[0] << 2
            elif field == "ecn":
                c.tos = c.tos & 0xFC | found[0]
            else:
                c.packet = replace(c.packet, ttl=found[0] & 0xFF)
            return True

        return run

    # -- chance ---------------------------------------------------------------------------------------------------

    def _chance(self, start: int, expression: Expression, hits: list[tuple[int, str, Operation]]) -> None:
        chooser = expression.chooser
        assert chooser is not None
        match = CompiledMatch(lambda c: True, shown(self.reader.words[start : self.reader.at]), lambda c: chooser.words)
        # What a hash reads must be there; the drawn number itself is not asked.
        read = expression.reads[0]
        self.operations.append(
            Condition(CompiledMatch(lambda c: not isinstance(read(c), Break), match.text, lambda c: chooser.words))
        )
        rest = chooser.count - sum(count for count, _, _ in hits)
        alternatives: list[tuple[Fraction, str, Operation | None]] = [
            (Fraction(count, chooser.count), label, operation) for count, label, operation in hits if count
        ]
        if rest:
            alternatives.append((Fraction(rest, chooser.count), "otherwise", None))
        self.operations.append(Chance(tuple(alternatives), match))
        self.facts.append(Match("nft", "", (match.text,)))

    def _chance_of_span(self, start: int, expression: Expression, span: tuple[Span, bool]) -> None:
        chooser = expression.chooser
        assert chooser is not None
        wanted, negated = span
        inside = _overlap(wanted, chooser.first, chooser.count)
        true = Condition(self._text(start))
        self._chance(start, expression, [(chooser.count - inside if negated else inside, "matches", true)])

    def _chance_of_set(self, start: int, expression: Expression, elements: ElementSet, negated: bool) -> None:
        chooser = expression.chooser
        assert chooser is not None
        inside = sum(count for _, count in _hits(expression, elements))
        true = Condition(self._text(start))
        self._chance(start, expression, [(chooser.count - inside if negated else inside, "matches", true)])

    # -- fib and nat ----------------------------------------------------------------------------------------------

    def _fib_oif(self) -> None:
        """fib saddr [. mark] . iif oif: whether the reverse path leads out by the interface that the packet came in by
        (net/ipv4/netfilter/nft_fib_ipv4.c)."""
        reader = self.reader
        start = reader.at
        flags, _ = reader.fib_words()
        operator = reader.operator()
        word = reader.next()
        if "saddr" not in flags or "oif" in flags or "daddr" in flags:
            self._condition(start, lambda c: unknown("this route lookup is not evaluated"), lambda c: "")
            return
        negated = operator in ("!=", "!")
        strict, validmark = "iif" in flags, "mark" in flags
        name = word[1:] if word.startswith('"') else word
        missing = name in ("0", "missing", "")
        if name in ("exists", "1"):
            missing, name = False, ""
        elif missing:
            name = ""

        def there(c: Context) -> bool | MatchResult:
            packet = c.packet
            if c.hook == "PREROUTING" and (c.iif == "lo" or (c.family == 6 and c.src == 0 and c.proto == 58)):
                return True
            if c.family == 4 and c.src >> 24 == 0 and (packet.dst.is_multicast or c.dst == ALL_BITS):
                return True
            found = c.around.reverse_path(c.current(), loose=not strict, validmark=validmark, accept_local=False)
            return found if found.truth is Truth.UNKNOWN else found.truth is Truth.YES

        def test(c: Context) -> bool | MatchResult:
            found = there(c)
            if isinstance(found, MatchResult):
                return found
            if not name:
                return (found != missing) != negated
            if found and not strict:
                return unknown("which interface the reverse path leads to is not asked")
            return (found and c.iif == name) != negated

        def value(c: Context) -> str:
            found = there(c)
            if isinstance(found, MatchResult):
                return found.why
            words = "exists" if found else f"does not lead to {c.iif or 'any'}"
            return f"the reverse path of {c.packet.src} {words}"

        self._condition(start, test, value, Match("rpfilter", "invert" if missing != negated else "", ()))

    def _nat(self) -> None:
        reader = self.reader
        start = reader.at
        word = reader.next()
        kind = "dst" if word in ("dnat", "redirect") else "src"
        family = FAMILY.get(self.compiler.family, 0)
        if reader.peek() in FAMILY and word in ("dnat", "snat"):
            family = FAMILY[reader.next()]
        if reader.peek() == "prefix":
            raise ValueError("prefix translation")
        target = {"dnat": "DNAT", "snat": "SNAT", "masquerade": "MASQUERADE", "redirect": "REDIRECT"}[word]
        self.target = target
        base = NatRequest(kind, target)
        mapped: tuple[Expression, ElementSet] | None = None
        if reader.peek() == "to":
            reader.next()
            if reader.is_selector() or reader.peek() in ("numgen", "jhash", "symhash"):
                mapped = reader.map_lookup()
                if reader.peek() == ":":
                    raise ValueError("a port that is looked up")
            else:
                self.options = (("to-destination" if kind == "dst" else "to-source", (reader.peek(),)),)
                base = _to(base, reader.next())
        random = False
        while reader.peek() in ("random", "fully-random", "persistent"):
            random = reader.next() != "persistent" or random
            if reader.peek() == ",":
                reader.next()
        base = replace(base, random=random)
        match = self._text(start)
        if mapped is None:
            self.operations.append(Rewrite(_fixed(base, family), match))
            return
        expression, elements = mapped
        requests = {id(element): _from_data(base, element.data) for element in elements.elements}
        if expression.chooser is not None:
            self._chance(start, expression, [
                (hits, shown(element.data), Rewrite(_fixed(requests[id(element)], family), match))
                for element, hits in _hits(expression, elements)
            ])  # fmt: skip
            return

        def looked_up(c: Context) -> NatRequest | MatchResult | bool | None:
            if family and c.family != family:
                return False
            values = expression.values(c)
            if isinstance(values, Break):
                return None
            found = elements.find(values)
            if found.unknown is not None:
                return found.unknown
            return requests[id(found.element)] if found.element is not None else None

        self.operations.append(Rewrite(looked_up, CompiledMatch(match.test, match.text,
                                                                lambda c: described(expression, c))))  # fmt: skip


def _last_verdict(words: Sequence[str]) -> Verdict | None:
    if {"set", "vmap", "map", "add", "update", "delete", "dnat", "snat", "masquerade", "redirect", "queue", "tproxy",
            "notrack", "dup", "fwd"} & set(words):  # fmt: skip
        return None
    if words[-1] in _PLAIN:
        return words[-1], ""
    if len(words) > 1 and words[-2] in ("jump", "goto"):
        return words[-2], words[-1]
    if words[-1] == "reject" or "reject" in words[-4:-1]:
        return "reject", "icmp-port-unreachable"
    return None


def _fixed(request: NatRequest, family: int) -> Callable[[Context], NatRequest | MatchResult | bool | None]:
    return lambda c: request if not family or c.family == family else False


def _to(base: NatRequest, word: str) -> NatRequest:
    """"10.0.0.1", "10.0.0.1-10.0.0.9:80-90", "[fd00::1]:80", "fd00::1", ":80"."""
    addresses, ports = word, ""
    if word.startswith("["):
        addresses, _, ports = word[1:].partition("]")
        if "-[" in ports:
            raise ValueError(word)
        ports = ports.lstrip(":")
    elif word.count(":") == 1:
        addresses, _, ports = word.partition(":")
    low, _, high = addresses.partition("-")
    port_low, _, port_high = ports.partition("-")
    return replace(
        base,
        low=ip_address(low) if low else None,
        high=ip_address(high or low) if low else None,
        port_low=int(port_low) if port_low else None,
        port_high=int(port_high or port_low) if port_low else None,
    )


def _from_data(base: NatRequest, words: tuple[str, ...]) -> NatRequest:
    """"10.0.0.1" or "10.0.0.1 . 8080"."""
    if len(words) == 1:
        ip = ip_address(words[0]) if "-" not in words[0] else None
        if ip is None:
            return _to(base, words[0])
        return replace(base, low=ip, high=ip)
    address, dot, port = words
    if dot != ".":
        raise ValueError(shown(words))
    return replace(base, low=ip_address(address), high=ip_address(address), port_low=int(port), port_high=int(port))


def _hits(expression: Expression, elements: ElementSet) -> list[tuple[Element, int]]:
    chooser = expression.chooser
    assert chooser is not None
    if elements.doubt or len(expression.types) > 1:
        raise ValueError("chance over a set that is not known whole")
    found = []
    for element in elements.elements:
        part = element.key[0]
        if not isinstance(part, Span):
            raise ValueError("chance over names")
        found.append((element, _overlap(part, chooser.first, chooser.count)))
    return found


def _overlap(span: Span, first: int, count: int) -> int:
    return max(0, min(span.high, first + count - 1) - max(span.low, first) + 1)


def _interval(operator: str, wanted: t.Pattern) -> tuple[Span, bool]:
    """An operator and its right side as (interval, negated)."""
    if not isinstance(wanted, Span):
        raise ValueError("a name")
    if operator in ("", "==", "!="):
        return wanted, operator == "!="
    value = wanted.low
    if operator == "<":
        return Span(0, value - 1), False
    if operator == "<=":
        return Span(0, value), False
    if operator == ">":
        return Span(0, value), True
    if operator == ">=":
        return Span(0, value - 1), True
    raise ValueError(operator)


def _comparison(
    type_: t.DataType, operator: str, wanted: t.Pattern, mask: int | None
) -> Callable[[Value], bool | MatchResult]:
    """How a value is compared. Bitmask types without an operator ask for any of the bits, "!" for none of them; a
    written "==" or "!=" compares the whole value (nftables src/netlink_linearize.c)."""

    def flip(answer: bool | MatchResult) -> bool | MatchResult:
        return (not answer) if isinstance(answer, bool) else answer

    if mask is not None:
        negated = operator == "!="
        return lambda v: flip(compare(_masked(v, mask), wanted)) if negated else compare(_masked(v, mask), wanted)
    if type_.bitmask and operator in ("", "!") and isinstance(wanted, Span) and wanted.exact:
        zero = Span(0, 0)
        bits = wanted.low
        if operator == "!":
            return lambda v: compare(_masked(v, bits), zero)
        return lambda v: flip(compare(_masked(v, bits), zero))
    if isinstance(wanted, Span):
        span, negated = _interval(operator, wanted)
        return lambda v: flip(compare(v, span)) if negated else compare(v, span)
    if operator not in ("", "==", "!="):
        raise ValueError(operator)
    return lambda v: flip(compare(v, wanted)) if operator == "!=" else compare(v, wanted)


def _masked(value: Value, mask: int) -> Value:
    if isinstance(value, Mark):
        return Mark(value.value & mask, value.known | ~mask & ALL_BITS)
    return value & mask if isinstance(value, int) else value


__all__ = ["BREAK", "Compiler", "target_of", "verdict_of"]
