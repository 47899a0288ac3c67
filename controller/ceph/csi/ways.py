"""How nodes reach a cluster: where its mons are, and the protocol that kernels have to speak."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio import current_time

from controller.ceph.access.mons import ENDPOINTS, requires_msgr2
from controller.ceph.access.rados import CephError
from controller.ceph.csi import affinity
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import RadosCluster
    from controller.runtime.kube import ConfigMap
    from informers import Informer

_WAY_SECONDS = 5.0
"""How long what a cluster says of the way to it holds, and how long it is not asked again after it did not answer."""

_ADDRESS = re.compile(r"[0-9A-Fa-f.:\[\]]+:[0-9]+")
"""What can be handed to the kernel, which is told the mons in one line of text."""


@dataclass(frozen=True, slots=True)
class Way:
    """How nodes reach a cluster.

    Attributes:
        fsid: Which cluster it is.
        monitors: The mons' "address:port", with commas between them.
        mode: The kernel client's `ms_mode`; empty for its default, the first version of the protocol.
        crush_labels: The labels by which a node's clients find the OSD that is nearest; none: they read from any.
    """

    fsid: str
    monitors: str
    mode: str
    crush_labels: tuple[str, ...] = ()

    def told(self, node: Mapping[str, str]) -> dict[str, str]:
        """What a node with these labels is told of it: part of the metadata of its VolumeAttachments."""
        found = {
            "fsid": self.fsid,
            "monitors": self.monitors,
            "msMode": self.mode,
            "crushLocation": affinity.location(self.crush_labels, node),
        }
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a cluster said of the way to it, or why it did not, to whom that was said, and until when it holds."""

    cluster: RadosCluster
    endpoints: str
    crush_labels: tuple[str, ...]
    until: float
    answer: Way | CephError


class Ways:
    """The ways to clusters. Many volumes ask at once, when a leader starts or the mons have moved.

    Args:
        clusters: The CephClusters that are served.
        config_maps: The ConfigMaps of their namespaces.
    """

    def __init__(self, clusters: Informer[CephCluster], config_maps: Informer[ConfigMap]) -> None:
        self._clusters = clusters
        self._config_maps = config_maps
        self._asking: dict[str, anyio.Lock] = {}
        self._asked: dict[str, _Asked] = {}

    async def to(self, cluster: RadosCluster, namespace: str, volume: str) -> Way:
        """How nodes reach the cluster: one question answers all that ask at once.

        Args:
            cluster: The cluster.
            namespace: Where its CephCluster is.
            volume: For which volume, in words.

        Raises:
            BackendError: The mons do not answer.
        """
        config_map = self._config_maps.get(namespace, ENDPOINTS)
        endpoints = config_map.data.get("data", "") if config_map is not None else ""
        found = next(iter(self._clusters.list(namespace)), None)
        labels = affinity.crush_labels(found) if found is not None else ()
        async with self._asking.setdefault(namespace, anyio.Lock()):
            asked = self._asked.get(namespace)
            if (
                asked is None
                or (asked.cluster, asked.endpoints, asked.crush_labels) != (cluster, endpoints, labels)
                or asked.until < current_time()
            ):
                answer = await self._ask(cluster, ms_mode(found) if found is not None else "", labels)
                asked = _Asked(cluster, endpoints, labels, current_time() + _WAY_SECONDS, answer)
                self._asked[namespace] = asked
        if isinstance(asked.answer, CephError):
            raise BackendError(f"the mons of the Ceph cluster of {volume} do not answer: {asked.answer}")
        return asked.answer

    async def _ask(self, cluster: RadosCluster, mode: str, labels: tuple[str, ...]) -> Way | CephError:
        try:
            monmap = await cluster.mon("mon dump")
            if labels and affinity.problem_of(await cluster.mon("versions")):
                labels = ()
        except CephError as error:
            return error
        return Way(monmap["fsid"], ",".join(mon_addresses(monmap, msgr2=bool(mode))), mode, labels)


def ms_mode(cluster: CephCluster) -> str:
    """How the kernel's client has to speak to a cluster: its option `ms_mode`; empty: as it does by itself. Pure.

    https://docs.ceph.com/en/latest/man/8/rbd/#kernel-rbd-krbd-options. A kernel compresses nothing.
    """
    if cluster.spec.network.connections.encryption.enabled:
        return "secure"
    return "prefer-crc" if requires_msgr2(cluster.spec.network) else ""


def mon_addresses(monmap: Mapping[str, Any], *, msgr2: bool) -> list[str]:
    """An "address:port" for each mon of `mon dump`: of the first protocol if it has one, which every client speaks.

    A client finds out the rest from the mons. With `msgr2`: of the second.
    """
    addresses = []
    for mon in monmap["mons"]:
        by_protocol = {a["type"]: a["addr"] for a in mon["public_addrs"]["addrvec"]}
        order = ("v2", "v1", "any") if msgr2 else ("v1", "v2", "any")
        address = next(by_protocol[protocol] for protocol in order if protocol in by_protocol)
        if not _ADDRESS.fullmatch(address):
            raise BackendError(f"a mon's address is {address!r}: expected an IP address and a port")
        addresses.append(address)
    return addresses
