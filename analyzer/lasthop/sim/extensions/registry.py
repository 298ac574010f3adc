"""Registry of matches and targets with their support state; turns tokenised matches into tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from lasthop.facts.netfilter import Match, NetfilterRule

from .context import Answer, Context, unknown

Test = Callable[[Context], Answer]
Value = Callable[[Context], str]


class Support(Enum):
    """How far a match or target is understood."""

    MODELLED = "modelled"
    IRRELEVANT = "irrelevant"
    ANSWERS_UNKNOWN = "known but answers UNKNOWN"
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True)
class CompiledMatch:
    """One condition ready to be asked. `text` is the condition as written, `value` what the packet has instead.

    `choice` is the share of packets that match when the kernel decides by chance or by turn (statistic); `test` then
    answers True.
    """

    test: Test
    text: str
    value: Value
    choice: Fraction | None = None


Compile = Callable[[tuple[Match, ...]], list[CompiledMatch]]


@dataclass(frozen=True, slots=True)
class MatchExtension:
    """`compile` gets the options of one use of the module; `options` are those that are understood."""

    module: str
    options: tuple[str, ...]
    support: Support
    note: str
    compile: Compile


class TargetKind(Enum):
    """What a matching rule does next."""

    COUNT = "goes on (no target)"
    CONTINUE = "goes on"
    ACCEPT = "accept"
    DROP = "drop"
    REJECT = "reject"
    RETURN = "return"
    JUMP = "jump"
    NAT = "nat"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class TargetExtension:
    """`compile` answers the kind and what belongs to it (a mutation, a NAT request, a reject word, a reason)."""

    name: str
    support: Support
    note: str
    compile: Callable[[NetfilterRule], tuple[TargetKind, object]]


_MATCHES: dict[str, MatchExtension] = {}
_TARGETS: dict[str, TargetExtension] = {}


def match_extensions() -> tuple[MatchExtension, ...]:
    return tuple(_MATCHES[name] for name in sorted(_MATCHES))


def target_extensions() -> tuple[TargetExtension, ...]:
    return tuple(_TARGETS[name] for name in sorted(_TARGETS))


def register(extension: MatchExtension) -> None:
    _MATCHES[extension.module] = extension


def register_target(extension: TargetExtension) -> None:
    _TARGETS[extension.name] = extension


def option_text(match: Match) -> str:
    """The condition as iptables-save prints it."""
    words = [f"-m {match.module}"] if match.module else []
    if match.negated:
        words.append("!")
    words.append(f"--{match.option}" if match.option else "")
    words.extend(match.values)
    return " ".join(word for word in words if word)


def group_text(matches: Iterable[Match]) -> str:
    group = list(matches)
    words = [f"-m {group[0].module}"] if group and group[0].module else []
    for match in group:
        bare = Match("", match.option, match.values, match.negated)
        words.append(option_text(bare))
    return " ".join(words)


def single(build: Callable[[Match], tuple[Test, Value]]) -> Compile:
    """For modules whose options are independent conditions: one test per option, negation applied here."""

    def compile_group(group: tuple[Match, ...]) -> list[CompiledMatch]:
        compiled = []
        for match in group:
            if not match.option:  # "-m tcp" alone asks nothing that -p did not ask
                continue
            test, value = build(match)
            compiled.append(CompiledMatch(_negated(test) if match.negated else test, option_text(match), value))
        return compiled

    return compile_group


def _negated(test: Test) -> Test:
    def inverse(c: Context) -> Answer:
        answer = test(c)
        return (not answer) if isinstance(answer, bool) else answer

    return inverse


def always_unknown(why: str, decides: str = "") -> Compile:
    answer = unknown(why, decides)

    def compile_group(group: tuple[Match, ...]) -> list[CompiledMatch]:
        return [CompiledMatch(lambda c: answer, group_text(group), lambda c: why)]

    return compile_group


def always_true(group: tuple[Match, ...]) -> list[CompiledMatch]:
    return []


def split_uses(matches: tuple[Match, ...]) -> list[tuple[Match, ...]]:
    """The options of each use of a module together: `-m addrtype ... -m addrtype ...` are two uses."""
    groups: list[list[Match]] = []
    for match in matches:
        last = groups[-1][0] if groups else None
        if last is not None and last.module == match.module and last.instance == match.instance:
            groups[-1].append(match)
        else:
            groups.append([match])
    return [tuple(group) for group in groups]


def match_support(match: Match) -> Support:
    extension = _MATCHES.get(match.module)
    if extension is None or (match.option and match.option not in extension.options):
        return Support.UNRECOGNISED
    return extension.support


def target_support(name: str) -> Support:
    """Support of a target that is no chain of the same table."""
    extension = _TARGETS.get(name)
    return extension.support if extension else Support.UNRECOGNISED


def compile_matches(matches: tuple[Match, ...]) -> list[CompiledMatch]:
    """Tests in the order in which the kernel asks them. What is not understood answers UNKNOWN, never true."""
    compiled: list[CompiledMatch] = []
    for group in split_uses(matches):
        extension = _MATCHES.get(group[0].module)
        strange = next((m for m in group if match_support(m) is Support.UNRECOGNISED), None)
        if extension is None or strange is not None:
            reason = f"match '{option_text(strange or group[0])}' is not recognised"
            compiled.extend(always_unknown(reason)(group))
            continue
        try:
            compiled.extend(extension.compile(group))
        except (ValueError, IndexError, KeyError, ZeroDivisionError):
            compiled.extend(always_unknown(f"the values of '{group_text(group)}' are not understood")(group))
    return compiled


def compile_target(rule: NetfilterRule) -> tuple[TargetKind, object]:
    """Kind and payload of a rule's target; a name that is neither a chain nor known is UNKNOWN."""
    extension = _TARGETS.get(rule.target)
    if extension is None:
        return TargetKind.UNKNOWN, f"target {rule.target} is not recognised"
    try:
        return extension.compile(rule)
    except (ValueError, IndexError, KeyError):
        return TargetKind.UNKNOWN, f"the options of target {rule.target} are not understood"
