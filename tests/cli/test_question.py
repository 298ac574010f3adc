"""--from and --to: every form that the help promises, and a sentence for every other."""

from __future__ import annotations

import pytest

from lasthop.cli.names import check_question, near
from lasthop.cli.question import parse_endpoint, parse_question
from lasthop.errors import UsageError
from lasthop.facts.evidence import Complete, Partial, SourceRef
from lasthop.facts.kube import Pod
from lasthop.facts.snapshot import Cluster, Question, Snapshot


@pytest.mark.parametrize(
    ("text", "endpoint", "port", "proto"),
    [
        ("shop/db-0", "shop/db-0", None, "tcp"),
        ("shop/db-0:5432", "shop/db-0", 5432, "tcp"),
        ("shop/db-0:53/udp", "shop/db-0", 53, "udp"),
        ("shop/db-0:53/UDP", "shop/db-0", 53, "udp"),
        ("shop/db-0:udp/53", "shop/db-0", 53, "udp"),
        ("shop/db-0:icmp", "shop/db-0", None, "icmp"),
        ("10.0.0.1", "10.0.0.1", None, "tcp"),
        ("10.0.0.1:65535", "10.0.0.1", 65535, "tcp"),
        ("10.0.0.1:9/sctp", "10.0.0.1", 9, "sctp"),
        ("[fd00::1]:80/tcp", "fd00::1", 80, "tcp"),
        ("[fd00::1]", "fd00::1", None, "tcp"),
        ("fd00:0:0:0:0:0:0:1", "fd00::1", None, "tcp"),
        ("svc:shop/db:5432", "svc:shop/db", 5432, "tcp"),
        ("svc:kube-system/kube-dns:53/udp", "svc:kube-system/kube-dns", 53, "udp"),
        ("node:worker-1", "node:worker-1", None, "tcp"),
        ("node:worker-1.example.org:10250", "node:worker-1.example.org", 10250, "tcp"),
    ],
)
def test_forms(text: str, endpoint: str, port: int | None, proto: str) -> None:
    assert parse_endpoint(text, "--to") == (endpoint, port, proto)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("shop/db-0:0", "ports are 1 to 65535"),
        ("shop/db-0:65536", "ports are 1 to 65535"),
        ("shop/db-0:http", "unknown protocol 'http'"),
        ("shop/db-0:80/gre", "unknown protocol 'gre'"),
        ("shop/db-0:80/", "is not a port"),
        ("shop/db-0:", "is not a port"),
        ("shop/db-0:-1", "is not a port"),
        ("shop/db-0:8/icmp", "icmp has no ports"),
        ("db-0", "which namespace? Write namespace/db-0"),
        ("10.0.0", "cannot be read"),
        ("10.0.0.256:80", "cannot be read"),
        ("a/b/c", "cannot be read"),
        ("/b", "cannot be read"),
        ("fd00::1::2", "not an IPv6 address"),
        ("[fd00::1", "write an IPv6 address with a port"),
        ("[fd00::1]80", "write an IPv6 address with a port"),
        ("svc:db:80", "write svc:namespace/name"),
        ("node:a/b", "write node:NAME"),
        ("", "is empty"),
        ("shop/\x1b[2J", "cannot be read"),
    ],
)
def test_what_cannot_be_read_gets_a_sentence(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoint(text, "--to")
    assert part in str(caught.value)


def test_a_question_has_two_ends_and_no_source_port() -> None:
    assert parse_question(None, None) is None
    assert parse_question("a/b", "c/d:1/udp") == Question("a/b", "c/d", "udp", 1, "asked")
    for source, destination in (("a/b", None), (None, "a/b")):
        with pytest.raises(UsageError, match="a flow has two ends"):
            parse_question(source, destination)
    with pytest.raises(UsageError, match="source takes no port"):
        parse_question("a/b:80", "c/d:1")


def pods(*names: str) -> tuple[Pod, ...]:
    return tuple(Pod(*name.split("/"), source=SourceRef("pods.json", 1)) for name in names)


def test_a_pod_that_a_complete_list_lacks_is_refused_with_near_names() -> None:
    snapshot = Snapshot({}, Cluster(pods=Complete(pods("shop/cart-7d9f", "shop/db-0", "other/db-1"))))
    check_question(Question("shop/cart-7d9f", "shop/db-0"), snapshot)
    with pytest.raises(UsageError) as caught:
        check_question(Question("shop/cart-7d9f", "shop/db-1"), snapshot)
    assert "--to shop/db-1: no such pod in the bundle; did you mean" in str(caught.value)
    assert "shop/db-0" in str(caught.value)
    assert "other/db-1" in str(caught.value)


def test_a_pod_that_a_partial_list_lacks_may_exist() -> None:
    snapshot = Snapshot({}, Cluster(pods=Partial(pods("shop/db-0"), "cut")))
    check_question(Question("shop/db-0", "shop/db-9"), snapshot)
    check_question(Question("shop/db-0", "shop/db-9"), Snapshot({}))


def test_near_names() -> None:
    assert near("routs", ["routes", "links"]) == "; did you mean routes?"
    assert near("zzz", ["routes", "links"]) == "."


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "0.0.0.0", "ff02::1", "::"])
def test_an_address_of_no_single_host_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="unicast"):
        parse_endpoint(f"[{address}]:53/udp" if ":" in address else f"{address}:53/udp", "--to")
