"""From artifact to Evidence: what proves absence and what does not. Rules: docs/bundle-format.md sections 3 and 9."""

from __future__ import annotations

from dataclasses import replace as changed
from ipaddress import ip_address, ip_network

import pytest

from lasthop.facts.evidence import Absent, AbsentReason, Complete, Partial, Status
from lasthop.facts.snapshot import NetNS
from lasthop.snapshot.build import build, read_all
from tests.snapshot.making import bundle, failed, host, skipped, snapshot

NEIGH = "192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 REACHABLE\n"
ROUTES = (
    "default via 192.0.2.1 dev eth0 \nlocal 192.0.2.11 dev eth0 table local proto kernel scope host src 192.0.2.11 \n"
)
RULES = "0:\tfrom all lookup local \n32766:\tfrom all lookup main \n32767:\tfrom all lookup default \n"


def test_all_lines_of_a_command_that_ended_well_are_complete() -> None:
    found = host({"ip4_neigh": NEIGH}).neighbours
    assert isinstance(found, Complete)
    assert [str(entry.ip) for entry in found.values] == ["192.0.2.1"]
    assert found.artifacts[0].id == "ip4_neigh"


def test_empty_output_is_evidence_of_none_where_the_tool_may_print_nothing() -> None:
    found = host({"ip4_neigh": ""}).neighbours
    assert isinstance(found, Complete)
    assert found.values == ()


def test_empty_output_is_not_understood_where_the_tool_always_prints() -> None:
    found = host({"ip_addr": ""}).addresses
    assert isinstance(found, Absent)
    assert found.reason is AbsentReason.UNPARSABLE


def test_an_empty_file_with_an_unknown_exit_code_proves_nothing() -> None:
    found = host({"ip4_neigh": ("", {"rc": None})}).neighbours
    assert isinstance(found, Absent)
    assert found.reason is AbsentReason.UNPARSABLE


@pytest.mark.parametrize("fields, why", [
    (failed(2, "Dump terminated\n"), "rc 2"),
    ({"status": Status.TIMEOUT}, "killed"),
    ({"status": Status.TRUNCATED, "why": "the archive ends inside this file"}, "archive ends"),
    ({"status": Status.ENOSPC}, "disk was full"),
    ({"stderr": "Dump was interrupted and may be inconsistent.\n"}, "interrupted"),
])  # fmt: skip
def test_output_of_a_command_that_did_not_end_well_proves_presence_only(fields: dict[str, object], why: str) -> None:
    found = host({"ip4_neigh": (NEIGH, fields)}).neighbours
    assert isinstance(found, Partial)
    assert len(found.values) == 1
    assert why in found.why
    assert any(doubt.touches == "" for doubt in found.doubts)


@pytest.mark.parametrize("fields, reason, detail", [
    (failed(1, "RTNETLINK answers: Invalid argument\n"), AbsentReason.FAILED, "rc 1"),
    (failed(1, "Operation not permitted\n"), AbsentReason.DENIED, "not permitted"),
    ({"status": Status.DENIED, "stderr": "Permission denied\n"}, AbsentReason.DENIED, "denied"),
    ({"status": Status.MISSING, "command": "ip -4 neigh"}, AbsentReason.NOT_COLLECTED, "ip is not on this node"),
    (skipped("deadline"), AbsentReason.NOT_COLLECTED, "time"),
    (skipped("no-enter"), AbsentReason.NOT_COLLECTED, "entered"),
    (skipped("some-new-reason"), AbsentReason.NOT_COLLECTED, "some-new-reason"),
])  # fmt: skip
def test_without_output_the_reason_is_kept(fields: dict[str, object], reason: AbsentReason, detail: str) -> None:
    found = host({"ip4_neigh": ("", fields)}).neighbours
    assert isinstance(found, Absent)
    assert found.reason is reason
    assert detail in found.detail


def test_what_is_not_loaded_does_not_exist() -> None:
    found = host({"ipset_save": ("", skipped("not-loaded"))}).ipsets
    assert isinstance(found, Complete)
    assert found.values == ()


def test_never_taken_is_not_collected() -> None:
    assert host({"ip4_neigh": NEIGH}).ipsets == Absent(AbsentReason.NOT_COLLECTED)


