"""What makes a lab's node one of a cluster, as files: kubelet, kube-proxy, their units, CNI, and what prepares it.

All of it is mounted into the node before it starts, so that nothing is written there, and a node that is started again
is the same as before. Everything in here is pure.

Why it is what it is (each was found by a node that did not work without it):

- The kubelet sets three of the machine's own settings, and kube-proxy more. Files with the values that the kubelet
  wants are mounted over those three, inside of the node, so that it finds nothing to do; kube-proxy is told to leave
  those of connection tracking.
- Hosts of clusters may have cgroups of version 1, swap, and no right to lower a process's ``oom_score_adj``.
- ``/`` is a shared mount, or pods that mount something below it for others are refused.
- Pods have the node's address where they leave the cluster: nobody outside knows the way back to theirs. Nodes know it,
  because the number of a node says its address and that of its pods.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lab.kinds import LAB_LIBRARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PODS: Final = IPv4Network("10.244.0.0/16")
"""The addresses of pods; the n-th network of 256 is that of the node with the number n."""

MOST_NODES: Final = 50
"""Ways to so many nodes are known to each."""

PROGRAMS: Final = f"{LAB_LIBRARY}/kubernetes"
NFT: Final = f"{LAB_LIBRARY}/nft"
CONFIGURATION: Final = "/etc/kubernetes"
UNITS: Final = "/usr/local/lib/systemd/system"  # systemd looks there too, and Debian's packages put nothing there
CNI_CONFIGURATION: Final = "/etc/cni/net.d"
CNI_PROGRAMS: Final = ("/opt/cni/bin", "/usr/lib/cni")
"""Where containerd looks for plugins by itself, and where Debian's containerd does."""

_WANTED_BY: Final = "multi-user.target.wants"
_FIRST_ADDRESS: Final = 10  # of nodes in their network; lower ones are the engine's to give

_PREPARE_UNIT: Final = f"""\
[Unit]
Description=what a kubelet expects of its machine, within this node
Before=containerd.service kubelet.service kube-proxy.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {CONFIGURATION}/prepare

[Install]
WantedBy=multi-user.target
"""
_KUBELET_UNIT: Final = f"""\
[Unit]
Description=kubelet
After=containerd.service gvisor-nodes-lab-prepare.service
Requires=gvisor-nodes-lab-prepare.service
StartLimitIntervalSec=0

[Service]
EnvironmentFile={CONFIGURATION}/kubelet.env
ExecStart={PROGRAMS}/kubelet --config={CONFIGURATION}/kubelet.json --kubeconfig={CONFIGURATION}/kubelet.conf $ARGUMENTS
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
_PROXY_UNIT: Final = f"""\
[Unit]
Description=kube-proxy
After=gvisor-nodes-lab-prepare.service
Requires=gvisor-nodes-lab-prepare.service
StartLimitIntervalSec=0

[Service]
Environment=PATH={NFT}:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart={PROGRAMS}/kube-proxy --config={CONFIGURATION}/kube-proxy.json
Restart=always
RestartSec=1

[Install]
WantedBy=multi-user.target
"""
_UNITS: Final = {
    "gvisor-nodes-lab-prepare.service": _PREPARE_UNIT,
    "kubelet.service": _KUBELET_UNIT,
    "kube-proxy.service": _PROXY_UNIT,
}

# Source: kubernetes v1.37 pkg/kubelet/cm/container_manager_linux.go, setupKernelTunables.
_SETTINGS: Final = {"vm/overcommit_memory": "1", "kernel/panic": "10", "kernel/panic_on_oops": "1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is: its name, its number, and the network in which all nodes of the cluster are."""

    name: str
    number: int
    network: IPv4Network

    @property
    def address(self) -> IPv4Address:
        """The node's address."""
        return address_of(self.network, self.number)

    @property
    def pods(self) -> IPv4Network:
        """The addresses of its pods."""
        return pods_of(self.number)


def address_of(network: IPv4Network, number: int) -> IPv4Address:
    """The address of the node of this number."""
    return network.network_address + _FIRST_ADDRESS + number


def pods_of(number: int) -> IPv4Network:
    """The addresses of its pods."""
    return IPv4Network((PODS.network_address + 256 * number, 24))


