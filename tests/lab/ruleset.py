"""One node's whole `iptables-restore` input: Felix's and kube-proxy's chains and hooks together, in the order of a
settled node.
"""

from __future__ import annotations

from . import kubeproxy
from .felix import NodeRules

KERNEL_CHAINS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}


def render(felix: NodeRules) -> str:
    """Text for `iptables-nft-restore` or `iptables-legacy-restore`; replaces all four tables."""
    nothing: tuple[list[str], dict[str, list[str]], list[str]] = ([], {}, [])
    kube = {
        "raw": nothing,
        "mangle": (kubeproxy.MANGLE_CHAINS, {}, []),
        "filter": kubeproxy.filter_(felix.spec),
        "nat": kubeproxy.nat(felix.spec),
    }
    lines = []
    for table, kernel_chains in KERNEL_CHAINS.items():
        chains, kube_hooks, kube_rules = kube[table]
        cali_hooks = felix.hook(table)
        lines.append(f"*{table}")
        lines += [f":{chain} ACCEPT [0:0]" for chain in kernel_chains]
        lines += [f":{chain} - [0:0]" for chain in chains + sorted(felix.tables[table])]
        for chain in kernel_chains:
            before, after = cali_hooks.get(chain, ([], []))
            lines += before + kube_hooks.get(chain, []) + after
        lines += kube_rules + felix.chain_lines(table) + ["COMMIT"]
    return "\n".join(lines) + "\n"
