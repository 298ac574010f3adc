"""The route that the pool's mode demands: by hand from felix/dataplane/linux and confd's templates."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network

import pytest

from lasthop.calico.endpoints import Endpoints
from lasthop.calico.pools import Expectation, Pools
from tests.calico.build import CLUSTER, pool, reference, snapshot
from tests.conftest import shared


def pools(*texts: str, absent: tuple[str, ...] = ()) -> Pools:
    return Pools(Endpoints(snapshot(CLUSTER, *texts, absent=absent)))


def expect(node: str, dst: str, *texts: str) -> Expectation:
    return pools(*texts).expected_route(node, ip_address(dst))


@pytest.mark.parametrize(
    ("ipip", "vxlan", "dst", "kind", "via"),
    [
        ("Always", "Never", "10.65.2.5", "ipip", "192.0.2.12"),
        ("Always", "Never", "10.65.3.9", "ipip", "192.0.2.213"),
        ("CrossSubnet", "Never", "10.65.2.5", "direct", "192.0.2.12"),
        ("CrossSubnet", "Never", "10.65.3.9", "ipip", "192.0.2.213"),
        ("Never", "Always", "10.65.2.5", "vxlan", "10.65.2.1"),
        ("Never", "CrossSubnet", "10.65.2.5", "direct", "192.0.2.12"),
        ("Never", "CrossSubnet", "10.65.3.9", "vxlan", "10.65.3.1"),
        ("Never", "Never", "10.65.2.5", "direct", "192.0.2.12"),
    ],
)
def test_modes(ipip: str, vxlan: str, dst: str, kind: str, via: str) -> None:
    found = expect("n1", dst, pool(ipip, vxlan))
    assert (found.kind, found.via, found.through_owner) == (kind, (ip_address(via),), False)
    assert ip_network((dst, 26), strict=False) in found.prefixes


def test_without_encapsulation_other_subnets_go_through_a_router() -> None:
    found = expect("n1", "10.65.3.9", pool())
    assert (found.kind, found.via, found.through_owner) == ("direct", (), True)
    assert found.owner_ip == ip_address("192.0.2.213")


def test_an_external_bgp_router_is_a_legal_next_hop() -> None:
    peer = "apiVersion: projectcalico.org/v3\nkind: BGPPeer\nmetadata: {name: tor}\nspec: {peerIP: 192.0.2.1}\n"
    found = expect("n1", "10.65.2.5", pool(), peer)
    assert found.through_owner
    inside = peer.replace("192.0.2.1}", "192.0.2.12}")
    assert not expect("n1", "10.65.2.5", pool(), inside).through_owner


def test_a_node_registered_without_a_mask_sees_everybody_elsewhere() -> None:
    text = CLUSTER.replace("192.0.2.11/25", "192.0.2.11/32")
    found = Pools(Endpoints(snapshot(text, pool("CrossSubnet")))).expected_route("n1", ip_address("10.65.2.5"))
    assert found.kind == "ipip"


def test_a_local_pod_has_its_own_route() -> None:
    found = expect("n2", "10.65.2.5", pool("Always"))
    assert (found.kind, found.interface, found.prefixes) == ("local", "cali2", (ip_network("10.65.2.5/32"),))


def test_a_borrowed_address_needs_a_host_route() -> None:
    text = CLUSTER.replace("10.65.2.5/32", "10.65.1.9/32")
    book = Pools(Endpoints(snapshot(text, pool())))
    assert book.borrowed(ip_address("10.65.1.9")) and not book.borrowed(ip_address("10.65.1.5"))
    found = book.expected_route("n1", ip_address("10.65.1.9"))
    assert (found.kind, found.owner, found.prefixes) == ("direct", "n2", (ip_network("10.65.1.9/32"),))


def test_wireguard_needs_both_keys() -> None:
    keys = CLUSTER
    for node, subnet in (("n1", "192.0.2.11/25"), ("n2", "192.0.2.12/25")):
        start = keys.index(f"ipv4Address: {subnet}")
        end = keys.index("\n", start)
        keys = keys[:end] + f"\n  status: {{wireguardPublicKey: key-{node}}}" + keys[end:]
    book = Pools(Endpoints(snapshot(keys, pool("Always"))))
    assert book.expected_route("n1", ip_address("10.65.2.5")).kind == "wireguard"
    assert book.expected_route("n1", ip_address("10.65.3.9")).kind == "ipip"


@pytest.mark.parametrize(
    ("dst", "texts", "absent", "why"),
    [
        ("192.0.2.77", (pool(),), (), "in no IP pool"),
        ("10.65.2.5", (), ("ip_pools",), "pools are not known"),
        ("10.65.9.9", (pool(),), (), "no block and no endpoint"),
        ("10.65.2.5", (pool(vxlan="Always").replace("pool}", "pool}"),), ("calico_nodes",), "address of node n2"),
        ("10.65.2.5", (pool(extra=", disableBGPExport: true"),), (), "not exported"),
    ],
)
def test_unknown_has_a_reason(dst: str, texts: tuple[str, ...], absent: tuple[str, ...], why: str) -> None:
    found = pools(*texts, absent=absent).expected_route("n1", ip_address(dst))
    assert found.kind == "" and why in found.why


def test_a_block_of_two_nodes_is_a_conflict() -> None:
    second = (
        "apiVersion: crd.projectcalico.org/v1\nkind: BlockAffinity\nmetadata: {name: x}\n"
        "spec: {cidr: 10.65.3.0/26, node: n1, state: confirmed}\n"
    )
    book = pools(pool(), second)
    block = book.block_of(ip_address("10.65.3.9"))
    assert block is not None and (block.node, block.conflict) == ("", ("n1", "n3"))
    assert "n1 and n3" in book.expected_route("n2", ip_address("10.65.3.9")).why
    pending = second.replace("confirmed", "pendingDeletion")
    block = pools(pool(), pending).block_of(ip_address("10.65.3.9"))
    assert block is not None and block.node == "n3"


VERSION = (
    "apiVersion: projectcalico.org/v3\nkind: ClusterInformation\nmetadata: {{name: default}}\n"
    "spec: {{calicoVersion: {}}}\n"
)
OWNER = "apiVersion: projectcalico.org/v3\nkind: {}\nmetadata: {{name: default}}\nspec: {{programClusterRoutes: {}}}\n"


@pytest.mark.parametrize(
    ("pool_text", "texts", "owner"),
    [
        (pool(vxlan="Always"), (VERSION.format("v3.20.1"),), "felix"),
        (pool("Always"), (VERSION.format("v3.20.1"),), "bird"),
        (pool("CrossSubnet"), (VERSION.format("v3.33.0"),), "felix"),
        (pool("Always"), (), ""),
        (pool(), (VERSION.format("v3.33.0"),), "bird"),
        (pool("Always"), (OWNER.format("BGPConfiguration", "Enabled"),), "bird"),
        (
            pool("Always"),
            (OWNER.format("BGPConfiguration", "Enabled"), OWNER.format("FelixConfiguration", "Disabled")),
            "bird",
        ),
        (
            pool("Always"),
            (
                OWNER.format("BGPConfiguration", "EnabledNoEncapOnly"),
                OWNER.format("FelixConfiguration", "EnabledIPIPOnly"),
            ),
            "felix",
        ),
        (
            pool(),
            (OWNER.format("BGPConfiguration", "Enabled"), OWNER.format("FelixConfiguration", "Enabled")),
            "",
        ),
    ],
)
def test_who_writes_the_block_routes(pool_text: str, texts: tuple[str, ...], owner: str) -> None:
    book = pools(pool_text, *texts)
    assert book.programmed_by(book.pools[0], "n1") == owner


def test_the_narrowest_pool_counts() -> None:
    narrow = pool(extra=", natOutgoing: true").replace("name: pool", "name: narrow").replace("0.0/16", "2.0/24")
    book = pools(pool(), narrow)
    assert [book.pool_of(ip_address(ip)).name for ip in ("10.65.2.5", "10.65.1.5")] == [  # type: ignore[union-attr]
        "narrow",
        "pool",
    ]


@pytest.mark.parametrize(
    ("case", "kind"),
    [("healthy-vxlan-nft", "vxlan"), ("f05-pod-route-missing", "direct"), ("nt-x01-foreign-forward-drop", "direct")],
)
def test_real_clusters(case: str, kind: str) -> None:
    book = Pools(Endpoints(reference(case)))
    flow = json.loads(shared("reference-cluster", "truth", f"{case}.json").read_text())["flow"]
    found = book.expected_route(flow["src"]["node"], ip_address(flow["dst"]["ip"]))
    assert (found.kind, found.owner) == (kind, flow["dst"]["node"])
    assert book.expected_route(found.owner, ip_address(flow["dst"]["ip"])).interface == flow["dst"]["host_interface"]
