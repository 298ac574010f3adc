"""The walk through hooks: missing evidence, forks, choices, attribution. Kernel equality is in the vectors."""

# ruff: noqa: E501 - tables and rules read best as one line

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address

import pytest

from lasthop.facts.evidence import NOT_COLLECTED, Absent, AbsentReason, Complete, Doubt, SourceRef
from lasthop.facts.netfilter import ConntrackEntry, ConntrackTuple, NftBaseChain
from lasthop.facts.network import Address, Sysctl
from lasthop.facts.trace import Disposition, Mark, Outcome, Truth
from lasthop.sim.conntrack import ConntrackTable
from lasthop.sim.netfilter import Firewall

from .ruletext import HERE, Nowhere, netns, packet, partly, run, verdicts

DROP = "*filter\n:FORWARD DROP\n"


def test_nothing_loaded_accepts_without_a_word() -> None:
    (result,) = run(netns(), "FORWARD", packet(ctstate="NEW"))
    assert result.verdict == "accept" and result.assumed == () and result.steps == ()


def test_a_ruleset_that_was_not_collected_is_an_assumption_not_a_pass() -> None:
    space = replace(netns(), rulesets={("nft", 4): NOT_COLLECTED, ("legacy", 4): Complete(())})
    (result,) = run(space, "FORWARD", packet())
    assert result.verdict == "accept"
    assert result.assumed == ("no nft iptables rule at FORWARD stops or changes the packet",)
    assert [step.outcome for step in result.steps] == [Outcome.UNKNOWN]
    assert result.steps[0].decides == "iptables_nft_save"


def test_a_back_end_that_does_not_exist_is_no_gap() -> None:
    space = replace(netns(), rulesets={key: Absent(AbsentReason.NOT_APPLICABLE) for key in (("nft", 4), ("legacy", 4))})
    (result,) = run(space, "FORWARD", packet())
    assert result.assumed == () and result.steps == ()


def test_missing_legacy_evidence_does_not_hide_a_drop_of_nft() -> None:
    space = netns(DROP + "-A FORWARD -s 10.0.0.2 -j ACCEPT")
    space = replace(space, rulesets={**space.rulesets, ("legacy", 4): NOT_COLLECTED})
    (result,) = run(space, "FORWARD", packet())
    assert result.verdict == "drop"


def test_an_unknown_match_forks_a_terminal_rule() -> None:
    results = run(netns("*filter\n-A FORWARD -m u32 --u32 0x0=0x0 -j DROP"), "FORWARD", packet())
    assert verdicts(results) == ["accept", "drop"]
    assert all("u32 expressions are not evaluated" in result.assumed[0] for result in results)
    assert {("does not match" in result.assumed[0]): result.verdict for result in results} == {True: "accept", False: "drop"}


def test_an_unknown_match_without_consequence_does_not_fork() -> None:
    (result,) = run(netns("*filter\n-A FORWARD -m limit --limit 3/min"), "FORWARD", packet())
    assert result.verdict == "accept" and result.assumed == ()
    (result,) = run(netns("*filter\n-A FORWARD -m limit --limit 3/min -j LOG"), "FORWARD", packet())
    assert result.verdict == "accept" and result.assumed == ()


def test_branches_that_come_to_the_same_are_joined() -> None:
    rules = "*filter\n-A FORWARD -m string --string x --algo bm -j ACCEPT\n-A FORWARD -m string --string y --algo bm -j ACCEPT"
    (result,) = run(netns(rules), "FORWARD", packet())
    assert result.verdict == "accept" and result.assumed == ()


def test_unknown_marks_fork_only_where_the_bit_matters() -> None:
    rules = "*mangle\n-A PREROUTING -m mark --mark 0x4/0x4 -j DROP"
    half_known = packet(mark=Mark(0, 0xFFFFFFFB))
    assert verdicts(run(netns(rules), "PREROUTING", half_known)) == ["accept", "drop"]
    known = packet(mark=Mark(0, 0xFFFFFF0F))
    assert verdicts(run(netns(rules.replace("0x4/0x4", "0x1/0x1")), "PREROUTING", known)) == ["accept"]


