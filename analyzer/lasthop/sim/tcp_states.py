"""TCP state transitions of conntrack (net/netfilter/nf_conntrack_proto_tcp.c, tcp_conntracks)."""

from __future__ import annotations

STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",
    "SYN_SENT2",
)  # fmt: skip

_SHORT = {
    "SS": "SYN_SENT", "SR": "SYN_RECV", "ES": "ESTABLISHED", "FW": "FIN_WAIT", "CW": "CLOSE_WAIT", "LA": "LAST_ACK",
    "TW": "TIME_WAIT", "CL": "CLOSE", "S2": "SYN_SENT2", "IV": "INVALID", "IG": "IGNORE",
}  # fmt: skip

_ORIGINAL = {
    "SYN": "SS SS IG IG IG IG IG SS SS S2",
    "SYN-ACK": "IV IV IG IG IG IG IG IG IG SR",
    "FIN": "IV IV FW FW LA LA LA TW CL IV",
    "ACK": "ES IV ES ES CW CW TW TW CL IV",
    "RST": "IV CL CL CL CL CL CL CL CL CL",
    "none": "IV IV IV IV IV IV IV IV IV IV",
}
_REPLY = {
    "SYN": "IV S2 IV IV IV IV IV SS IV S2",
    "SYN-ACK": "IV SR IG IG IG IG IG IG IG SR",
    "FIN": "IV IV FW FW LA LA LA TW CL IV",
    "ACK": "IV IG SR ES CW CW TW TW CL IG",
    "RST": "IV CL CL CL CL CL CL CL CL CL",
    "none": "IV IV IV IV IV IV IV IV IV IV",
}


def _table(rows: dict[str, str]) -> dict[tuple[str, str], str]:
    return {
        (state, index): _SHORT[word]
        for index, row in rows.items()
        for state, word in zip(STATES, row.split(), strict=True)
    }


_TABLES = (_table(_ORIGINAL), _table(_REPLY))


def next_state(state: str, index: str, is_reply: bool) -> str:
    """The next state, "INVALID" (the packet belongs to no connection) or "IGNORE" (passes, changes nothing)."""
    return _TABLES[is_reply].get((state, index), "IGNORE")
