"""One line of iptables-save into matches, target and target options: a tokeniser, it interprets nothing.

Quoting follows libxtables xtables_save_string() (values with other characters than letters, digits, "_" and "-" stand
in double quotes, `"`, `\\` and `'` escaped by a backslash); options of iptables 1.4 (`--dport ! 80`) and newer
(`! --dport 80`) are both read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lasthop.facts.netfilter import Match

from .tokens import Strange, number

_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"]+)(?=\s|$))', re.S)
_ESCAPE = re.compile(r"\\(.)", re.S)

BUILTIN = {
    "-s": "source", "--source": "source", "--src": "source",
    "-d": "destination", "--destination": "destination", "--dst": "destination",
    "-i": "in-interface", "--in-interface": "in-interface",
    "-o": "out-interface", "--out-interface": "out-interface",
    "-p": "protocol", "--protocol": "protocol", "--proto": "protocol",
    "-f": "fragment", "--fragment": "fragment",
}  # fmt: skip
ALIASES = {
    "source-port": "sport", "destination-port": "dport",
    "source-ports": "sports", "destination-ports": "dports",
}  # fmt: skip
# Options whose one value is free text that iptables-save leaves unquoted when it holds only letters, digits, "_", "-":
# it may then begin with a dash and still is the value.
_FREE_TEXT = frozenset(
    ("--comment", "--log-prefix", "--nflog-prefix", "--ulog-prefix", "--string", "--hex-string", "--name",
     "--hashlimit-name", "--helper", "--algo", "--nfacct-name", "--led-trigger-id", "--genre", "--rateest-name")
)  # fmt: skip
_PROTOCOL_MODULES = {
    "ipv6-icmp": "icmp6", "icmpv6": "icmp6", "58": "icmp6", "6": "tcp", "17": "udp", "1": "icmp", "132": "sctp",
    "udplite": "udp",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spec:
    """What stands behind `-A CHAIN`."""

    matches: tuple[Match, ...]
    target: str
    target_options: tuple[tuple[str, tuple[str, ...]], ...]
    goto: bool
    comment: str
    packets: int | None
    bytes: int | None
    unparsed: str


class Quoted(str):
    """A token that stood in quotes: it is a value, also when it looks like an option."""

    __slots__ = ()


def tokenise(text: str) -> list[str]:
    """Tokens without quotes and escapes. Raises Strange, with the rest as text, where quotes do not close or touch."""
    if '"' not in text:
        return text.split()
    if "\\" in text:
        return _tokenise_escaped(text.rstrip())
    tokens: list[str] = []
    quoted = False
    parts = text.split('"')
    for part in parts:
        if quoted:
            tokens.append(Quoted(part))
        else:
            tokens += part.split()
        quoted = not quoted
    if not quoted or any(part == "" or not (part[0].isspace() and part[-1].isspace()) for part in parts[2:-1:2]):
        raise Strange(text.strip())
    if not (parts[0] == "" or parts[0][-1].isspace()) or not (parts[-1] == "" or parts[-1][0].isspace()):
        raise Strange(text.strip())
    return tokens


def _tokenise_escaped(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Strange(text[at:].strip())
        quoted, bare = match.group(1, 2)
        tokens.append(Quoted(_ESCAPE.sub(r"\1", quoted)) if quoted is not None else bare)
        at = match.end()
    return tokens


_MARKS = frozenset("-!")


def _is_option(token: str) -> bool:
    return token[:1] == "-" and type(token) is not Quoted and len(token) > 1 and not token[1].isdigit()


def _is_not(token: str) -> bool:
    return token == "!" and type(token) is not Quoted


def _options(tokens: list[str]) -> Iterator[tuple[str, bool, tuple[str, ...]]]:
    """(option as printed, negated, values) one after the other. Raises Strange with the rest of the rule."""
    at, end = 0, len(tokens)
    marks = [token[:1] in _MARKS and (_is_option(token) or _is_not(token)) for token in tokens]
    marks.append(True)
    while at < end:
        start = at
        option = tokens[at]
        negated = option == "!" and marks[at]
        if negated:
            at += 1
            option = tokens[at] if at < end else ""
        if not marks[at] or option[:1] != "-":
            raise Strange(" ".join(tokens[start:]))
        at += 1
        first = at
        if option in _FREE_TEXT:
            at += 1
        elif not marks[at]:
            at = marks.index(True, at)
        elif at + 1 < end and tokens[at] == "!" and not marks[at + 1] and not negated:
            # iptables 1.4.2 and older: the "!" stands behind the option.
            negated = True
            first = at + 1
            at = marks.index(True, first)
        values = tokens[first:at]
        yield option, negated, tuple(map(str, values)) if at - first > 1 else (str(values[0]),) if values else ()


@lru_cache(maxsize=65536)
def _match(module: str, option: str, values: tuple[str, ...], negated: bool, instance: int) -> Match:
    """Dumps repeat few conditions many times: equal ones are one object."""
    return Match(module, option, values, negated, instance)


class _Reader:
    """Assigns the options of one rule to built-ins, modules and the target."""

    def __init__(self) -> None:
        self.matches: list[Match] = []
        self.comments: list[str] = []
        self.target = ""
        self.target_options: list[tuple[str, tuple[str, ...]]] = []
        self.goto = False
        self.counters: tuple[int | None, int | None] = (None, None)
        self.module = ""
        self.instance = 0
        self.bare_module = False
        self.in_target = False
        self.protocol = ""

    def close_module(self) -> None:
        if self.bare_module and self.module != "comment":
            self.matches.append(_match(self.module, "", (), False, self.instance))
        self.bare_module = False

    def read(self, tokens: list[str]) -> None:
        for option, negated, values in _options(tokens):
            if option[:2] == "--" and option not in _CORE_LONG:
                self.extension(ALIASES.get(option[2:], option[2:]), negated, values)
            else:
                self.core(option, negated, values)
        self.close_module()

    def core(self, option: str, negated: bool, values: tuple[str, ...]) -> None:
        printed = " ".join((option, *values))
        if option in BUILTIN:
            name = BUILTIN[option]
            if len(values) != (0 if name == "fragment" else 1):
                raise Strange(printed)
            if name == "protocol" and not negated:
                self.protocol = values[0]
            self.matches.append(_match("", name, values, negated, 0))
            return
        if negated:
            raise Strange(f"! {printed}")
        if option in ("-c", "--set-counters"):
            if len(values) != 2:
                raise Strange(printed)
            self.counters = number(values[0]), number(values[1])
            return
        if len(values) != 1:
            raise Strange(printed)
        self.close_module()
        if option in ("-m", "--match"):
            self.module = values[0]
            self.instance += 1
            self.bare_module, self.in_target = True, False
        elif option in ("-j", "--jump", "-g", "--goto") and not self.target:
            self.target = values[0]
            self.goto = option in ("-g", "--goto")
            self.in_target = True
        else:
            raise Strange(printed)

    def extension(self, name: str, negated: bool, values: tuple[str, ...]) -> None:
        if self.in_target:
            if negated:
                raise Strange(f"! --{name}")
            self.target_options.append((name, values))
            return
        if not self.module:
            if not self.protocol:
                raise Strange(f"--{name} of no module")
            # -p tcp --dport 80 loads the protocol's own match; iptables-save always writes -m tcp.
            self.module = _PROTOCOL_MODULES.get(self.protocol, self.protocol)
            self.instance += 1
        self.bare_module = False
        if name == "comment" and self.module == "comment" and values and not negated:
            self.comments.append(values[0])
            return
        if self.module == "set" and name == "set":
            name = "match-set"
        self.matches.append(_match(self.module, name, values, negated, self.instance))


_CORE_LONG = frozenset(
    [*(option for option in BUILTIN if option[:2] == "--"), "--match", "--jump", "--goto", "--set-counters"]
)


def read_spec(text: str) -> Spec:
    """The rule behind `-A CHAIN`. Never raises: what cannot be tokenised is in `unparsed`, with what came before it."""
    reader = _Reader()
    unparsed = ""
    try:
        reader.read(tokenise(text))
    except ValueError as error:
        unparsed = str(error) or text
    return Spec(
        tuple(reader.matches),
        reader.target,
        tuple(reader.target_options),
        reader.goto,
        " ".join(reader.comments),
        *reader.counters,
        unparsed,
    )