def test_a_mark_set_on_one_branch_only_keeps_both() -> None:
    rules = """*mangle
    -A PREROUTING -m set --match-set gone src -j MARK --set-xmark 0x8/0x8
    -A PREROUTING -m mark --mark 0x8/0x8 -j DROP"""
    results = run(netns(rules), "PREROUTING", packet())
    assert verdicts(results) == ["accept", "drop"]
    assert {result.packet.mark.value for result in results} == {0, 8}


def test_an_unrecognised_match_or_target_is_unknown() -> None:
    assert verdicts(run(netns("*filter\n-A FORWARD -m magic --wand 3 -j DROP"), "FORWARD", packet())) == ["accept", "drop"]
    (result,) = run(netns("*filter\n-A FORWARD -j MAGIC --wand 3"), "FORWARD", packet())
    assert result.verdict == "unknown" and "MAGIC is not recognised" in result.steps[-1].detail
    (result,) = run(netns("*filter\n-A FORWARD -j NFQUEUE --queue-num 1"), "FORWARD", packet())
    assert result.verdict == "unknown" and "user-space program" in result.steps[-1].detail


def test_an_unparsed_rule_is_unknown() -> None:
    """Where the rest of the line was not read, nobody knows its target: anything may have happened."""
    results = run(netns("*filter\n-A FORWARD strange -j DROP"), "FORWARD", packet())
    assert verdicts(results) == ["accept", "unknown"]
    assert "not understood" in results[0].assumed[0]
    assert verdicts(run(netns("*filter\n-A FORWARD -s 10.9.9.9 -X y -j DROP"), "FORWARD", packet())) == ["accept"]


def test_many_unknown_rules_end_in_one_unknown_result() -> None:
    rules = "*mangle\n" + "\n".join(
        f"-A PREROUTING -m u32 --u32 {bit}=1 -j MARK --set-xmark {1 << bit:#x}/{1 << bit:#x}" for bit in range(12)
    )
    (result,) = run(netns(rules), "PREROUTING", packet())
    assert result.verdict == "unknown" and "256" in result.assumed[0]


def test_doubt_in_a_chain_is_unknown_where_the_chain_is_reached() -> None:
    text = "*filter\n-A FORWARD -s 10.0.0.0/24 -j c1\n-A c1 -d 10.1.1.1 -j DROP"
    doubt = Doubt("not understood", SourceRef("rules", 7, "-A c1 ???"), "c1")
    space = netns()
    space = replace(space, rulesets={("nft", 4): partly(text, doubt), ("legacy", 4): Complete(())})
    assert verdicts(run(space, "FORWARD", packet())) == ["accept", "unknown"]
    assert verdicts(run(space, "FORWARD", packet("10.7.0.1"))) == ["accept"]
    assert run(space, "FORWARD", packet("10.7.0.1"))[0].assumed == ()


def test_a_cut_dump_leaves_every_table_open() -> None:
    space = netns()
    cut = partly("*filter\n-A FORWARD -s 10.9.0.0/24 -j DROP", Doubt("cut", SourceRef("rules", 9)))
    space = replace(space, rulesets={("nft", 4): cut, ("legacy", 4): Complete(())})
    (result,) = run(space, "FORWARD", packet())
    assert result.verdict == "accept" and len(result.assumed) == 3  # mangle, filter, security
    assert verdicts(run(space, "FORWARD", packet("10.9.0.1"))) == ["drop"]


def _native(**fields: object) -> NftBaseChain:
    return replace(
        NftBaseChain("inet", "fw", "fwd", "filter", "forward", 0, "accept", 3, HERE), **fields  # type: ignore[arg-type]
    )


def test_native_nftables_chains_are_named_not_ignored() -> None:
    (result,) = run(replace(netns(), nft_chains=Complete((_native(),))), "FORWARD", packet())
    assert result.verdict == "accept" and result.assumed
    assert "table inet fw were not listed as text" in result.steps[0].detail


@pytest.mark.parametrize("fields", [{"family": "ip6"}, {"hook": "input"}, {"family": "bridge"}, {"rules": 0}])
def test_native_chains_that_cannot_touch_the_packet_are_no_doubt(fields: dict[str, object]) -> None:
    (result,) = run(replace(netns(), nft_chains=Complete((_native(**fields),))), "FORWARD", packet())
    assert result.assumed == () and result.steps == ()


