"""What the simulated kernel says of a packet: values that the tracer makes and the diagnosis and reports read."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction

from .evidence import SourceRef
from .netfilter import NetfilterRule
from .network import Ip


class Disposition(Enum):
    """Where and how one direction ends (design: docs/dispositions.md)."""

    DELIVERED = "DELIVERED"
    DROPPED_BY_RULE = "DROPPED_BY_RULE"
    REJECTED_BY_RULE = "REJECTED_BY_RULE"
    NO_ROUTE = "NO_ROUTE"
    BLACKHOLED = "BLACKHOLED"
    RPF_FAILED = "RPF_FAILED"
    MARTIAN = "MARTIAN"
    NEIGHBOUR_FAILED = "NEIGHBOUR_FAILED"
    LINK_DOWN = "LINK_DOWN"
    NOT_FORWARDING = "NOT_FORWARDING"
    TTL_EXPIRED = "TTL_EXPIRED"
    TOO_BIG = "TOO_BIG"
    WRONG_VNI_OR_MAC = "WRONG_VNI_OR_MAC"
    WRONG_HOST = "WRONG_HOST"
    LOOP = "LOOP"
    CONNTRACK_FULL = "CONNTRACK_FULL"
    NAT_PORTS_EXHAUSTED = "NAT_PORTS_EXHAUSTED"
    BAD_CHECKSUM = "BAD_CHECKSUM"
    NO_SANDBOX = "NO_SANDBOX"
    NO_LISTENER = "NO_LISTENER"
    LISTEN_OVERFLOW = "LISTEN_OVERFLOW"
    BYPASSED = "BYPASSED"
    LOST_BETWEEN_CAPTURES = "LOST_BETWEEN_CAPTURES"
    LEFT_EVIDENCE = "LEFT_EVIDENCE"
    INSUFFICIENT_EVIDENCE = "INSUFFICIENT_EVIDENCE"


class Truth(Enum):
    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class MatchResult:
    """Three-valued. For UNKNOWN, `why` is one sentence and `decides` names the evidence that would decide."""

    truth: Truth
    why: str = ""
    decides: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """A 32-bit mark of which only the bits in `known` are certain."""

    value: int = 0
    known: int = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """What an outer packet carries: kind is "vxlan", "ipip" or "wireguard", src and dst are the inner packet's."""

    kind: str
    src: Ip
    dst: Ip
    vni: int | None = None
    port: int | None = None
    inner_src_mac: str = ""
    inner_dst_mac: str = ""


@dataclass(frozen=True, slots=True)
class Packet:
    """One IP packet at one moment, as the stage sees it: of a tunnelled packet the outer header, with the inner one
    described in `encaps` (innermost last).

    `ctstate` is the conntrack view in this netns: "" before the lookup, NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED.
    `ctdir` is "original" or "reply". `length` is the L3 length in bytes.
    """

    family: int
    proto: str
    src: Ip
    dst: Ip
    sport: int | None = None
    dport: int | None = None
    tcp_flags: frozenset[str] = frozenset()
    icmp_type: int | None = None
    icmp_code: int | None = None
    icmp_id: int | None = None
    length: int = 60
    df: bool = True
    ttl: int = 64
    tos: int = 0
    iif: str = ""
    oif: str = ""
    mark: Mark = Mark()
    ctmark: Mark = Mark()
    ctstate: str = ""
    ctdir: str = "original"
    ctstatus: frozenset[str] = frozenset()
    """SNAT, DNAT, SEEN_REPLY, ASSURED, CONFIRMED as xt_conntrack knows them."""
    ct_original: tuple[Ip, Ip, int | None, int | None] | None = None
    ct_reply: tuple[Ip, Ip, int | None, int | None] | None = None
    src_mac: str = ""
    dst_mac: str = ""
    encaps: tuple[Encapsulation, ...] = ()
    local_out: bool = False
    ct_zone: int = 0
    """Conntrack zone of this packet in this netns."""
    quoted: Packet | None = None
    """Of an ICMP error: the packet that it is about, as the error quotes it."""


