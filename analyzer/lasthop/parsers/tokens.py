"""The small words in the output of network tools: addresses, prefixes, marks, interface names.

Every function raises ValueError on text that is not the thing; parsers catch that per line.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from lasthop.facts.network import Ip, Prefix

ANY4 = IPv4Network("0.0.0.0/0")
ANY6 = IPv6Network("::/0")


class Strange(ValueError):
    """A line that cannot be read; `touches` is the key it could have spoken of ("" = anything)."""

    def __init__(self, why: str, touches: str = "") -> None:
        super().__init__(why)
        self.touches = touches


@lru_cache(maxsize=65536)
def ip(text: str) -> Ip:
    """An address; a zone ("%eth0") is cut off."""
    bare = text.partition("%")[0]
    return IPv6Address(bare) if ":" in bare else IPv4Address(bare)


@lru_cache(maxsize=65536)
def prefix(text: str, family: int = 4) -> Prefix:
    """"10.0.0.0/8", "10.0.0.1" (a host), "default"/"all"/"any" of the given family. Host bits are masked."""
    if text in ("default", "all", "any"):
        return ANY6 if family == 6 else ANY4
    bare, slash, length = text.partition("/")
    if ":" in bare:
        return IPv6Network((bare.partition("%")[0], int(length) if slash else 128), strict=False)
    if bare.count(".") < 3:
        # Old iproute2 and BIRD may print "10/8" or "192.168/16".
        bare = ".".join((bare.split(".") + ["0"] * 4)[:4])
    return IPv4Network((bare, length if slash else 32), strict=False)


def number(text: str) -> int:
    """Decimal or 0x hexadecimal; ASCII digits only, no sign, no underscore."""
    hexadecimal = text[:2] in ("0x", "0X")
    digits = text[2:] if hexadecimal else text
    if not (digits.isascii() and digits.isalnum()):
        raise ValueError(f"not a number: {text[:40]!r}")
    return int(digits, 16 if hexadecimal else 10)


def number_range(text: str) -> tuple[int, int]:
    """"80" or "1000-2000"."""
    low, dash, high = text.partition("-")
    return number(low), number(high if dash else low)


def value_mask(text: str) -> tuple[int, int]:
    """"0x1" or "0x1/0xff"; without a mask all 32 bits count."""
    value, slash, mask = text.partition("/")
    return number(value), number(mask) if slash else 0xFFFFFFFF


TABLES = {"main": 254, "local": 255, "default": 253, "unspec": 0}


def table(text: str) -> tuple[int | None, str]:
    """(numeric id, "") or (None, name) for a name of /etc/iproute2/rt_tables that only the node knows."""
    if text in TABLES:
        return TABLES[text], ""
    try:
        return number(text), ""
    except ValueError:
        return None, text


def duration(text: str) -> int:
    """"598sec" or "598" in seconds."""
    return number(text.removesuffix("sec").removesuffix("s"))


_DSFIELD = {
    "default": 0, "AF11": 0x28, "AF12": 0x30, "AF13": 0x38, "AF21": 0x48, "AF22": 0x50, "AF23": 0x58, "AF31": 0x68,
    "AF32": 0x70, "AF33": 0x78, "AF41": 0x88, "AF42": 0x90, "AF43": 0x98, "CS1": 0x20, "CS2": 0x40, "CS3": 0x60,
    "CS4": 0x80, "CS5": 0xA0, "CS6": 0xC0, "CS7": 0xE0, "EF": 0xB8, "lowdelay": 0x10, "throughput": 8, "reliability": 4,
    "mincost": 2,
}  # fmt: skip


def tos(text: str) -> int:
    """A TOS byte as iproute2 prints it: "0x10", or a name of its rt_dsfield file."""
    return _DSFIELD[text] if text in _DSFIELD else int(text, 16) if text.isascii() and text.isalnum() else number(text)
