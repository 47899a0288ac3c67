"""Reads from the OSD that is nearest to a node: `spec.csi.readAffinity` of a CephCluster. All of it pure.

Clients find the nearest by their own place in the CRUSH map, which labels of their node tell
(https://docs.ceph.com/en/latest/man/8/rbd/#kernel-rbd-krbd-options, `crush_location`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.crush import LEVELS, normalized
from controller.ceph.releases import CephVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.releases import Running

FIXED = CephVersion(20, 2, 2)
"""The first release of Tentacle that loses no data with it (https://github.com/rook/rook/issues/16839)."""

_HOST = "hostname"
"""How labels name what CRUSH calls a host."""


def crush_labels(cluster: CephCluster) -> tuple[str, ...]:
    """The labels of nodes that tell their place, where reads from the nearest OSD are asked for; else none.

    Also none where the cluster is on its way to a release that may lose data with it.
    """
    wanted, release = cluster.spec.csi.read_affinity, cluster.status.version.version
    if not wanted.enabled or (release and problem((CephVersion.parse(release),))):
        return ()
    return wanted.crush_location_labels or tuple(LEVELS.values())


def location(labels: Iterable[str], node: Mapping[str, str]) -> str:
    """Where a node with these labels is, as the kernel's clients take it: "zone:a|host:n1"; empty: nothing tells.

    Args:
        labels: Those that tell.
        node: All labels of the node.
    """
    found = {}
    for label in labels:
        level = label.rpartition("/")[2]
        if node.get(label):
            found["host" if level == _HOST else level] = normalized(node[label])
    return "|".join(f"{level}:{name}" for level, name in found.items())


def problem(running: Iterable[CephVersion]) -> str:
    """Why nodes must not read from the nearest OSD of a cluster whose daemons run these versions; empty: they may."""
    affected = [version for version in running if CephVersion(20, 0, 0) <= version < FIXED]
    if not affected:
        return ""
    return f"Ceph {min(affected)} may lose data with it; 20.2.2 does not"


def upgrade_problem(version: CephVersion, running: Running) -> str:
    """Why a cluster whose nodes read from the nearest OSD is not upgraded to a version; empty: it is.

    Volumes that are mounted go on reading so until they are mounted anew.

    Args:
        version: The one that is wanted.
        running: What daemons run now.
    """
    if running.newest is None or running.newest >= version or not (why := problem((version,))):
        return ""
    return f"{why}, and spec.csi.readAffinity has nodes read so: choose a cephVersion.image of {FIXED} or later"


def problem_of(versions: Mapping[str, Mapping[str, int]]) -> str:
    """The same by an answer to `versions`: versions of daemons, by their kind, with how many run each."""
    return problem(CephVersion.parse(text) for text in versions.get("overall", {}))
