"""`ipset save` and `ipset list`: formats of ipset(8) 6 and 7, expected values by hand."""

from __future__ import annotations

from lasthop.parsers.ipset import parse_ipsets

SAVE = """\
create cali40masq-ipam-pools hash:net family inet hashsize 1024 maxelem 1048576 bucketsize 12 initval 0x1234
add cali40masq-ipam-pools 10.244.0.0/16
add cali40masq-ipam-pools 10.9.0.0/16 nomatch
create cali40s:abc hash:ip,port family inet6 hashsize 64 maxelem 1024 timeout 300 counters comment
add cali40s:abc 2001:db8::5,tcp:80 timeout 200 packets 5 bytes 300 comment "nomatch me"
create ports bitmap:port range 0-65535
add ports 80
create both list:set size 8
add both cali40masq-ipam-pools
add both ports before cali40masq-ipam-pools
create empty hash:net,iface family inet hashsize 64 maxelem 65536
"""


def test_save() -> None:
    result = parse_ipsets(SAVE, "s")
    assert not result.unparsed
    assert result.lines == SAVE.count("\n")
    pools, ports6, ports, both, empty = result.values
    assert (pools.name, pools.type, pools.family) == ("cali40masq-ipam-pools", "hash:net", 4)
    assert [(entry.parts, entry.nomatch) for entry in pools.entries] == [
        (("10.244.0.0/16",), False),
        (("10.9.0.0/16",), True),
    ]
    assert dict(pools.options)["maxelem"] == "1048576"
    assert pools.entries[0].source is not None
    assert (pools.entries[0].source.line, pools.source.line) == (2, 1)
    assert (ports6.family, dict(ports6.options)["timeout"], dict(ports6.options)["counters"]) == (6, "300", "")
    (entry,) = ports6.entries
    assert (entry.parts, entry.timeout, entry.nomatch) == (("2001:db8::5", "tcp:80"), 200, False)
    assert (ports.family, both.family) == (0, 0)
    assert [entry.parts for entry in both.entries] == [("cali40masq-ipam-pools",), ("ports",)]
    assert (empty.entries, empty.complete) == ((), True)


LIST = """\
Name: cali40masq-ipam-pools
Type: hash:net
Revision: 6
Header: family inet hashsize 1024 maxelem 1048576
Size in memory: 512
References: 1
Number of entries: 2
Members:
10.244.128.0/17
10.9.0.0/16 nomatch timeout 20

Name: second
Type: hash:net,port,net
Header: family inet hashsize 1024 maxelem 65536
Size in memory: 440
References: 0
Number of entries: 1
Members:
10.0.0.0/8,tcp:80,192.168.0.0/16
"""


def test_list() -> None:
    result = parse_ipsets(LIST, "l")
    assert not result.unparsed
    pools, second = result.values
    assert (pools.type, pools.family, pools.complete) == ("hash:net", 4, True)
    assert [(e.parts, e.nomatch, e.timeout) for e in pools.entries] == [
        (("10.244.128.0/17",), False, None),
        (("10.9.0.0/16",), True, 20),
    ]
    assert second.entries[0].parts == ("10.0.0.0/8", "tcp:80", "192.168.0.0/16")


def test_a_list_cut_before_its_last_member_is_incomplete() -> None:
    result = parse_ipsets(LIST[: LIST.index("10.9.0.0")], "l")
    assert result.truncated
    assert not result.values[0].complete


def test_a_list_cut_before_its_members_is_incomplete() -> None:
    (cut,) = parse_ipsets("Name: x\nType: hash:ip\n", "l").values
    assert not cut.complete


def test_strange_member_touches_its_set() -> None:
    result = parse_ipsets("create x hash:ip family inet\nadd x 10.0.0.1 wobble 5\nadd x [1,2\nblah\n", "s")
    assert result.touches == ("x", "x", "")
    assert not result.values[0].complete


def test_add_to_an_unknown_set_is_incomplete() -> None:
    (found,) = parse_ipsets("add y 10.0.0.1\n", "s").values
    assert (found.name, found.type, found.complete) == ("y", "", False)


def test_comment_with_spaces_and_braces() -> None:
    (found,) = parse_ipsets(
        'create x hash:ip family inet comment\nadd x 10.0.0.1 comment "a, b timeout 9" timeout 5\n', "s"
    ).values
    assert (found.entries[0].parts, found.entries[0].timeout) == (("10.0.0.1",), 5)


def test_brackets_keep_their_commas() -> None:
    (found,) = parse_ipsets("create x hash:ip,port family inet\nadd x 10.0.0.1,icmp:[3,1]\n", "s").values
    assert found.entries[0].parts == ("10.0.0.1", "icmp:[3,1]")