def test_an_empty_native_chain_with_policy_drop_drops() -> None:
    (result,) = run(replace(netns(), nft_chains=Complete((_native(rules=0, policy="drop"),))), "FORWARD", packet())
    assert result.verdict == "drop" and result.steps[0].disposition is Disposition.DROPPED_BY_RULE


def test_any_back_end_may_drop() -> None:
    accept = "*filter\n:FORWARD DROP\n-A FORWARD -j ACCEPT"
    for nft, legacy in ((accept, DROP), (DROP, accept)):
        assert verdicts(run(netns(nft, legacy), "FORWARD", packet())) == ["drop"]
    assert verdicts(run(netns(accept, accept), "FORWARD", packet())) == ["accept"]


def test_two_nat_tables_that_both_match_are_unknown() -> None:
    nft, legacy = ("*nat\n-A PREROUTING -j DNAT --to-destination 10.0.7." + end for end in "12")
    results = run(netns(nft, legacy), "PREROUTING", packet())
    assert {str(result.packet.dst) for result in results} == {"10.0.7.1", "10.0.7.2"}
    assert all(result.assumed for result in results)
    (result,) = run(netns(nft, "*nat\n-A PREROUTING -s 10.99.0.1 -j DNAT --to-destination 10.0.7.2"), "PREROUTING", packet())
    assert str(result.packet.dst) == "10.0.7.1" and result.assumed == ()


def test_marks_of_two_back_ends_in_unknown_order() -> None:
    nft = "*mangle\n-A PREROUTING -j MARK --set-xmark 0x1/0xff"
    legacy = "*mangle\n-A PREROUTING -j MARK --set-xmark 0x2/0xff"
    assert {result.packet.mark.value for result in run(netns(nft, legacy), "PREROUTING", packet())} == {1, 2}
    known = Firewall(netns(nft, legacy), order=("nft", "legacy"))
    (result,) = known.run("PREROUTING", packet(), ConntrackTable.empty(), Nowhere())
    assert result.packet.mark.value == 2


SERVICE = """*nat
-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j SVC
-A SVC -m statistic --mode random --probability 0.33333333349 -j SEP1
-A SVC -m statistic --mode random --probability 0.50000000000 -j SEP2
-A SVC -j SEP3
-A SEP1 -p tcp -j DNAT --to-destination 10.1.0.1:8080
-A SEP2 -p tcp -j DNAT --to-destination 10.1.0.2:8080
-A SEP3 -p tcp -j DNAT --to-destination 10.1.0.3:8080"""


def test_backends_of_a_service_with_their_shares() -> None:
    results = run(netns(SERVICE), "PREROUTING", packet(dst="10.96.0.1"))
    shares = {str(result.packet.dst): result.choices for result in results}
    assert {ip: choices[0].label for ip, choices in shares.items()} == {
        "10.1.0.1": "SEP1", "10.1.0.2": "SEP2", "10.1.0.3": "SEP3",
    }  # fmt: skip
    assert all(len(choices) == 1 and abs(choices[0].share - Fraction(1, 3)) < Fraction(1, 10**8) for choices in shares.values())
    assert sum(choices[0].share for choices in shares.values()) == 1
    assert all(result.assumed == () and result.packet.dport == 8080 for result in results)


def test_a_choice_without_consequence_is_none() -> None:
    rules = "*mangle\n-A PREROUTING -m statistic --mode nth --every 3 --packet 0 -j MARK --set-xmark 0x0/0x0"
    (result,) = run(netns(rules), "PREROUTING", packet())
    assert result.choices == ()


def test_an_old_entry_keeps_rewriting_to_the_old_backend() -> None:
    old = ConntrackEntry(
        "udp", ConntrackTuple(ip_address("10.0.0.1"), ip_address("10.96.0.10"), 5353, 53),
        ConntrackTuple(ip_address("10.1.0.66"), ip_address("10.0.0.1"), 53, 5353), HERE, status=frozenset({"UNREPLIED"}),
    )  # fmt: skip
    space = netns("*nat\n-A PREROUTING -d 10.96.0.10 -j DNAT --to-destination 10.1.0.7", conntrack=Complete((old,)))
    query = packet(dst="10.96.0.10", proto="udp", tcp_flags=frozenset(), sport=5353, dport=53)
    (result,) = run(space, "PREROUTING", query)
    assert str(result.packet.dst) == "10.1.0.66"
    assert any(step.sources == (HERE,) and "entry of the dump" in step.detail for step in result.steps)
    (fresh,) = run(space, "PREROUTING", replace(query, sport=5354))
    assert str(fresh.packet.dst) == "10.1.0.7"


