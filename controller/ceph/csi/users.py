"""The Ceph users that volumes are served with, and the Secrets that StorageClasses refer to.

Names, keys and capabilities are upstream's: https://rook.io/docs/rook/latest/Storage-Configuration/Ceph-CSI/ceph-csi-drivers/
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.identity import AES, secret
from controller.ceph.csi import affinity
from controller.ceph.part import Part, Report
from controller.ceph.pods import cluster_labels, owner_of
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster, CephFilesystem
    from controller.ceph.access.rados import Cluster
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.ceph.releases import Running
    from controller.framework.children import Live
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from controller.runtime.apply import Applier
    from informers import Informer, JsonObject

APP = "rook-ceph-csi"
PROVISIONER, NODE = "csi-rbd-provisioner", "csi-rbd-node"
CEPHFS_PROVISIONER, CEPHFS_NODE = "csi-cephfs-provisioner", "csi-cephfs-node"

RBD_CAPS: Mapping[str, Mapping[str, str]] = {
    # Blocklisting a client is how a node that does not answer is kept from writing.
    PROVISIONER: {"mgr": "allow rw", "mon": 'profile rbd, allow command "osd blocklist"', "osd": "profile rbd"},
    NODE: {"mgr": "allow rw", "mon": "profile rbd", "osd": "profile rbd"},
}
"""What each user of block volumes may do, by its name without "client."."""

CEPHFS_CAPS: Mapping[str, Mapping[str, str]] = {
    CEPHFS_PROVISIONER: {
        "mds": "allow *",
        "mgr": "allow rw",
        "mon": 'allow r, allow command "osd blocklist"',
        "osd": "allow rw tag cephfs metadata=*",
    },
    CEPHFS_NODE: {
        "mds": "allow rw",
        "mgr": "allow rw",
        "mon": "allow r",
        "osd": "allow rwx tag cephfs metadata=*, allow rw tag cephfs data=*",
    },
}
"""The same of the users of file system volumes."""


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Get or create the cephx user `client.<name>` with `caps`, and keep its key in its Secret.

    `key_type`: of a key that is made; empty: what the mons prefer.
    """

    name: str
    caps: Mapping[str, str] = field(repr=False)
    key_type: str = ""


def secret_name(user: str) -> str:
    """The Secret with a user's key."""
    return f"rook-{user}"


def analyze(cluster: CephCluster, live: Live, running: Running, *, filesystems: bool) -> tuple[Step, ...]:
    """What to do for the users of a cluster whose mons answer. Pure.

    Args:
        cluster: The cluster.
        live: The objects of its namespace.
        running: What its daemons run. Where they know two types of keys, these users get keys of the older one: kernels
            before 7.0 and the librbd of the operator and the agents know no other.
        filesystems: Whether there is a CephFilesystem in its namespace.
    """
    if cluster.spec.csi.skip_user_creation:
        return ()
    key_type = AES if running.oldest is not None and running.oldest.knows_aes256k else ""
    return tuple(
        Step(subject=f"user {name}", action=CreateUser(name, caps, key_type), reason=why)
        for name, caps in {**RBD_CAPS, **(CEPHFS_CAPS if filesystems else {})}.items()
        if (why := users.shortfall(live, secret_name(name), caps))
    )


def user_secret(owner: Owner, name: str, key: str) -> JsonObject:
    """The Secret with a user's key, as upstream's StorageClasses expect it."""
    labels = cluster_labels(owner, APP)
    caps = RBD_CAPS.get(name) or CEPHFS_CAPS[name]
    meta = owner.metadata(secret_name(name), labels, annotations=users.given(caps))
    # Ceph's CSI driver for file systems looked for an administrator's key before it took a user's.
    admin = {"adminID": name, "adminKey": key} if name in CEPHFS_CAPS else {}
    return secret(meta, {**admin, "userID": name, "userKey": key})


def part(applier: Applier, filesystems: Informer[CephFilesystem]) -> Part[bool]:
    """The users as a part of their cluster.

    Args:
        applier: Writes.
        filesystems: The cache of CephFilesystems.
    """

    async def observe(ground: Ground) -> bool:
        """Whether there are file systems; the users' Secrets say all else that there is."""
        return bool(filesystems.keys(ground.cluster.metadata.namespace))

    def steps(ground: Ground, _context: Context, seen: bool, _hold: str) -> tuple[Step, ...]:
        if ground.quorum is None:
            return ()
        return analyze(ground.cluster, ground.live, ground.upgrade.running, filesystems=seen)

    def ways(ground: Ground, _: bool) -> dict[type, Handler]:
        return {} if ground.ceph is None else handlers(owner_of(ground.cluster), ground.ceph, applier)

    return Part(
        name="users of volumes", apps=frozenset({APP}), observe=observe, analyze=steps, handlers=ways, report=_report
    )


def _report(ground: Ground, _: bool) -> Report:
    """Says whether nodes read from the nearest OSD where the spec asks for it, and if not, why."""
    asked, upgrade = ground.cluster.spec.csi.read_affinity, ground.upgrade
    if not asked.enabled:
        return Report()
    wanted = upgrade.wanted.version if upgrade.wanted is not None else None
    why = affinity.problem(filter(None, (upgrade.running.oldest, upgrade.running.newest, wanted)))
    by = f", by {', '.join(asked.crush_location_labels)}" if asked.crush_location_labels else ""
    told = f"has no effect: {why}" if why else f"has nodes read from the nearest OSD{by}"
    return Report(beside=f"csi.readAffinity {told}")


def handlers(owner: Owner, ceph: Cluster, applier: Applier) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def create_user(action: CreateUser) -> None:
        key = await users.key_of(ceph, f"client.{action.name}", action.caps, key_type=action.key_type)
        await applier.apply(user_secret(owner, action.name, key))

    return {CreateUser: create_user}
