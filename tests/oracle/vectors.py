"""Test vectors: a case with what the kernel did, as text that is judged again without root.

A vector holds the kernel's own dumps with its counters (`iptables-save -c`, `ipset save`), the packets that were sent
and what came out. Sections start with `== `.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import shlex
import sys
from ipaddress import ip_address
from pathlib import Path

from lasthop.facts.trace import Packet
from lasthop.parsers.ipset import parse_ipsets

from .compare import Result, judge, parse_dumps
from .wire import Seen

FOLDER = Path(__file__).resolve().parent.parent / "vectors"
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Packet)}
_NUMBERS = frozenset({"family", "sport", "dport", "icmp_type", "icmp_code", "icmp_id", "length", "ttl", "tos"})


def packet_line(packet: Packet) -> str:
    """`key=value` words for every field that differs from its default; a quoted packet follows after `quoted`."""
    words = []
    for field in dataclasses.fields(Packet):
        value = getattr(packet, field.name)
        if value == _DEFAULTS[field.name] or field.name == "quoted":
            continue
        if field.name == "tcp_flags":
            value = ",".join(sorted(value))
        elif isinstance(value, bool):
            value = int(value)
        elif field.name not in _NUMBERS | {"proto", "src", "dst", "iif", "src_mac", "dst_mac"}:
            continue  # what the router adds on the way: connection, marks, output
        words.append(f"{field.name}={value}")
    if packet.quoted is not None:
        words += ["quoted", packet_line(packet.quoted)]
    return " ".join(words)


def parse_packet(line: str) -> Packet:
    head, _, inner = line.partition(" quoted ")
    values: dict[str, object] = {}
    for word in shlex.split(head):
        name, _, text = word.partition("=")
        if name in ("src", "dst"):
            values[name] = ip_address(text)
        elif name == "tcp_flags":
            values[name] = frozenset(text.split(","))
        elif name in ("df", "local_out"):
            values[name] = text == "1"
        else:
            values[name] = int(text) if name in _NUMBERS else text
    if inner:
        values["quoted"] = parse_packet(inner)
    return Packet(**values)  # type: ignore[arg-type]


def seen_line(one: Seen) -> str:
    return " ".join(f"{field.name}={getattr(one, field.name)}" for field in dataclasses.fields(Seen))


def parse_seen(line: str) -> Seen:
    values = dict(word.partition("=")[::2] for word in line.split())
    numbers = {name: None if values[name] == "None" else int(values[name])
               for name in ("ident", "sport", "dport", "tos", "ttl")}  # fmt: skip
    return Seen(where=values["where"], src=ip_address(values["src"]), dst=ip_address(values["dst"]), **numbers)  # type: ignore[arg-type]


def write(path: Path, why: str, loose: bool, result: Result) -> None:
    """A vector of what the kernel did in `result`."""
    lines = [f"# {why}", f"tcp_loose {int(loose)}"]
    for (backend, family), text in result.dumps.items():
        kept = [line for line in text.splitlines() if line and not line.startswith("#")]
        lines += [f"== iptables {backend} {family}", *kept]
    if result.sets:
        lines += ["== ipset", *result.sets.splitlines()]
    lines += ["== packets", *(packet_line(packet) for packet in result.sent)]
    lines += ["== kernel", *(seen_line(one) for one in result.seen)]
    path.write_text("\n".join(lines) + "\n")


def replay(path: Path) -> Result:
    """Judge a vector: every difference between what the kernel did then and the simulation now."""
    sections: dict[str, list[str]] = {"": []}
    current = ""
    for line in path.read_text().splitlines():
        if line.startswith("== "):
            current = line[3:]
            sections[current] = []
        else:
            sections[current].append(line)
    loose = "tcp_loose 1" in sections[""]
    dumps = {
        (name.split()[1], int(name.split()[2])): "\n".join(lines) + "\n"
        for name, lines in sections.items()
        if name.startswith("iptables ")
    }
    packets = [parse_packet(line) for line in sections["packets"]]
    seen = [parse_seen(line) for line in sections["kernel"]]
    sets = parse_ipsets("\n".join(sections.get("ipset", ())) + "\n", "ipset").values if "ipset" in sections else ()
    return judge(packets, seen, parse_dumps(dumps), sets, loose, Result(len(packets), sent=packets, seen=seen))


def main() -> int:
    """`python -m tests.oracle.vectors --case N --why TEXT NAME`: shrink a case, or keep it whole, and store it."""
    from .compare import run_case
    from .machine import Machine
    from .rulesets import random_case
    from .run import Totals, load_accepted
    from .shrink import shrink

    parser = argparse.ArgumentParser(prog="python -m tests.oracle.vectors", description=main.__doc__)
    parser.add_argument("name")
    parser.add_argument("--case", type=int, required=True)
    parser.add_argument("--per-case", type=int, default=50)
    parser.add_argument("--why", default="a random case")
    options = parser.parse_args()
    with Machine() as machine:
        rng = random.Random(options.case)
        case = random_case(rng)
        load_accepted(machine, case, Totals())
        result = run_case(machine, case, None, rng, options.per_case, loaded=True)
        if result.differences:
            case, _, result = shrink(machine, case, result.sent)
    write(FOLDER / f"{options.name}.txt", options.why, case.loose, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
