"""IP pools, blocks, and the route that the datastore demands between two nodes."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from lasthop.facts.calico import IPPool
from lasthop.facts.evidence import Complete, SourceRef
from lasthop.facts.network import Ip, Prefix

from .endpoints import Endpoints
from .version import bgp_setting, cluster_version, felix_setting, listed

_OWNED = {"Enabled": ("ipip", "noencap"), "EnabledIPIPOnly": ("ipip",), "EnabledNoEncapOnly": ("noencap",)}
"""What each value of programClusterRoutes covers."""


@dataclass(frozen=True, slots=True)
class Block:
    """One allocation block. `node` is its owner; "" for none, or when two objects disagree (`conflict`)."""

    cidr: Prefix
    node: str
    sources: tuple[SourceRef, ...] = ()
    conflict: tuple[str, ...] = ()
    state: str = "confirmed"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the pool's mode demands on one node for one pod address.

    `kind`: "local" (a /32 to `interface`), "direct", "ipip", "vxlan", "wireguard" or "" (unknown, see `why`).
    `owner` is the node that has the address. `prefixes` are the destinations that may carry the route, narrowest
    first. `via` are the next hops of the plain design; none for WireGuard. With `through_owner` whatever leads to the
    owner's address is as good (nodes in different subnets without encapsulation, or an external BGP router).
    """

    kind: str = ""
    why: str = ""
    owner: str = ""
    owner_ip: Ip | None = None
    prefixes: tuple[Prefix, ...] = ()
    via: tuple[Ip, ...] = ()
    through_owner: bool = False
    interface: str = ""
    pool: IPPool | None = None
    sources: tuple[SourceRef, ...] = ()