def unit_files() -> dict[str, str]:
    """The files of :data:`UNITS`: units by name."""
    return dict(_UNITS)


def unit_links() -> dict[str, str]:
    """The links of :data:`UNITS` by which they start when the node does, and what they lead to."""
    return {f"{_WANTED_BY}/{name}": f"../{name}" for name in _UNITS}


def cni_files(place: Place) -> dict[str, str]:
    """The files of :data:`CNI_CONFIGURATION`."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(place.pods)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"10-lab.conflist": _json({"cniVersion": "1.0.0", "name": "lab", "plugins": [bridge]})}


def configuration_files(
    place: Place,
    *,
    kubelet: Mapping[str, Any],
    proxy: Mapping[str, Any],
    labels: Mapping[str, str],
    taints: Sequence[str],
) -> dict[str, str]:
    """The files of :data:`CONFIGURATION`, but for the authority's certificate, ``ca.crt``.

    Args:
        place: where the node is.
        kubelet: the kubelet's kubeconfig.
        proxy: kube-proxy's.
        labels: those that a kubelet may give its node; see :func:`may_set`.
        taints: with which it registers it, as ``key=value:effect``.
    """
    arguments = [f"--hostname-override={place.name}", f"--node-ip={place.address}"]
    if labels:
        arguments.append("--node-labels=" + ",".join(f"{key}={value}" for key, value in sorted(labels.items())))
    if taints:
        arguments.append(f"--register-with-taints={','.join(taints)}")
    return {
        "kubelet.env": f"ARGUMENTS={' '.join(arguments)}\n",
        "kubelet.json": _json(_kubelet_configuration()),
        "kubelet.conf": _json(kubelet),
        "kube-proxy.json": _json(_proxy_configuration(place)),
        "kube-proxy.conf": _json(proxy),
        "prepare": _prepare(place),
    }


def may_set(label: str) -> bool:
    """Tell whether a kubelet may give its own node this label; others are given by the API.

    Source: kubernetes v1.37 staging/src/k8s.io/kubelet/pkg/apis/well_known_labels.go, IsKubeletLabel.
    """
    domain = label.partition("/")[0] if "/" in label else ""
    if not _within(domain, "kubernetes.io") and not _within(domain, "k8s.io"):
        return True
    return _within(domain, "kubelet.kubernetes.io") or _within(domain, "node.kubernetes.io")


def _within(domain: str, outer: str) -> bool:
    return domain == outer or domain.endswith(f".{outer}")


def _kubelet_configuration() -> dict[str, Any]:
    # A full disk or little memory is the machine's: nothing is evicted for it, and no image is removed.
    never = dict.fromkeys(("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available"), "0%")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{CONFIGURATION}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "makeIPTablesUtilChains": False,
        "evictionHard": never,
        "imageGCHighThresholdPercent": 100,
    }


def _proxy_configuration(place: Place) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": f"{CONFIGURATION}/kube-proxy.conf"},
        "clusterCIDR": str(PODS),
        "hostnameOverride": place.name,
        "oomScoreAdj": 0,
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def _prepare(place: Place) -> str:
    lines = ["set -e", "mount --make-rshared /", "mkdir -p /run/gvisor-nodes-lab"]
    for name, value in _SETTINGS.items():
        file = f"/run/gvisor-nodes-lab/{name.replace('/', '.')}"
        lines += [f"echo {value} > {file}", f"mount --bind {file} /proc/sys/{name}"]
    lines += ["echo 1 > /proc/sys/net/ipv4/ip_forward"]
    for number in range(1, MOST_NODES + 1):
        if number != place.number:
            lines.append(f"ip route replace {pods_of(number)} via {address_of(place.network, number)}")
    lines += [
        f"{NFT}/nft -f - <<'END'",
        "table ip gvisor-nodes-lab",
        "delete table ip gvisor-nodes-lab",
        "table ip gvisor-nodes-lab {",
        "  chain leaving {",
        "    type nat hook postrouting priority srcnat;",
        f"    ip saddr {place.pods} ip daddr != {PODS} masquerade",
        "  }",
        "}",
        "END",
    ]
    return "\n".join(lines) + "\n"


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