def test_a_line_that_is_not_understood_casts_doubt_on_its_key_only() -> None:
    found = host({"ip4_route_all": ROUTES + "10.65.0.0/26 via 192.0.2.12 dev eth0 warp 9\n"}).routes
    assert isinstance(found, Partial)
    assert len(found.values) == 2
    assert [doubt.touches for doubt in found.doubts] == ["10.65.0.0/26"]
    assert "1 line not understood" in found.why


def test_nothing_understood_is_unparsable() -> None:
    found = host({"ip4_neigh": "segmentation fault\n"}).neighbours
    assert isinstance(found, Absent)
    assert found.reason is AbsentReason.UNPARSABLE


def test_the_newest_good_take_is_the_state() -> None:
    other = NEIGH.replace("REACHABLE", "FAILED")
    found = host({"ip4_neigh#1": NEIGH, "ip4_neigh#2": (other, {"sample": 2})}).neighbours
    assert [entry.state for entry in found.values] == ["FAILED"]
    found = host({"ip4_neigh#1": NEIGH, "ip4_neigh#2": ("", {**failed(), "sample": 2})}).neighbours
    assert [entry.state for entry in found.values] == ["REACHABLE"]


def test_both_families_in_one_output_are_told_apart() -> None:
    netns = host({"ip_neigh": NEIGH + "fe80::1 dev eth0 lladdr 02:00:00:00:00:01 STALE\n"})
    assert [str(entry.ip) for entry in netns.neighbours.values] == ["192.0.2.1"]
    assert [str(entry.ip) for entry in netns.neighbours6.values] == ["fe80::1"]


def test_json_stands_in_where_text_is_missing() -> None:
    json = '[{"dst":"192.0.2.1","dev":"eth0","lladdr":"02:00:00:00:00:01","state":["STALE"]}]'
    found = host({"ip4_neigh_json": json}).neighbours
    assert isinstance(found, Complete)
    assert [entry.state for entry in found.values] == ["STALE"]


def test_links_take_from_every_output_what_it_alone_shows() -> None:
    link = "2: vxlan.calico: <BROADCAST,UP,LOWER_UP> mtu 1450 qdisc noqueue state UNKNOWN\n    link/ether 66:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff\n"  # noqa: E501
    json = (
        '[{"ifindex":2,"ifname":"vxlan.calico","flags":["BROADCAST","UP","LOWER_UP"],"mtu":1400,"linkinfo":'
        '{"info_kind":"vxlan","info_data":{"id":4096,"local":"192.0.2.11","port":4789,"learning":false}}}]'
    )
    (found,) = host({"ip_link": link, "ip_link_json": json}).links.values
    assert (found.mtu, found.mac, found.kind, found.vxlan_id, found.vxlan_local) == (
        1450, "66:00:00:00:00:01", "vxlan", 4096, ip_address("192.0.2.11"),
    )  # fmt: skip
    assert found.source.line == 1


def test_an_interface_made_again_between_two_outputs_is_not_mixed() -> None:
    link = "2: cali1: <UP,LOWER_UP> mtu 1450 qdisc noqueue state UP\n"
    json = '[{"ifindex":9,"ifname":"cali1","flags":["UP"],"mtu":1500,"linkinfo":{"info_kind":"veth"}}]'
    (found,) = host({"ip_link": link, "ip_link_json": json}).links.values
    assert (found.ifindex, found.kind) == (2, "")


def test_the_main_table_alone_leaves_the_tables_of_other_rules_in_doubt() -> None:
    rules = RULES.replace("32766", "100:\tfrom all fwmark 0x1 lookup 220 \n32766")
    found = host({"ip4_route_main": "default via 192.0.2.1 dev eth0 \n", "ip4_rule": rules}).routes
    assert isinstance(found, Partial)
    assert {doubt.touches for doubt in found.doubts} == {"table 220", "table 253"}
    assert [route.table for route in found.values] == [254]


def test_the_main_table_alone_without_rules_proves_nothing_absent() -> None:
    found = host({"ip4_route_main": "default via 192.0.2.1 dev eth0 \n"}).routes
    assert isinstance(found, Partial)
    assert [doubt.touches for doubt in found.doubts] == [""]