@dataclass(frozen=True, slots=True)
class RuleVisit:
    """A rule that the packet met: `truth` of its matches, the failing match in `why` when NO or UNKNOWN."""

    rule: NetfilterRule
    truth: Truth
    why: str = ""


class Outcome(Enum):
    PASS = "pass"
    STOP = "stop"
    UNKNOWN = "unknown"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel stage in one netns.

    `stage` is a stable word: "pod-route", "gateway-neighbour", "raw PREROUTING", "mangle FORWARD", "filter INPUT",
    "nat PREROUTING", "conntrack", "route", "rp_filter", "forwarding", "neighbour", "fdb", "encap", "decap", "mtu",
    "link", "wire", "local-delivery", "listener", ... `detail` is one line for people. `sources` are what decided.
    `where` names the interface, route, chain or rule concerned.
    """

    stage: str
    outcome: Outcome
    detail: str
    sources: tuple[SourceRef, ...] = ()
    where: str = ""
    before: Packet | None = None
    after: Packet | None = None
    visits: tuple[RuleVisit, ...] = ()
    skipped_rules: int = 0
    disposition: Disposition | None = None
    decides: str = ""
    """For UNKNOWN: the evidence id, or the sentence, that would decide."""
    near_misses: tuple[RuleVisit, ...] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """Steps of one netns. `step` is its number in the method's picture (0-8) or None where the picture does not fit.

    `node` is "" for the wire or a host that is not in the bundle; `netns` is "host", "pod:ns/name" or "wire".
    """

    node: str
    netns: str
    steps: tuple[Step, ...]
    step: int | None = None
    iif: str = ""
    oif: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The branch that this trace took where the kernel really takes several, with its exact share of new flows."""

    where: str
    label: str
    share: Fraction
    source: SourceRef | None = None


@dataclass(frozen=True, slots=True)
class Trace:
    """One direction of one packet, one branch of choices.

    `packet` is "first", "answer" or "full-size". When unknown forks end differently, `disposition` is
    INSUFFICIENT_EVIDENCE, `endings` lists what each fork came to, and `hops` is the common part.
    """

    direction: str
    packet: str
    disposition: Disposition
    hops: tuple[Hop, ...]
    choices: tuple[Choice, ...] = ()
    assumptions: tuple[str, ...] = ()
    endings: tuple[Disposition, ...] = ()
    unknown_steps: int = 0

    @property
    def last_step(self) -> Step | None:
        return self.hops[-1].steps[-1] if self.hops and self.hops[-1].steps else None


@dataclass(frozen=True, slots=True)
class Sighting:
    """This flow's packet was seen (or, with `seen` false, provably not seen) at a capture point.

    `frames` are frame numbers counted from 1; `received` False when the interface ignores the frame (destination MAC).
    """

    node: str
    netns: str
    interface: str
    direction: str
    packet: str
    seen: bool
    path: str
    frames: tuple[int, ...] = ()
    first_time: float | None = None
    received: bool = True
    note: str = ""
    step: int | None = None
    attempt: int | None = None
    """The client's port: which try of the flow this is about."""


@dataclass(frozen=True, slots=True)
class Command:
    """`risk` is "read-only" or "changes"; `on` a node name, "cluster" or "underlay"."""

    command: str
    on: str
    risk: str = "read-only"


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence about a fault, from the walk or from a rule. Severity: critical, high, medium, low, info."""

    code: str
    title: str
    severity: str
    confidence: str
    because: str
    rule: str | None = None
    direction: str = ""
    step: int | None = None
    node: str = ""
    netns: str = "host"
    object: str = ""
    place: str = ""
    died_node: str = ""
    died_step: int | None = None
    disposition: Disposition | None = None
    share: Fraction = Fraction(1)
    policy: str | None = None
    evidence: tuple[SourceRef, ...] = ()
    fix: tuple[Command, ...] = ()
    verify: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MissingEvidence:
    node: str
    id: str
    why: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class NotEvaluated:
    """A rule that could not be asked of a node, with the kinds of fact that it lacked."""

    rule: str
    node: str
    lacks: tuple[str, ...] = field(default=())
