"""Named small cases: kernel behaviour that simulators get wrong. `python -m tests.oracle.known` asks the kernel again
and rewrites their vectors."""

# ruff: noqa: E501 - one case reads best as one row

from __future__ import annotations

import random
import sys
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from lasthop.facts.trace import Packet

from .compare import run_case
from .layout import BY_NAME
from .machine import CHAINS, Machine
from .rulesets import Case
from .vectors import FOLDER, write


@dataclass
class Known:
    name: str
    why: str
    rules: dict[str, str]
    """By table: lines of rules and user chains (`:name`), both given to `backends`."""
    packets: list[Packet]
    sets: str = ""
    loose: bool = True
    backends: tuple[str, ...] = ("nft", "legacy")
    policies: dict[str, str] = field(default_factory=dict)
    """"table chain" -> DROP."""


def table(name: str, body: str, policies: dict[str, str]) -> str:
    chains = "".join(f":{chain} {policies.get(f'{name} {chain}', 'ACCEPT')} [0:0]\n" for chain in CHAINS[name])
    users = "".join(f"{line} - [0:0]\n" for line in body.splitlines() if line.startswith(":"))
    rules = "".join(line + "\n" for line in body.splitlines() if not line.startswith(":"))
    return f"*{name}\n{chains}{users}{rules}COMMIT\n"


def tcp(src: str, dst: str, iif: str, flags: str = "SYN", sport: int = 40000, dport: int = 80) -> Packet:
    port = BY_NAME[iif]
    one = ip_address(src)
    return Packet(one.version, "tcp", one, ip_address(dst), sport, dport, frozenset(flags.split(",")), iif=iif, df=False,
                  length=60 if one.version == 4 else 80, src_mac=port.neighbour_mac, dst_mac=port.mac)  # fmt: skip


def udp(src: str, dst: str, iif: str, sport: int = 40000, dport: int = 53) -> Packet:
    return replace(tcp(src, dst, iif, "SYN", sport, dport), proto="udp", tcp_flags=frozenset())