def test_single_tables_are_put_in_their_table() -> None:
    outputs = {
        "ip4_route_main": "default via 192.0.2.1 dev eth0 \n",
        "ip4_route_table_220": "default via 192.0.2.254 dev eth1 \n",
        "ip4_rule": RULES.replace("32766", "100:\tfrom all fwmark 0x1 lookup 220 \n32766"),
    }
    found = host(outputs).routes
    assert [(route.table, str(route.nexthops[0].via)) for route in found.values] == [
        (254, "192.0.2.1"), (220, "192.0.2.254"),
    ]  # fmt: skip
    assert isinstance(found, Partial)
    assert {doubt.touches for doubt in found.doubts} == {"table 253"}


def test_all_tables_win_over_the_main_table() -> None:
    found = host({"ip4_route_main": "default via 192.0.2.9 dev eth0 \n", "ip_route_all": ROUTES}).routes
    assert isinstance(found, Complete)
    assert {route.dst for route in found.values} == {ip_network("0.0.0.0/0"), ip_network("192.0.2.11/32")}


def test_focused_conntrack_queries_prove_presence_only_and_count_once() -> None:
    line = (
        "ipv4     2 tcp      6 86399 ESTABLISHED src=10.65.0.2 dst=10.65.0.3 sport=1000 dport=80 src=10.65.0.3 "
        "dst=10.65.0.2 sport=80 dport=1000 [ASSURED] mark=0 use=1\n"
    )
    outputs = {
        "conntrack": ("", skipped("over-cap")), "conntrack_focus_1_src": line, "conntrack_focus_2_rsrc": line,
    }  # fmt: skip
    found = host(outputs).conntrack
    assert isinstance(found, Partial)
    assert len(found.values) == 1


def test_counters_of_both_takes_are_kept() -> None:
    text = "#kernel\nIpInDelivers                    {} 0.0\n"
    found = host({"nstat#1": text.format(5), "nstat#2": (text.format(9), {"sample": 2})}).counters
    assert {(counter.sample, counter.value) for counter in found.values} == {(1, 5), (2, 9)}


STOPPED = "Unable to connect to server control socket (/var/run/calico/bird.ctl): No such file or directory\n"


def test_a_stopped_bird_needs_two_witnesses_to_mean_no_session() -> None:
    one = snapshot({"bird_protocols": ("", failed(1, STOPPED))}).nodes["n1"]
    assert isinstance(one.bgp_sessions, Absent)
    said = "Calico process is running.\n\nThe BGP backend process (BIRD) is not running.\n"
    two = snapshot({"bird_protocols": ("", failed(1, STOPPED)), "calico_node_status": said}).nodes["n1"]
    assert isinstance(two.bgp_sessions, Complete)
    assert two.bgp_sessions.values == ()
    assert {(status.what, status.running) for status in two.statuses.values} >= {("bird", False), ("calico", True)}


def test_status_words_on_stderr_cite_the_file_that_holds_them() -> None:
    made = bundle({"bird_protocols": ("", failed(1, STOPPED))})
    (status,) = build(made).nodes["n1"].statuses.values
    assert status.source.path == "n1/host/bird_protocols.err"
    assert status.source.text in STOPPED


def test_nothing_is_parsed_before_it_is_asked_for() -> None:
    found = snapshot({"ip4_neigh": NEIGH + "strange\n", "ip4_route_all": ROUTES})
    assert (found.lines, found.unparsed) == (0, ())
    assert len(found.nodes["n1"].host.neighbours.values) == 1
    assert found.lines == 2
    assert [line.source.line for line in found.unparsed] == [2]
    assert found.nodes["n1"].host.neighbours is found.nodes["n1"].host.neighbours
    read_all(found)
    assert found.lines == 4


def test_a_lazy_netns_is_a_netns() -> None:
    netns = host({"ip4_neigh": NEIGH})
    assert isinstance(netns, NetNS)
    assert (netns.node, netns.name) == ("n1", "host")
    copy = changed(netns, name="other")
    assert (copy.name, copy.neighbours) == ("other", netns.neighbours)
    assert {netns: 1}[netns] == 1


