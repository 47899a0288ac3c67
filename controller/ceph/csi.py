"""The Ceph users that volumes are served with, and the Secrets that StorageClasses refer to.

Names, keys and capabilities are upstream's: https://rook.io/docs/rook/latest/Storage-Configuration/Ceph-CSI/ceph-csi-drivers/
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.daemon import cluster_labels, metadata
from controller.ceph.keys import secret
from controller.ceph.rados import CephError
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster
    from controller.ceph.rados import Cluster
    from controller.framework.children import Live
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import JsonObject

PROVISIONER, NODE = "csi-rbd-provisioner", "csi-rbd-node"

CAPS: Mapping[str, Mapping[str, str]] = {
    # Blocklisting a client is how a node that does not answer is kept from writing.
    PROVISIONER: {"mgr": "allow rw", "mon": 'profile rbd, allow command "osd blocklist"', "osd": "profile rbd"},
    NODE: {"mgr": "allow rw", "mon": "profile rbd", "osd": "profile rbd"},
}
"""What each user may do, by its name without "client."."""


@dataclass(frozen=True, slots=True)
class CreateUser:
    """Get or create the cephx user `client.<name>` with `caps`, and keep its key in its Secret."""

    name: str
    caps: Mapping[str, str] = field(repr=False)


def secret_name(user: str) -> str:
    """The Secret with a user's key."""
    return f"rook-{user}"


def analyze(cluster: CephCluster, live: Live) -> tuple[Step, ...]:
    """What to do for the users of a cluster whose mons answer. Pure.

    Args:
        cluster: The cluster.
        live: The objects of its namespace.
    """
    if cluster.spec.csi.skip_user_creation:
        return ()
    return tuple(
        Step(
            subject=f"user {name}",
            action=CreateUser(name, caps),
            reason=f"Secret {secret_name(name)} does not exist",
        )
        for name, caps in CAPS.items()
        if ("Secret", secret_name(name)) not in live
    )


def user_secret(cluster: CephCluster, name: str, key: str) -> JsonObject:
    """The Secret with a user's key, as upstream's StorageClasses expect it."""
    meta = metadata(cluster, secret_name(name), cluster_labels(cluster, "rook-ceph-csi"))
    return secret(meta, {"userID": name, "userKey": key})


def handlers(cluster: CephCluster, ceph: Cluster, applier: Applier) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def create_user(action: CreateUser) -> None:
        entity = f"client.{action.name}"
        caps = [part for subsystem, cap in sorted(action.caps.items()) for part in (subsystem, cap)]
        try:
            answer = await ceph.mon("auth get-or-create", entity=entity, caps=caps)
        except CephError as error:
            if error.errno != errno.EINVAL:
                raise
            # It exists with other capabilities, from an older release.
            await ceph.mon("auth caps", entity=entity, caps=caps)
            answer = await ceph.mon("auth get", entity=entity)
        await applier.apply(user_secret(cluster, action.name, answer[0]["key"]))

    return {CreateUser: create_user}