class Pools:
    """Pools and blocks of one snapshot, indexed once."""

    def __init__(self, endpoints: Endpoints) -> None:
        self.endpoints = endpoints
        cluster = endpoints.snapshot.cluster
        self.pools = tuple(sorted(cluster.ip_pools.values, key=lambda pool: -pool.cidr.prefixlen))
        self.pools_complete = isinstance(cluster.ip_pools, Complete)
        self.blocks = _blocks(endpoints)
        self.blocks_complete = isinstance(cluster.ipam_blocks, Complete) or isinstance(
            cluster.block_affinities, Complete
        )
        self._by_length: dict[tuple[int, int], dict[Prefix, Block]] = {}
        for block in self.blocks:
            key = (block.cidr.version, block.cidr.prefixlen)
            self._by_length.setdefault(key, {})[block.cidr] = block

    def pool_of(self, ip: Ip) -> IPPool | None:
        """The narrowest pool that holds the address, disabled pools included."""
        for pool in self.pools:
            if pool.cidr.version == ip.version and ip in pool.cidr:
                return pool
        return None

    def block_of(self, ip: Ip) -> Block | None:
        """The narrowest block that holds the address."""
        for version, length in sorted(self._by_length, key=lambda key: -key[1]):
            if version == ip.version:
                block = self._by_length[version, length].get(ip_network((ip, length), strict=False))
                if block is not None:
                    return block
        return None

    def blocks_of(self, node: str) -> tuple[Block, ...]:
        return tuple(block for block in self.blocks if block.node == node)

    def borrowed(self, ip: Ip) -> bool:
        """True when the pod with this address lives on another node than its block belongs to."""
        block, node = self.block_of(ip), self.endpoints.node_of(ip)
        return bool(block and block.node and node and node != block.node)

    def external_peers(self) -> bool | None:
        """True when a BGPPeer names an address that is no node's (a router may then be a legal next hop); None when
        the peers were not collected whole."""
        objects = self.endpoints.snapshot.cluster.calico_objects
        for item in objects.values:
            if item.kind != "BGPPeer":
                continue
            spec = item.raw.get("spec")
            peer = str(spec.get("peerIP") or "") if isinstance(spec, dict) else ""
            metadata = item.raw.get("metadata")
            if not peer and isinstance(metadata, dict):
                peer = str(metadata.get("peerIP") or "")
            if peer and not self._is_node(peer):
                return True
        return False if listed(self.endpoints.snapshot, "calico_bgppeers") else None

    def _is_node(self, peer: str) -> bool:
        text = peer.rpartition(":")[0] if peer.count(":") == 1 else peer.strip("[]").partition("]")[0]
        try:
            return bool(self.endpoints.host_node(ip_interface(text).ip))
        except ValueError:
            return False

    def expected_route(self, from_node: str, dst: Ip) -> Expectation:
        """The route that `from_node` must have for `dst` if nothing but Calico's objects decide.

        Unknown (`kind` "") with a reason when the address belongs to no pool, its node is not known or contested, or
        an address that the decision needs is missing. Sources: felix/dataplane/linux/{vxlan,ipip,noencap}_mgr.go,
        confd's bird_ipam template (CrossSubnet is decided by the local node's own subnet as registered).
        """
        pool = self.pool_of(dst)
        if pool is None:
            why = "the address is in no IP pool" if self.pools_complete else "the IP pools are not known"
            return Expectation(why=why)
        endpoints = self.endpoints.by_ip(dst)
        block = self.block_of(dst)
        base = Expectation(pool=pool, sources=(pool.source, *(block.sources if block else ())))
        owner = self.endpoints.node_of(dst)
        if endpoints and not owner:
            nodes = ", ".join(sorted({endpoint.node for endpoint in endpoints}))
            return _unknown(base, f"two endpoints have this address, on {nodes}")
        if not owner:
            if block is None:
                return _unknown(base, "no block and no endpoint with this address is known")
            if block.conflict:
                return _unknown(base, f"the block is claimed by {' and '.join(block.conflict)}")
            owner = block.node
        if not owner:
            return _unknown(base, "the block has no owner")
        host = ip_network(dst)
        if owner == from_node:
            found = endpoints[0] if endpoints else None
            return Expectation(
                kind="local",
                owner=owner,
                prefixes=(host,),
                interface=found.interface if found else "",
                pool=pool,
                sources=(*base.sources, *((found.source,) if found else ())),
            )
        in_own_block = block is not None and block.node == owner
        prefixes: tuple[Prefix, ...] = (block.cidr, host) if block is not None and in_own_block else (host,)
        return self._remote(from_node, owner, dst, pool, prefixes, base.sources)

    def programmed_by(self, pool: IPPool, node: str) -> str:
        """Who writes the block routes of a pool on a node: "felix", "bird", or "" when it cannot be told.

        VXLAN routes are Felix's. The others are BIRD's up to v3.32 unless `programClusterRoutes` of FelixConfiguration
        and BGPConfiguration says otherwise; from v3.33 on Felix owns those of IPIP by default. With Felix as owner a
        dead BIRD takes no pod-to-pod route away.
        """
        if pool.vxlan_mode != "Never":
            return "felix"
        kind = "noencap" if pool.ipip_mode == "Never" else "ipip"
        snapshot = self.endpoints.snapshot
        felix = felix_setting(snapshot, node, "programClusterRoutes")
        bird = bgp_setting(snapshot, node, "programClusterRoutes")
        if felix is not None or bird is not None:
            owners = [name for name, value in (("felix", felix), ("bird", bird)) if kind in _OWNED.get(str(value), ())]
            return owners[0] if len(owners) == 1 else ""
        if kind == "noencap":
            return "bird"
        version = cluster_version(snapshot)
        if version is None:
            return ""
        return "felix" if version >= (3, 33) else "bird"

    def _remote(
        self,
        from_node: str,
        owner: str,
        dst: Ip,
        pool: IPPool,
        prefixes: tuple[Prefix, ...],
        sources: tuple[SourceRef, ...],
    ) -> Expectation:
        nodes = self.endpoints.calico_nodes
        here, there = nodes.get(from_node), nodes.get(owner)
        owner_ip = self.endpoints.node_address(owner, dst.version)
        sources = (*sources, *(node.source for node in (here, there) if node is not None))
        base = Expectation(owner=owner, owner_ip=owner_ip, prefixes=prefixes, pool=pool, sources=sources)
        if owner_ip is None:
            return _unknown(base, f"the address of node {owner} is not known")
        if here and there and here.wireguard_key and there.wireguard_key and self._wireguard(from_node):
            return _as(base, "wireguard")
        near = _same_subnet(here.bgp_ipv4 if dst.version == 4 else here.bgp_ipv6, owner_ip) if here else None
        for mode, kind in ((pool.vxlan_mode, "vxlan"), (pool.ipip_mode, "ipip")):
            if mode == "Never":
                continue
            if mode == "CrossSubnet" and near is None:
                return _unknown(base, f"the subnet of node {from_node} is not known, so CrossSubnet cannot be decided")
            if mode == "CrossSubnet" and near:
                return _as(base, "direct", (owner_ip,))
            if kind == "ipip":
                return _as(base, "ipip", (owner_ip,))
            tunnel = None if there is None else there.vxlan_tunnel if dst.version == 4 else there.vxlan_tunnel_v6
            if tunnel is None:
                return _unknown(base, f"the VXLAN tunnel address of node {owner} is not known")
            return _as(base, "vxlan", (tunnel,))
        if pool.disable_bgp_export:
            return _unknown(base, "the pool is not exported by BGP")
        return _as(base, "direct", (owner_ip,) if near else (), not near or self.external_peers() is not False)

    def _wireguard(self, node: str) -> bool:
        """Both ends have a key; Felix takes it away when WireGuard is switched off, so only `false` says otherwise."""
        return str(felix_setting(self.endpoints.snapshot, node, "wireguardEnabled")).lower() != "false"


