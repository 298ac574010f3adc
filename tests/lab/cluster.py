"""Bring a cluster up: wires, nodes, pods, routes, rules, tunnels, BIRD. Take it down again."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from ipaddress import IPv4Interface
from pathlib import Path

from . import bird, objects, ruleset
from .felix import NodeRules
from .machine import LabError, Machine, PodSandbox, run
from .model import GATEWAY, HOST_MAC, VXLAN_DEVICE, ClusterSpec, Node, Pod, Policy

STANDINS = Path(__file__).parent / "standins"


class Cluster:
    """A running cluster. Use as a context manager; everything it made is gone afterwards."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec
        self.machines: dict[str, Machine] = {}
        self.sandboxes: dict[str, PodSandbox] = {}
        self.workdir = Path(tempfile.mkdtemp(prefix="lasthop-lab-"))

    def __enter__(self) -> Cluster:
        if os.geteuid():
            raise LabError("the lab needs root")
        try:
            self._wires()
            for node in self.spec.nodes:
                self._node(node)
            for pod in self.spec.pods:
                self._pod(pod)
            for node in self.spec.nodes:
                self._agents(node)
            if self.spec.routing == "bgp":
                self._wait_for_bgp()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        for machine in self.machines.values():
            machine.stop()
        shutil.rmtree(self.workdir, ignore_errors=True)

    def node(self, name: str) -> Machine:
        return self.machines[name]

    @property
    def router(self) -> Machine:
        """The machine between the nodes: one bridge per subnet, and the router of all of them."""
        return self.machines["router"]

    # -- underlay -----------------------------------------------------------------------------------------------------

    def _wires(self) -> None:
        router = self.machines["router"] = Machine("router", self.workdir)
        router.shell(
            "echo 1 > /proc/sys/net/ipv4/ip_forward; "
            "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ -e $f ] && echo 0 > $f; done; true"
        )
        for bridge, network in self._subnets().items():
            router.shell(
                f"ip link add {bridge} type bridge; ip link set {bridge} mtu {self.spec.underlay_mtu} up; "
                f"ip addr add {network} dev {bridge}"
            )

    def _subnets(self) -> dict[str, str]:
        """Bridge name -> the router's address on that subnet."""
        networks = dict.fromkeys(node.address.network for node in self.spec.nodes)
        return {f"br{i}": f"{network.network_address + 1}/{network.prefixlen}" for i, network in enumerate(networks)}

    def _bridge_of(self, node: Node) -> str:
        router = f"{node.router}/{node.address.network.prefixlen}"
        return next(bridge for bridge, address in self._subnets().items() if address == router)

    # -- node ---------------------------------------------------------------------------------------------------------

    def _node(self, node: Node) -> None:
        machine = self.machines[node.name] = Machine(node.name, self.workdir, STANDINS)
        port, mtu = f"v-{node.name}", str(self.spec.underlay_mtu)
        run(
            self.router.enter_net(
                *["ip", "link", "add", port, "mtu", mtu, "type", "veth"],
                *["peer", "name", "eth0", "mtu", mtu, "address", node.eth0_mac, "netns", str(machine.pid)],
            )
        )
        self.router.shell(f"ip link set {port} master {self._bridge_of(node)} up")
        machine.shell(
            f"ip addr add {node.address} brd + dev eth0; ip link set eth0 up; ip route add default via {node.router}; "
            "echo 1 > /proc/sys/net/ipv4/ip_forward; "
            "for i in all default; do echo 0 > /proc/sys/net/ipv4/conf/$i/rp_filter; done; "
            "echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct || true"
        )
        if self.spec.routing == "vxlan":
            self._vxlan(node)
        self._program(node)
        machine.write("/var/lib/calico/nodename", node.name)
        machine.write("/var/lib/calico/mtu", str(self.spec.tunnel_mtu))
        machine.write("/etc/cni/net.d/10-calico.conflist", json.dumps(objects.cni_conflist(node), indent=2) + "\n")

    def _program(self, node: Node) -> None:
        """Load the node's sets and rules, and drop sets that no rule uses any more."""
        machine, felix = self.node(node.name), NodeRules(self.spec, node)
        machine.run("ipset", "restore", "-exist", text=felix.ipset_restore())
        machine.run(f"iptables-{self.spec.backend}-restore", text=ruleset.render(felix))
        for name in machine.run("ipset", "list", "-n").stdout.split():
            if name not in felix.sets:
                machine.run("ipset", "destroy", name)

    def apply_policies(self, *policies: Policy) -> None:
        """`calicoctl apply`: these are the policies from now on, in the datastore and on every node."""
        self.spec.policies = policies
        for node in self.spec.nodes:
            self._program(node)
            self._publish(node)

    def register(self, name: str, address: str = "", device: str = "") -> None:
        """Calico detects the node's address anew (VXLAN): Node object, tunnel device, other nodes' FDB and sets follow.

        Without an address it finds the right one again.
        """
        node = self.spec.node(name)
        node.registered = (device, IPv4Interface(address)) if address else None
        self.node(name).run("ip", "link", "del", VXLAN_DEVICE)
        self._vxlan(node)
        for other in self.spec.nodes:
            if other is not node:
                entry = f"{node.vtep_mac} dev {VXLAN_DEVICE} dst {node.calico_address.ip} self permanent"
                self.node(other.name).shell(f"bridge fdb replace {entry}")
            self._program(other)
            self._publish(other)

    def _publish(self, node: Node) -> None:
        """Hand the API objects to the stand-ins of kubectl and calicoctl."""
        for name, text in objects.files(self.spec).items():
            self.node(node.name).write(f"/opt/lab/{name}", text)

    def _vxlan(self, node: Node) -> None:
        route_mtu = f" mtu {self.spec.tunnel_mtu}" if self.spec.calico == "v3.33" else ""
        lines = [
            f"ip link add {VXLAN_DEVICE} address {node.vtep_mac} mtu {self.spec.tunnel_mtu} type vxlan id 4096 "
            f"dev {node.calico_device} local {node.calico_address.ip} dstport 4789 nolearning",
            f"ip addr add {node.tunnel_ip}/32 dev {VXLAN_DEVICE}",
            f"ip link set {VXLAN_DEVICE} up",
            f"ip route replace blackhole {node.block} proto 80",
        ]
        for other in self.spec.nodes:
            if other is not node:
                lines += [
                    f"bridge fdb add {other.vtep_mac} dev {VXLAN_DEVICE} dst {other.calico_address.ip} self permanent",
                    f"ip neigh add {other.tunnel_ip} lladdr {other.vtep_mac} dev {VXLAN_DEVICE} nud permanent",
                    f"ip route add {other.block} via {other.tunnel_ip} dev {VXLAN_DEVICE} onlink{route_mtu}",
                ]
        self.node(node.name).shell("\n".join(lines))

    def _agents(self, node: Node) -> None:
        """Start BIRD (bgp) and the stand-in of Felix."""
        machine = self.node(node.name)
        self._publish(node)
        machine.spawn("calico-felix")
        if self.spec.routing == "bgp":
            for name, text in bird.config(self.spec, node).items():
                machine.write(f"/etc/calico/confd/config/{name}", text)
            self.start_bird(node.name)

    def start_bird(self, node: str) -> None:
        """Start BIRD as calico-node does: foreground, its control socket under /var/run/calico."""
        self.node(node).spawn("bird", "-f", "-s", "/var/run/calico/bird.ctl", "-c", "/etc/calico/confd/config/bird.cfg")

    def stop_bird(self, node: str) -> None:
        """Stop BIRD with SIGTERM; its peers withdraw its routes at once."""
        self.node(node).shell("kill $(pidof bird)")

    def _wait_for_bgp(self, limit: float = 40) -> None:
        """Wait until every node has every other node's block from BIRD."""
        end = time.monotonic() + limit
        while True:
            missing = [
                f"{node.name} lacks {other.block}"
                for node in self.spec.nodes
                for other in self.spec.nodes
                if other is not node and not self.node(node.name).run("ip", "route", "show", str(other.block)).stdout
            ]
            if not missing:
                return
            if time.monotonic() > end:
                raise LabError("BGP did not converge: " + ", ".join(missing))
            time.sleep(0.2)

    # -- pod ----------------------------------------------------------------------------------------------------------

    def _pod(self, pod: Pod) -> None:
        """What the CNI plug-in and Felix do for one pod: veth, addresses, gateway, sysctls, /32 route, neighbour."""
        node, name = self.node(pod.node), pod.interface
        sandbox = self.sandboxes[pod.key] = PodSandbox(node, pod.name)
        mtu = str(self.spec.tunnel_mtu)
        run(
            node.enter_net(
                *["ip", "link", "add", name, "address", HOST_MAC, "mtu", mtu, "type", "veth"],
                *["peer", "name", "eth0", "mtu", mtu, "address", pod.mac, "netns", str(sandbox.pid)],
            )
        )
        netns = f"/run/netns/{pod.netns_name}"
        metric = " metric 1024" if self.spec.calico == "v3.33" else ""
        node.shell(
            f"touch {netns}; mount --bind /proc/{sandbox.pid_in_node}/ns/net {netns}; "
            f"cd /proc/sys/net/ipv4; echo 1 > conf/{name}/proxy_arp; echo 0 > neigh/{name}/proxy_delay; "
            f"echo 1 > conf/{name}/forwarding; echo 1 > conf/{name}/route_localnet; echo 0 > conf/{name}/rp_filter; "
            f"ip link set {name} up; ip route add {pod.ip} dev {name} scope link{metric}; "
            f"ip neigh add {pod.ip} lladdr {pod.mac} dev {name} nud permanent"
        )
        sandbox.run(
            *["sh", "-ec"],
            f"ip addr add {pod.ip}/32 dev eth0; ip link set eth0 up; "
            f"ip route add {GATEWAY} dev eth0 scope link; ip route add default via {GATEWAY} dev eth0",
        )
        name, text = objects.cni_cache(pod, self.spec.tunnel_mtu)
        node.write(f"/var/lib/cni/results/{name}", text)
        self.start_server(pod)

    def start_server(self, pod: Pod) -> None:
        ports = [f"{port.protocol.lower()}/{port.number}" for port in pod.ports if port.listens]
        if ports:
            self.sandboxes[pod.key].spawn("lab-server", pod.name, *ports)

    def pod_shell(self, key: str, script: str) -> None:
        """Run a script inside a pod."""
        self.sandboxes[key].run("sh", "-ec", script)