def test_a_full_table_drops_new_connections() -> None:
    sysctls = Complete(tuple(Sysctl(f"net.netfilter.nf_conntrack_{name}", "100", HERE) for name in ("count", "max")))
    (result,) = run(netns(sysctls=sysctls), "PREROUTING", packet())
    assert result.verdict == "drop" and result.steps[-1].disposition is Disposition.CONNTRACK_FULL


def test_masquerade_without_a_known_address_is_unknown_and_without_any_a_drop() -> None:
    rules = "*nat\n-A POSTROUTING -j MASQUERADE"
    space = netns(rules)
    (first,) = run(space, "PREROUTING", packet())
    (result,) = run(space, "POSTROUTING", replace(first.packet, oif="cali1"), first.conntrack)
    assert result.verdict == "unknown" and result.steps[-1].decides == "ip_addr"
    bare = netns(rules, addresses=Complete((Address("eth0", ip_address("192.0.2.1"), 24, HERE),)))
    (result,) = run(bare, "POSTROUTING", replace(first.packet, oif="cali1"), first.conntrack)
    assert result.verdict == "drop"
    (result,) = run(space, "POSTROUTING", replace(first.packet, oif="eth0"), first.conntrack)
    assert str(result.packet.src) == "192.0.2.1" and "SNAT" in result.packet.ctstatus


def test_redirect_on_an_interface_without_address_drops() -> None:
    space = netns("*nat\n-A PREROUTING -p tcp -j REDIRECT --to-ports 1", addresses=Complete(()))
    (result,) = run(space, "PREROUTING", packet(iif="cali1"))
    assert result.verdict == "drop" and "has no address" in result.steps[-1].detail


@pytest.mark.parametrize(
    "target", ["DNAT --to-destination 10.1.0.1-10.1.0.9", "DNAT --to-destination 10.1.0.1:1000-2000", "DNAT --to-destination :1-9/5"]
)
def test_what_the_kernel_chooses_freely_is_unknown(target: str) -> None:
    (result,) = run(netns(f"*nat\n-A PREROUTING -p tcp -j {target}"), "PREROUTING", packet())
    assert result.verdict == "unknown"


def test_reject_names_what_the_client_sees() -> None:
    (result,) = run(netns("*filter\n-A FORWARD -p tcp -j REJECT --reject-with tcp-reset"), "FORWARD", packet())
    assert (result.verdict, result.reject_with) == ("reject", "tcp-reset")
    assert result.steps[-1].disposition is Disposition.REJECTED_BY_RULE
    (result,) = run(netns("*filter\n-A FORWARD -j REJECT"), "FORWARD", packet())
    assert result.reject_with == "icmp-port-unreachable"


POLICY = """*filter
-A FORWARD -i eth0 -j tw
-A FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT
-A tw -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A tw -s 10.0.0.0/24 -p tcp -m multiport --dports 443 -j MARK --set-xmark 0x10000/0x10000
-A tw -s 10.7.0.0/24 -p udp -j MARK --set-xmark 0x10000/0x10000
-A tw -m mark --mark 0x10000/0x10000 -j RETURN
-A tw -m comment --comment "Drop if no policies passed packet" -j DROP"""


def test_a_drop_cites_its_rule_and_the_rules_that_nearly_passed_it() -> None:
    (result,) = run(netns(POLICY), "FORWARD", packet(ctstate="NEW"))
    step = result.steps[-1]
    assert result.verdict == "drop" and step.where == "tw rule 5" and step.stage == "filter FORWARD"
    assert step.sources[0].text.endswith("-j DROP")
    near = [(visit.rule.index, visit.why) for visit in step.near_misses if visit.rule.chain == "tw"]
    assert (2, "-m multiport --dports 443: ports 40000 -> 80") in near
    assert all(index != 3 for index, _ in near), "a rule that fails in two matches is no near miss"


