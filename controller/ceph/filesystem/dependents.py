"""PersistentVolumes as what uses a file system: those whose attributes name it and its cluster's namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.framework.consent import is_forced
from controller.framework.deletion import Dependent
from controller.runtime.kube import PV

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystem
    from controller.ceph.access.volumes import ClusterVolumes
    from informers import Client


def volumes(found: ClusterVolumes) -> Dependent[CephFilesystem]:
    """PersistentVolumes; none for a file system that is to go with all that is in it, by its annotation."""

    def known(filesystem: CephFilesystem) -> list[str]:
        meta = filesystem.metadata
        return [] if is_forced(meta.annotations) else found.known_in(meta.namespace, meta.name)

    async def asked(client: Client, filesystem: CephFilesystem) -> list[str]:
        meta = filesystem.metadata
        return [] if is_forced(meta.annotations) else await found.asked_in(client, meta.namespace, meta.name)

    return Dependent(kind=PV.kind, known=known, asked=asked)