A, B, C, E = "10.10.0.1", "10.30.0.1", "10.40.0.1", "10.20.0.1"
STATES = "\n".join(f"-A FORWARD -m conntrack --ctstate {state}"
                   for state in ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"))  # fmt: skip
PING = replace(udp(A, B, "cali1"), proto="icmp", icmp_type=8, icmp_code=0, icmp_id=7, sport=None, dport=None)
UNREACHABLE = replace(PING, src=ip_address(B), dst=ip_address(A), iif="eth0", icmp_type=3, icmp_code=3, icmp_id=None,
                      length=56, src_mac=BY_NAME["eth0"].neighbour_mac, dst_mac=BY_NAME["eth0"].mac,
                      quoted=udp(A, B, "cali1"))  # fmt: skip
GRE = replace(udp(A, B, "cali1"), proto="47", sport=None, dport=None)

CASES = (
    Known("goto-return", "GOTO from a base chain, then RETURN: the policy decides, later rules are skipped",
          {"filter": ":c1\n-A FORWARD -g c1\n-A FORWARD -j ACCEPT\n-A c1 -j RETURN"}, [tcp(A, B, "cali1")],
          policies={"filter FORWARD": "DROP"}),
    Known("goto-nested", "GOTO from a called chain: its end leads back behind the call",
          {"filter": ":c1\n:c2\n-A FORWARD -j c1\n-A FORWARD\n-A c1 -g c2\n-A c1 -j DROP\n-A c2 -d 10.40.0.0/16 -j RETURN"},
          [tcp(A, B, "cali1"), tcp(A, C, "cali1")]),
    Known("return-base", "RETURN in a base chain applies its policy",
          {"filter": "-A FORWARD -p tcp -j RETURN\n-A FORWARD -j ACCEPT"}, [tcp(A, B, "cali1"), udp(A, B, "cali1")],
          policies={"filter FORWARD": "DROP"}),
    Known("mark-mask", "marks: set-xmark clears by the mask and flips by the value; tests look at masked bits only",
          {"mangle": "-A PREROUTING -j MARK --set-xmark 0x5/0x1\n-A PREROUTING -j MARK --set-xmark 0x4/0x0\n"
                     "-A PREROUTING -m mark --mark 0x1/0x1\n-A PREROUTING -m mark --mark 0x4/0x4\n"
                     "-A PREROUTING -m mark ! --mark 0x1/0x5\n-A PREROUTING -j MARK --set-mark 0xf0/0x0f\n"
                     "-A PREROUTING -m mark --mark 0xf0/0xff\n-A PREROUTING -j MARK --and-mark 0x30\n"
                     "-A PREROUTING -m mark --mark 0x30\n-A PREROUTING -j MARK --xor-mark 0x10\n"
                     "-A PREROUTING -m mark --mark 0x20"}, [tcp(A, B, "cali1")]),
    Known("connmark", "CONNMARK saves and restores with both masks by exclusive or",
          {"mangle": "-A PREROUTING -m conntrack --ctstate NEW -j MARK --set-mark 0xff\n"
                     "-A PREROUTING -m conntrack --ctstate NEW -j CONNMARK --save-mark --nfmask 0x3f --ctmask 0xf0\n"
                     "-A PREROUTING -m conntrack --ctstate ESTABLISHED -j CONNMARK --restore-mark --nfmask 0xf --ctmask 0x33\n"
                     "-A PREROUTING -m connmark --mark 0x3f\n-A PREROUTING -m mark --mark 0x33\n"
                     "-A PREROUTING -m connmark ! --mark 0x3f"},
          [tcp(A, B, "cali1"), tcp(B, A, "eth0", "SYN,ACK", 80, 40000)]),
    Known("connmark-of-a-dropped-packet", "CONNMARK changes the connection although the packet that set it is dropped",
          {"mangle": "-A FORWARD -m connmark --mark 0x7\n-A POSTROUTING -m conntrack --ctdir REPLY -j CONNMARK --set-mark 7\n"
                     "-A POSTROUTING -m conntrack --ctdir REPLY -j DROP"},
          [tcp(A, B, "cali1"), tcp(B, A, "eth0", "SYN,ACK", 80, 40000), tcp(A, B, "cali1", "ACK")]),
    Known("ct-new-invalid", "SYN is NEW; SYN-ACK, FIN, RST and no flags without an entry are INVALID; a bare ACK is NEW",
          {"filter": STATES}, [tcp(A, B, "cali1", flags, 41000 + number) for number, flags in
                               enumerate(("SYN", "SYN,ACK", "FIN,ACK", "RST", "ACK", "ACK,PSH", "FIN", "SYN,FIN"))]),
    Known("ct-strict", "nf_conntrack_tcp_loose 0: a bare ACK without an entry is INVALID", {"filter": STATES},
          [tcp(A, B, "cali1", "ACK"), tcp(A, B, "cali1", "SYN", 40001)], loose=False),
    Known("ct-handshake", "SYN, SYN-ACK, ACK, FIN, RST of one connection; ASSURED after the third",
          {"filter": STATES + "\n-A FORWARD -m conntrack --ctstatus ASSURED\n-A FORWARD -m conntrack --ctdir REPLY\n"
                     "-A FORWARD -m conntrack --ctstatus SEEN_REPLY\n-A FORWARD -m conntrack --ctstatus CONFIRMED"},
          [tcp(A, B, "cali1"), tcp(B, A, "eth0", "SYN,ACK", 80, 40000), tcp(A, B, "cali1", "ACK"),
           tcp(B, A, "eth0", "ACK", 80, 40000), tcp(A, B, "cali1", "FIN,ACK"), tcp(B, A, "eth0", "RST,ACK", 80, 40000)]),
    Known("ct-dropped-leaves-nothing", "a packet dropped on the way leaves no entry: its answer is INVALID",
          {"filter": STATES + "\n-A FORWARD -i cali1 -j DROP"}, [tcp(A, B, "cali1"), tcp(B, A, "eth0", "SYN,ACK", 80, 40000)]),
    Known("ct-syn-retransmit", "a second SYN before any answer is NEW again and asks no nat table",
          {"filter": STATES, "nat": "-A PREROUTING -d 10.30.0.1 -j DNAT --to-destination 10.40.0.1"},
          [tcp(A, B, "cali1"), tcp(A, B, "cali1")]),
    Known("ct-reset-deletes", "a reset as the only answer deletes the entry",
          {"filter": STATES}, [tcp(A, B, "cali1"), tcp(B, A, "eth0", "RST,ACK", 80, 40000), tcp(B, A, "eth0", "ACK", 80, 40000)]),
    Known("notrack", "NOTRACK and CT --notrack make UNTRACKED, which is not NEW; nat tables are not asked",
          {"raw": "-A PREROUTING -p tcp -j CT --notrack\n-A PREROUTING -p udp -j NOTRACK", "filter": STATES,
           "nat": "-A PREROUTING -j DNAT --to-destination 10.40.0.1"}, [tcp(A, B, "cali1"), udp(A, B, "cali1"), PING]),
    Known("icmp-related", "an ICMP error is RELATED to the connection of the packet that it quotes, of protocol UDP",
          {"filter": STATES + "\n-A FORWARD -p icmp -m conntrack --ctproto 17\n-A FORWARD -p icmp -m conntrack --ctproto 1"},
          [udp(A, B, "cali1"), UNREACHABLE]),
    Known("icmp-error-dnat", "an ICMP error from the backend comes back with the address that the client asked",
          {"nat": "-A PREROUTING -d 10.40.0.1 -j DNAT --to-destination 10.30.0.1"},
          [udp(A, C, "cali1"), UNREACHABLE]),
    Known("icmp-unrelated", "an ICMP error about an unknown connection is INVALID", {"filter": STATES}, [UNREACHABLE]),
    Known("ping", "echo request and reply; a reply without a request is INVALID", {"filter": STATES},
          [replace(PING, src=ip_address(B), dst=ip_address(A), iif="eth0", icmp_type=0), PING,
           replace(PING, src=ip_address(B), dst=ip_address(A), iif="eth0", icmp_type=0)]),
    Known("dnat-snat-reply", "the answer of a DNATed and masqueraded connection is rewritten back; nat counts once",
          {"nat": "-A PREROUTING -d 10.20.0.1 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.30.0.1:8080\n"
                  "-A POSTROUTING -o eth0 -j MASQUERADE",
           "filter": "-A FORWARD -m conntrack --ctstate DNAT\n-A FORWARD -m conntrack --ctstate SNAT\n"
                     "-A FORWARD -m conntrack --ctorigdst 10.20.0.1\n-A FORWARD -m conntrack --ctorigdstport 80\n"
                     "-A FORWARD -d 10.30.0.1\n-A FORWARD -m conntrack --ctrepldst 192.168.3.1"},
          [tcp(A, E, "cali1"), tcp(B, "192.168.3.1", "eth0", "SYN,ACK", 8080, 40000), tcp(A, E, "cali1", "ACK")]),
    Known("redirect", "REDIRECT sends to the first address of the input interface",
          {"nat": "-A PREROUTING -p tcp -j REDIRECT --to-ports 9099", "filter": "-A INPUT -d 192.168.1.1 -p tcp -m tcp --dport 9099"},
          [tcp(A, B, "cali1")]),
    Known("netmap", "NETMAP keeps the host part", {"nat": "-A PREROUTING -d 10.30.0.0/24 -j NETMAP --to 10.40.7.0/24"},
          [tcp(A, "10.30.0.9", "cali1")]),
    Known("netmap-called", "NETMAP in a chain that POSTROUTING calls rewrites the source",
          {"nat": ":c1\n-A POSTROUTING -j c1\n-A c1 -s 10.10.0.0/24 -j NETMAP --to 10.20.7.0/24"}, [tcp(A, B, "cali1")]),
    Known("gre-clash", "two GRE flows that NAT makes equal: the second is dropped, there is no port to change",
          {"nat": "-A PREROUTING -j DNAT --to-destination 10.40.0.1"}, [GRE, replace(GRE, dst=ip_address(E))]),
    Known("gre-assured", "a GRE connection is ASSURED with the first packet after the answer",
          {"mangle": "-A PREROUTING -m conntrack --ctstatus ASSURED"},
          [GRE, replace(GRE, src=GRE.dst, dst=GRE.src, iif="eth0"), GRE]),
    Known("self-connection", "source and destination equal: the second packet counts as the answer", {"filter": STATES},
          [replace(GRE, dst=GRE.src, iif="cali2"), replace(GRE, dst=GRE.src, iif="cali2")]),
    Known("set-net-nomatch", "hash:net: the longest element decides, also when it says nomatch",
          {"filter": "-A FORWARD -m set --match-set n dst\n-A FORWARD -m set ! --match-set n dst\n"
                     "-A FORWARD -m set --match-set n dst --return-nomatch"},
          [tcp(A, "10.30.0.1", "cali1"), tcp(A, "10.30.1.1", "cali1"), tcp(A, C, "cali1")],
          sets="create n hash:net\nadd n 10.30.0.0/16\nadd n 10.30.1.0/24 nomatch\n"),
    Known("set-net-iface", "hash:net,iface: the longest net decides whatever interface its elements name",
          {"raw": "-A PREROUTING -m set --match-set i src,src\n-A PREROUTING -m set ! --match-set i src,src"},
          [tcp(A, B, "cali1"), tcp("10.10.7.1", B, "cali1")],
          sets="create i hash:net,iface\nadd i 10.10.0.0/24,eth1\nadd i 10.0.0.0/8,cali1\n"),
    Known("set-dimensions", "set directions per dimension; too few directions never match; icmp type as port",
          {"filter": "-A FORWARD -m set --match-set p dst,dst\n-A FORWARD -m set --match-set p dst,src\n"
                     "-A FORWARD -m set --match-set p src,dst\n-A FORWARD -m set --match-set p dst\n"
                     "-A FORWARD -m set ! --match-set p dst\n-A FORWARD -m set --match-set t dst,dst,src"},
          [tcp(A, B, "cali1"), udp(A, B, "cali1", 53, 80), PING],
          sets="create p hash:ip,port\nadd p 10.30.0.1,tcp:80\nadd p 10.30.0.1,udp:53\nadd p 10.30.0.1,icmp:8/0\n"
               "create t hash:ip,port,net\nadd t 10.30.0.1,tcp:80,10.10.0.0/24\n"),
    Known("multiport-bounds", "multiport ranges include both ends; --ports is either side",
          {"filter": "-A FORWARD -p tcp -m multiport --dports 80:81\n-A FORWARD -p tcp -m multiport ! --dports 79,82:90\n"
                     "-A FORWARD -p tcp -m multiport --ports 40000,82"},
          [tcp(A, B, "cali1", "SYN", 40000 + port, port) for port in (79, 80, 81, 82, 90, 91)] + [tcp(A, B, "cali1", "SYN", 40000, 5)]),
    Known("interface-wildcard", "cali+ matches by prefix; c+ too; negation",
          {"filter": "-A FORWARD -i cali+\n-A FORWARD -i c+ -o eth+\n-A FORWARD ! -i cali+\n-A FORWARD -i cali1+\n-A FORWARD -i cali"},
          [tcp(A, B, "cali1"), tcp(B, E, "eth0")]),
    Known("legacy-and-nft-drop", "a drop by policy of one back end is not cured by ACCEPT of the other",
          {"filter": "-A FORWARD -d 10.30.0.1 -j ACCEPT"}, [tcp(A, B, "cali1"), tcp(A, C, "cali1")],
          policies={"filter FORWARD": "DROP"}),
    Known("addrtype", "LOCAL with and without the interface limit",
          {"mangle": "-A PREROUTING -m addrtype --dst-type LOCAL\n-A PREROUTING -m addrtype --dst-type LOCAL --limit-iface-in\n"
                     "-A PREROUTING -m addrtype ! --dst-type LOCAL -m addrtype --src-type UNICAST\n"
                     "-A POSTROUTING -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL"},
          [tcp(A, "192.168.1.1", "cali1"), tcp(A, "192.168.3.1", "cali1"), tcp(A, B, "cali1"),
           replace(tcp("10.77.0.1", B, "cali1"), iif="", local_out=True, src_mac="", dst_mac="")]),
    Known("rpfilter", "rpfilter strict and loose against the table; --invert",
          {"raw": "-A PREROUTING -m rpfilter\n-A PREROUTING -m rpfilter --invert\n-A PREROUTING -m rpfilter --loose\n"
                  "-A PREROUTING -m rpfilter --loose --invert"},
          [tcp(A, B, "cali1"), tcp(C, B, "cali1"), tcp("10.200.0.1", B, "cali1")]),
    Known("postrouting-in", "POSTROUTING knows the input interface of forwarded packets",
          {"mangle": ":c1\n-A POSTROUTING -j c1\n-A c1 -i cali1\n-A c1 -i eth+\n-A c1 ! -i cali1"},
          [tcp(A, B, "cali1"), replace(tcp("10.77.0.1", B, "cali1"), iif="", local_out=True, src_mac="", dst_mac="")]),
    Known("ttl-tos", "TTL counts down before FORWARD; DSCP and TOS rewrite masked bits",
          {"mangle": "-A PREROUTING -m ttl --ttl-eq 64\n-A FORWARD -m ttl --ttl-eq 63\n-A FORWARD -j DSCP --set-dscp 0x2e\n"
                     "-A FORWARD -j TOS --set-tos 0x21/0xf0\n-A POSTROUTING -m tos --tos 0x29/0xff\n-A POSTROUTING -m dscp --dscp 0x0a\n"
                     "-A POSTROUTING -j TTL --ttl-inc 5"}, [replace(tcp(A, B, "cali1"), tos=0x41)]),
    Known("noncontiguous-mask", "address masks need not be prefixes",
          {"filter": "-A FORWARD -s 10.0.0.1/255.0.0.255\n-A FORWARD ! -s 10.0.0.1/255.0.0.255"},
          [tcp(A, B, "cali1"), tcp("10.10.0.2", B, "cali1")]),
)  # fmt: skip


def main() -> int:
    with Machine() as machine:
        for known in CASES:
            text = "".join(table(name, body, known.policies) for name, body in known.rules.items())
            for backend in known.backends:
                case = Case(4, {(backend, 4): text}, known.sets, known.loose, [], [])
                result = run_case(machine, case, known.packets, random.Random(0), 0)
                for difference in result.differences:
                    print(f"{known.name} {backend}: {difference}")
                write(FOLDER / f"known-{known.name}-{backend}.txt", known.why, known.loose, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