def _unknown(base: Expectation, why: str) -> Expectation:
    return Expectation(why=why, owner=base.owner, owner_ip=base.owner_ip, pool=base.pool, sources=base.sources)


def _as(base: Expectation, kind: str, via: tuple[Ip, ...] = (), through_owner: bool = False) -> Expectation:
    return Expectation(
        kind=kind,
        owner=base.owner,
        owner_ip=base.owner_ip,
        prefixes=base.prefixes,
        via=via,
        through_owner=through_owner,
        pool=base.pool,
        sources=base.sources,
    )


def _same_subnet(registered: str, other: Ip) -> bool | None:
    """Whether `other` is in the subnet that the node registered ("10.0.0.1/24"); None when it registered none.

    Without a prefix length the subnet is the address alone, as BIRD and Felix see it: every peer is then elsewhere.
    """
    try:
        network = ip_interface(registered).network
    except ValueError:
        return None
    return network.version == other.version and other in network


def _blocks(endpoints: Endpoints) -> tuple[Block, ...]:
    """Blocks from IPAMBlocks and BlockAffinities together. They contradict each other when two nodes claim a block."""
    cluster = endpoints.snapshot.cluster
    owners: dict[Prefix, dict[str, list[SourceRef]]] = {}
    states: dict[Prefix, str] = {}
    for block in cluster.ipam_blocks.values:
        if not block.deleted:
            owners.setdefault(block.cidr, {}).setdefault(block.affinity, []).append(block.source)
    for affinity in cluster.block_affinities.values:
        if affinity.deleted or affinity.type != "host":
            continue
        if affinity.state == "confirmed" or affinity.cidr not in owners:
            owners.setdefault(affinity.cidr, {}).setdefault(affinity.node, []).append(affinity.source)
            states[affinity.cidr] = affinity.state
    found = []
    for cidr, claims in owners.items():
        named = sorted(node for node in claims if node)
        sources = tuple(source for node in sorted(claims) for source in claims[node])
        node = named[0] if len(named) == 1 else ""
        conflict = tuple(named) if len(named) > 1 else ()
        found.append(Block(cidr, node, sources, conflict, states.get(cidr, "confirmed")))
    return tuple(found)