def test_levels_of_attribution() -> None:
    def visits(level: str) -> list[tuple[str, int, Truth]]:
        (result,) = run(netns(POLICY), "FORWARD", packet(ctstate="NEW"), level=level)
        return [(visit.rule.chain, visit.rule.index, visit.truth) for visit in result.steps[-1].visits]

    matched = [("FORWARD", 1, Truth.YES), ("tw", 5, Truth.YES)]
    assert visits("short") == matched
    assert visits("normal") == [matched[0], ("tw", 4, Truth.NO), matched[1]]
    assert [index for chain, index, _ in visits("full") if chain == "tw"] == [1, 2, 3, 4, 5]


def test_a_long_chain_is_indexed_and_says_what_it_skipped() -> None:
    rules = ["*nat", "-A PREROUTING -j KUBE-SERVICES"]
    rules += [f"-A KUBE-SERVICES -d 10.96.{n // 250}.{n % 250}/32 -p tcp -m tcp --dport 80 -j SVC{n}" for n in range(1000)]
    rules += [f"-A SVC{n} -p tcp -j DNAT --to-destination 10.1.{n // 250}.{n % 250}" for n in range(1000)]
    rules.append("-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j ACCEPT")
    (result,) = run(netns("\n".join(rules)), "PREROUTING", packet(dst="10.96.3.9"))
    assert str(result.packet.dst) == "10.1.3.9"
    assert result.steps[-1].skipped_rules == 759


@pytest.mark.parametrize("condition", ["! -d 10.0.9.9/32", "-d 10.0.9.0/24", "-i eth+", "! -i cali1", "-s 10.0.0.1/32"])
def test_the_index_never_hides_a_rule_that_could_match(condition: str) -> None:
    filler = "\n".join(f"-A FORWARD -d 10.5.0.{n}/32 -j ACCEPT" for n in range(1, 60))
    expected = "accept" if condition.startswith("! -d") else "drop"
    assert verdicts(run(netns(f"*filter\n{filler}\n-A FORWARD {condition} -j DROP"), "FORWARD", packet())) == [expected]


def test_state_carries_through_the_hooks_and_the_answer_is_rewritten() -> None:
    space = netns("*nat\n-A PREROUTING -d 10.96.0.1 -p tcp -j DNAT --to-destination 10.1.0.1:8080\n-A POSTROUTING -o eth0 -j MASQUERADE")
    firewall, around = Firewall(space), Nowhere()
    table = ConntrackTable.of(space)
    (one,) = firewall.run("PREROUTING", packet(dst="10.96.0.1"), table, around)
    (two,) = firewall.run("FORWARD", replace(one.packet, oif="eth0"), one.conntrack, around)
    (three,) = firewall.run("POSTROUTING", two.packet, two.conntrack, around)
    assert (str(three.packet.src), str(three.packet.dst), three.packet.dport) == ("192.0.2.1", "10.1.0.1", 8080)
    answer = packet("10.1.0.1", "192.0.2.1", sport=8080, dport=40000, tcp_flags=frozenset({"SYN", "ACK"}))
    (back,) = firewall.run("PREROUTING", answer, three.conntrack, around)
    assert (back.packet.ctstate, back.packet.ctdir, str(back.packet.dst)) == ("ESTABLISHED", "reply", "10.0.0.1")
    (last,) = firewall.run("POSTROUTING", replace(back.packet, oif="eth1"), back.conntrack, around)
    assert (str(last.packet.src), last.packet.sport) == ("10.96.0.1", 80)


def test_what_was_not_collected_is_stated_once() -> None:
    space = replace(netns(), nft_chains=NOT_COLLECTED, conntrack=NOT_COLLECTED)
    assert len(Firewall(space).stated) == 2
    assert Firewall(netns()).stated == ()


@pytest.mark.parametrize("touches", ["filter", "table filter"])
def test_a_doubt_about_one_table_leaves_the_others(touches: str) -> None:
    doubtful = partly("*filter\n-A FORWARD -s 10.9.0.0/24 -j DROP", Doubt("left out", HERE, touches))
    space = replace(netns(), rulesets={("nft", 4): doubtful, ("legacy", 4): Complete(())})
    (result,) = run(space, "FORWARD", packet())
    assert result.assumed == ("no unread rule of nft table filter stops or changes the packet",)
    (result,) = run(space, "PREROUTING", packet())
    assert result.assumed == ()
