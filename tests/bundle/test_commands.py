"""Command lines and file names to evidence ids. The expected ids are read off docs/bundle-format.md section 6."""

from __future__ import annotations

import pytest

from lasthop.bundle.commands import identify_command
from lasthop.bundle.names import identify_name
from lasthop.bundle.sniff import sniff

COMMANDS = {
    "ip route": "ip4_route_main",
    "ip r": "ip4_route_main",
    "ip -6 r s": "ip6_route_main",
    "ip route show table all": "ip_route_all",
    "ip -4 -d route show table all": "ip4_route_all",
    "ip -d -j route show table all": "ip_route_all_json",
    "ip -6 route list table all": "ip6_route_all",
    "ip route show table 220": "ip4_route_table_220",
    "ip route list table local": "ip4_route_table_local",
    "ip -4 route show cache": "ip4_route_cache",
    "ip route get 10.0.0.1": "ip_route_get",
    "ip rule": "ip4_rule",
    "ip ru ls": "ip4_rule",
    "ip -6 rule show": "ip6_rule",
    "ip -j rule": "ip4_rule_json",
    "ip neigh": "ip_neigh",
    "ip -4 -s neigh show": "ip4_neigh",
    "ip neighbor": "ip_neigh",
    "ip neigh show proxy": "ip_neigh_proxy",
    "ip a": "ip_addr",
    "ip -s -d addr": "ip_addr",
    "ip -br addr": "ip_addr_brief",
    "ip -d -s link": "ip_link",
    "ip l": "ip_link",
    "ip nexthop show": "ip_nexthop",
    "bridge fdb show": "bridge_fdb",
    "bridge -j fdb": "bridge_fdb_json",
    "iptables-save -c": "iptables_save",
    "/usr/sbin/iptables-legacy-save -c": "iptables_legacy_save",
    "iptables-nft-save": "iptables_nft_save",
    "ip6tables-save -c": "ip6tables_save",
    "iptables -L -n -v": "iptables_listing",
    "nft list ruleset": "nft_ruleset",
    "nft -a list ruleset": "nft_ruleset",
    "nft -j list ruleset": "nft_ruleset_json",
    "ipset save": "ipset_save",
    "ipset list": "ipset_list",
    "ipset -L": "ipset_list",
    "conntrack -L -o extended": "conntrack",
    "conntrack -L -f ipv6 -o extended": "conntrack6",
    "conntrack -S": "conntrack_stats",
    "conntrack -C": "conntrack_count",
    "sysctl -a": "sysctl",
    "ss -tulnp": "ss_listen",
    "ss -H -lntuep": "ss_listen",
    "birdcl -s /var/run/calico/bird.ctl show protocols all": "bird_protocols",
    "birdcl -r -s /var/run/calico/bird6.ctl show route": "bird6_route",
    "birdcl6 show status": "bird6_status",
    "calicoctl node status": "calico_node_status",
    "timeout 20 calicoctl node status": "calico_node_status",
    "sudo calicoctl get ippool -o yaml": "calico_ippools",
    "calicoctl get wep -A -o json": "calico_workloadendpoints",
    "calicoctl get nodes -o wide": "calico_nodes_table",
    "calicoctl ipam show --show-blocks": "calico_ipam_show",
    "kubectl get pods -A -o json": "kube_pods",
    "kubectl get nodes -o yaml": "kube_nodes",
    "kubectl get ipamblocks.crd.projectcalico.org -o yaml": "calico_ipamblocks",
    "kubectl get endpointslices --all-namespaces -oyaml": "kube_endpointslices",
    "route -n": "route_n",
    "cat /proc/net/nf_conntrack": "proc_nf_conntrack",
    "cat /proc/1234/net/tcp": "proc_net_tcp",
    "cat /var/lib/calico/nodename": "nodename",
    "tail -n 60 /var/log/calico/bird/current": "log_bird",
    "cat /etc/calico/confd/config/bird.cfg": "bird_config_bird",
    "ip r 2>/dev/null": "ip4_route_main",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line_gives_its_id(line: str) -> None:
    found = identify_command(line)
    assert found is not None
    assert found.id == COMMANDS[line]
    assert found.limits == ""


LIMITED = {
    "ip route show dev eth0": "ip4_route_main",
    "ip route | grep cali": "ip4_route_main",
    "ip link show tunl0": "ip_link",
    "ip -4 addr": "ip_addr",
    "ip neigh show dev eth0": "ip_neigh",
    "iptables-save -t nat": "iptables_save",
    "nft list table inet filter": "nft_ruleset",
    "ipset save cali40all-ipam-pools": "ipset_save",
    "conntrack -L -s 10.0.0.1": "conntrack",
    "sysctl -a -r ^net\\.(ipv4|core)": "sysctl",
    "sysctl net.ipv4.ip_forward": "sysctl",
    "ss -tln": "ss_listen",
    "ss -tn": "ss_listen",
    "birdcl show protocols all Mesh_1": "bird_protocols",
    "calicoctl get wep -n default -o yaml": "calico_workloadendpoints",
    "kubectl get pods -n shop -o yaml": "kube_pods",
    "kubectl get ippool default -o yaml": "calico_ippools",
}


@pytest.mark.parametrize("line", LIMITED)
def test_a_command_that_shows_a_part_says_so(line: str) -> None:
    found = identify_command(line)
    assert found is not None
    assert found.id == LIMITED[line]
    assert found.limits != ""


@pytest.mark.parametrize(
    "line", ["", "rm -rf /", "ip route add 10.0.0.0/8 dev lo", "vi x", "ip", "birdcl", "nft", "'unclosed"]
)
def test_other_commands_are_not_evidence(line: str) -> None:
    assert identify_command(line) is None


def test_output_of_another_program_is_not_the_commands() -> None:
    found = identify_command("kubectl get po -A -o json | jq .items[].status.podIP")
    assert found is not None
    assert found.id == "other_output"


def test_places_named_in_a_command() -> None:
    docker = identify_command("docker exec -it worker2 ip route")
    assert docker is not None
    assert (docker.id, docker.node, docker.pod) == ("ip4_route_main", "worker2", "")
    pod = identify_command("kubectl -n shop exec web-1 -c app -- ip route")
    assert pod is not None
    assert (pod.id, pod.pod) == ("ip4_route_main", "shop/web-1")
    netns = identify_command("ip netns exec cni-1234 ip route")
    assert netns is not None
    assert netns.pod == "?"


NAMES = {
    "ip-route.txt": "ip4_route_main",
    "ip_route_table_all.out": "ip_route_all",
    "ip-route-v6.txt": "ip6_route_main",
    "ip4_route_all.out": "ip4_route_all",
    "ip4_route_all_json.out": "ip4_route_all_json",
    "ip_addr.txt": "ip_addr",
    "ip_a": "ip_addr",
    "ip-addr-json.txt": "ip_addr_json",
    "ip_-d_address": "ip_addr",
    "ip_route_show_table_all": "ip_route_all",
    "ip_-6_route_show_table_all": "ip6_route_all",
    "iptables-save.out": "iptables_save",
    "iptables-legacy-save.txt": "iptables_legacy_save",
    "ip6tables-save.txt": "ip6tables_save",
    "nft-ruleset.txt": "nft_ruleset",
    "ipset-list.txt": "ipset_list",
    "ipset-save.txt": "ipset_save",
    "conntrack-list.txt": "conntrack",
    "conntrack-L.txt": "conntrack",
    "sysctl-a.txt": "sysctl",
    "ss-tulnp.txt": "ss_listen",
    "bird-protocols-all.txt": "bird_protocols",
    "birdcl_show_route.txt": "bird_route",
    "node-status.txt": "calico_node_status",
    "ippools.yaml": "calico_ippools",
    "calicoctl_get_ippool_-o_yaml.yaml": "calico_ippools",
    "kubectl-get-pods-A.json": "kube_pods",
    "route-n.txt": "route_n",
    "bridge-fdb.txt": "bridge_fdb",
    "hostname": "hostname",
    "nodename.txt": "nodename",
    "felix.log": "log_other",
    "ethtool-k-eth0.txt": "ethtool_k",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_file_name_gives_its_id(name: str) -> None:
    found = identify_name(name)
    assert found is not None
    assert found.id == NAMES[name]


@pytest.mark.parametrize("name", ["photo.jpg", "notes.txt", "a.b.c", "", ".", "customers.yaml", "1.txt"])
def test_other_names_say_nothing(name: str) -> None:
    assert identify_name(name) is None


CONTENTS = {
    "# Generated by iptables-save v1.8.9 (nf_tables) on Mon\n*filter\n": "iptables_save",
    "# Generated by ip6tables-save v1.8.9 on Mon\n*filter\n": "ip6tables_save",
    "BIRD 1.6.8 ready.\nname     proto    table    state  since       info\n": "bird_protocols",
    "BIRD 1.6.8 ready.\n0.0.0.0/0 via 10.0.0.1 on eth0 [kernel1 07:45:49] * (10)\n": "bird_route",
    "create cali40s hash:net family inet hashsize 1024\n": "ipset_save",
    "tcp      6 86399 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1\n": "conntrack",
    "ipv4     2 tcp      6 86399 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2\n": "conntrack",
    "default via 10.0.0.1 dev eth0 \nblackhole 10.65.0.0/26 proto bird \n": "ip4_route_main",
    "default via 10.0.0.1 dev eth0 proto static\nlocal 10.0.0.9 dev eth0 table local proto kernel\n": "ip_route_all",
    "2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP\n": "ip_addr",
    "0:\tfrom all lookup local \n": "ip4_rule",
    "10.0.0.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE\n": "ip_neigh",
    "66:00:00:00:00:01 dev vxlan.calico dst 10.0.0.2 self permanent\n": "bridge_fdb",
    "table ip filter {\n}\n": "nft_ruleset",
    "net.ipv4.ip_forward = 1\n": "sysctl",
    "Netid State  Recv-Q Send-Q\n": "ss_listen",
    "Calico process is running.\n": "calico_node_status",
    "apiVersion: projectcalico.org/v3\nitems:\n- apiVersion: projectcalico.org/v3\n  kind: IPPool\nkind: IPPoolList\n":
        "calico_ippools",
    'apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\nkind: List\n': "kube_pods",
    '{"apiVersion": "v1", "kind": "ServiceList", "items": []}': "kube_services",
    '[{"ifindex":1,"ifname":"lo","flags":[],"addr_info":[]}]': "ip_addr_json",
    '[{"type":"unicast","dst":"default","gateway":"10.0.0.1","dev":"eth0","table":"main","flags":[]}]':
        "ip_route_all_json",
    '{"nftables": []}': "nft_ruleset_json",
}  # fmt: skip


@pytest.mark.parametrize("text", CONTENTS)
def test_content_gives_its_id(text: str) -> None:
    found = sniff(text)
    assert found is not None
    assert found.id == CONTENTS[text]


@pytest.mark.parametrize(
    "text", ["", "hello\n", "a: b\n", "{}", "[]", "kind: Pod\n", "{not json", "-A\n", "see 10.0.0.1\n"]
)
def test_other_content_says_nothing(text: str) -> None:
    assert sniff(text) is None
