"""What is done for mgrs, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access import modules, users
from controller.ceph.mgr.objects import ROLE_LABEL
from controller.runtime.kube import POD
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from controller.runtime.apply import Applier
    from informers import Client


@dataclass(frozen=True, slots=True)
class LabelMgr:
    """Label a mgr's pod by the part that it plays."""

    pod: str
    role: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete a cephx user that no daemon uses any more."""

    entity: str


def handlers(owner: Owner, client: Client, applier: Applier, ceph: Cluster) -> dict[type, Handler]:
    """How the actions for mgrs are carried out in a cluster that answers."""

    async def label_mgr(action: LabelMgr) -> None:
        body = {"metadata": {"labels": {ROLE_LABEL: action.role}}}
        await client.patch(POD, owner.namespace, action.pod, body, content_type=MERGE_PATCH)

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {
        LabelMgr: label_mgr,
        **users.handlers(owner, applier, ceph),
        RemoveUser: remove_user,
        **modules.handlers(ceph),
    }
