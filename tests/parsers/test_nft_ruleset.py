"""nft list ruleset as text: chains, rules, sets; expected values read off the listing by hand."""

# ruff: noqa: E101 - the listing mixes tabs and spaces as nft does

from __future__ import annotations

from lasthop.parsers.nft_ruleset import LazyNftRuleset, parse_nft_ruleset, tokens

LISTING = """table ip calico { # handle 4
	set cali40this-host {
		type ipv4_addr
		elements = { 10.20.0.11, 127.0.0.0,
			     127.0.0.1, 172.30.0.11 }
	}

	map services { # handle 9
		type ipv4_addr . inet_proto . inet_service : verdict
		flags interval
		elements = { 172.30.0.41 . tcp . 80 comment "ns/svc: {x}" : goto service-A-ns/svc/tcp/p80 }
	}

	counter hits { # handle 3
		packets 3 bytes 180
	}

	chain filter-FORWARD { # handle 7
		comment "a chain"
		type filter hook forward priority filter - 10; policy drop;
		ip saddr @cali40this-host counter packets 31 bytes 1812 accept comment "cali:yp; a } b" # handle 12
		tcp dport { 80,
			    443 } drop # handle 13
		continue
	}
}
table inet fw {
	chain in {
		type filter hook input priority -200
		policy accept
	}
}
"""


def one(text: str) -> LazyNftRuleset:
    parsed = parse_nft_ruleset(text, "nft.txt")
    assert not parsed.unparsed and not parsed.truncated
    (found,) = parsed.values
    return found


def test_base_chains_have_numeric_priorities_and_policies() -> None:
    found = one(LISTING)
    assert found.tables() == (("ip", "calico"), ("inet", "fw"))
    chain = found.chain("ip", "calico", "filter-FORWARD")
    assert chain is not None
    assert (chain.type, chain.hook, chain.priority, chain.policy) == ("filter", "forward", -10, "drop")
    other = found.chain("inet", "fw", "in")
    assert other is not None and (other.priority, other.policy) == (-200, "accept")


def test_rules_keep_their_line_counter_comment_and_handle() -> None:
    rules = one(LISTING).rules("ip", "calico", "filter-FORWARD")
    assert [rule.index for rule in rules] == [1, 2, 3]
    first = rules[0]
    assert first.tokens == ("ip", "saddr", "@cali40this-host", "counter", "accept")
    assert (first.packets, first.bytes, first.comment, first.handle) == (31, 1812, "cali:yp; a } b", 12)
    assert first.source.line == 21
    assert first.source.text == LISTING.split("\n")[20].strip()


def test_a_rule_over_several_lines_is_one_rule() -> None:
    rule = one(LISTING).rules("ip", "calico", "filter-FORWARD")[1]
    assert rule.tokens == ("tcp", "dport", "{", "80", ",", "443", "}", "drop")
    assert (rule.source.line, rule.source.end_line) == (22, 23)


def test_elements_are_read_over_lines_and_with_comments() -> None:
    found = one(LISTING)
    hosts = found.set("ip", "calico", "cali40this-host")
    assert hosts is not None and hosts.elements == (("10.20.0.11",), ("127.0.0.0",), ("127.0.0.1",), ("172.30.0.11",))
    services = found.set("ip", "calico", "services")
    assert services is not None and services.kind == "map" and services.flags == {"interval"}
    assert services.key == ("ipv4_addr", ".", "inet_proto", ".", "inet_service") and services.data == ("verdict",)
    (element,) = services.elements
    assert element[:5] == ("172.30.0.41", ".", "tcp", ".", "80")
    assert element[-2:] == ("goto", "service-A-ns/svc/tcp/p80")
    assert found.set("ip", "calico", "nope") is None


def test_a_listing_that_ends_early_is_truncated_and_its_set_doubtful() -> None:
    cut = LISTING[: LISTING.index("127.0.0.1, 172")]
    parsed = parse_nft_ruleset(cut, "nft.txt")
    assert parsed.truncated
    hosts = parsed.values[0].set("ip", "calico", "cali40this-host")
    assert hosts is not None and hosts.doubt


def test_strange_lines_are_doubts_of_their_table() -> None:
    parsed = parse_nft_ruleset("hello\ntable ip t {\n\twhat is this\n\tchain c {\n\t}\n}\n", "nft.txt")
    assert [line.source.line for line in parsed.unparsed] == [1, 3]
    assert parsed.touches == ("", "ip t")
    assert parsed.values[0].chain("ip", "t", "c") is not None


def test_dormant_tables_do_not_act() -> None:
    assert one("table ip t {\n\tflags dormant\n\tchain c {\n\t}\n}\n").tables() == ()


def test_iptables_own_chains_are_told_by_their_exact_form() -> None:
    text = "table ip filter {\n\tchain %s {\n\t\ttype filter hook forward priority %s; policy accept;\n\t}\n}\n"
    for name, priority, own in (("FORWARD", "filter", True), ("FORWARD", "1", False), ("forward", "filter", False)):
        found = one(text % (name, priority))
        (chain,) = found.chains("ip", "filter")
        assert found.managed(chain) is own


def test_words_of_a_rule() -> None:
    assert tokens('iifname "cali*" tcp flags & (fin | syn) == syn') == (
        "iifname", '"cali*', "tcp", "flags", "&", "(", "fin", "|", "syn", ")", "==", "syn",
    )  # fmt: skip