POLICY = "apiVersion: projectcalico.org/v3\nitems: []\nkind: NetworkPolicyList\nmetadata: {}\n"


def test_policies_are_complete_only_with_both_of_calicos_lists() -> None:
    alone = snapshot({"calico_networkpolicies": POLICY}).cluster.policies
    assert isinstance(alone, Partial)
    assert "calico_globalnetworkpolicies" in alone.why
    listed = (POLICY, {"command": "calicoctl get networkpolicies -A -o yaml"})
    both = snapshot({"calico_networkpolicies": listed, "calico_globalnetworkpolicies": listed}).cluster.policies
    assert isinstance(both, Complete)


def test_the_crds_do_not_hold_the_policies_of_kubernetes() -> None:
    listed = (POLICY, {"command": "kubectl get networkpolicies.crd.projectcalico.org -A -o json"})
    outputs = {"calico_networkpolicies": listed, "calico_globalnetworkpolicies": listed}
    found = snapshot(outputs).cluster.policies
    assert isinstance(found, Partial)
    assert [doubt.touches for doubt in found.doubts] == ["KubernetesNetworkPolicy"]


def test_a_list_of_calicos_objects_that_was_not_taken_leaves_its_kind_in_doubt() -> None:
    found = snapshot({"calico_bgppeers": "apiVersion: projectcalico.org/v3\nitems: []\nkind: BGPPeerList\n"}).cluster
    assert isinstance(found.calico_objects, Partial)
    touched = {doubt.touches for doubt in found.calico_objects.doubts}
    assert "FelixConfiguration" in touched
    assert "BGPPeer" not in touched


def test_a_kind_that_the_server_does_not_know_takes_nothing_away() -> None:
    listed = (POLICY, {"command": "calicoctl get networkpolicies -A -o yaml"})
    outputs = {
        "calico_networkpolicies": listed,
        "calico_globalnetworkpolicies": listed,
        "kube_adminnetworkpolicies": ("", failed(1, 'error: the server doesn\'t have a resource type "anp"\n')),
    }
    assert isinstance(snapshot(outputs).cluster.policies, Complete)


def test_a_file_of_several_kinds_feeds_each_of_them() -> None:
    mixed = (
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: shop\n"
        "- apiVersion: v1\n  kind: Service\n  metadata:\n    name: web\n    namespace: shop\n"
        "  spec:\n    clusterIP: 10.96.0.10\n    ports:\n    - port: 80\nkind: List\n"
    )
    found = snapshot({"other_objects": mixed}).cluster
    assert [value.name for value in found.namespaces.values] == ["shop"]
    assert [value.name for value in found.services.values] == ["web"]
    assert isinstance(found.services, Partial)


def test_endpoints_stand_in_for_slices() -> None:
    endpoints = (
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Endpoints\n  metadata:\n    name: web\n    namespace: shop\n"
        "  subsets:\n  - addresses:\n    - ip: 10.65.0.2\n    ports:\n    - port: 8080\nkind: List\n"
    )
    (found,) = snapshot({"kube_endpoints": endpoints}).cluster.endpoint_slices.values
    assert (found.kind, str(found.addresses[0].ip)) == ("Endpoints", "10.65.0.2")


def test_rules_that_were_not_understood_are_counted_when_everything_is_read() -> None:
    dump = (
        "# Generated by iptables-save v1.8.9 (nf_tables) on Mon\n*filter\n:INPUT ACCEPT [0:0]\n"
        '[0:0] -A INPUT -s 10.0.0.1/32 -j DROP\n[0:0] -A INPUT -m comment --comment "open -j DROP\nCOMMIT\n'
    )
    found = snapshot({"iptables_nft_save": dump})
    read_all(found)
    assert [line.source.line for line in found.unparsed] == [5]


def test_a_node_status_without_a_table_of_sessions_says_nothing_of_sessions() -> None:
    found = snapshot({"calico_node_status": "Calico process is running.\n"}).nodes["n1"].bgp_sessions
    assert isinstance(found, Partial) and found.values == ()
