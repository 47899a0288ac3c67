"""What is done to OSDs, and how."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLUSTER
from controller.ceph.osd.prepare_job import PrepareDevices, prepare_job
from controller.framework import jobs
from controller.framework.consent import NoConsentError, read_same
from controller.runtime.kube import resource_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.ceph import CephCluster
    from controller.ceph.access.rados import Cluster
    from controller.ceph.osd.objects import Osd
    from controller.ceph.osd.reservations import Reservations
    from controller.ceph.pods import Context
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client, JsonObject

CLUSTERS = resource_of(CEPH_CLUSTER)


@dataclass(frozen=True, slots=True)
class DeployOsd:
    """Make an OSD's Deployment as it should be. It is built only when that is done: a plan may have thousands.

    Attributes:
        osd: Whose it is.
        difference: How that which is there differs, in words.
        build: Builds it.
    """

    osd: Osd
    difference: str
    build: Callable[[], JsonObject] = field(repr=False, compare=False)

    @property
    def obj(self) -> JsonObject:
        """The Deployment."""
        return self.build()


@dataclass(frozen=True, slots=True)
class RemoveOsd:
    """Remove an OSD that is out and down from the cluster for good. Ceph refuses where data would be lost."""

    osd_id: int


@dataclass(frozen=True, slots=True)
class RequireRelease:
    """End an upgrade: from now on, OSDs of an earlier release may not join. Ceph refuses while one of them is up."""

    release: str


@dataclass(frozen=True, slots=True)
class SetDeviceClass:
    """Give an OSD another device class, which can move data between pools' OSDs."""

    osd_id: int
    device_class: str


def handlers(
    cluster: CephCluster,
    context: Context,
    client: Client,
    applier: Applier,
    ceph: Cluster,
    *,
    script_image: str,
    reservations: Reservations,
) -> dict[type, Handler]:
    """How the actions of this module are carried out."""
    namespace = cluster.metadata.namespace

    async def prepare_devices(action: PrepareDevices) -> None:
        if any(target.overwrite for target in action.targets):
            fresh = await read_same(client, CLUSTERS, cluster)
            if fresh["metadata"]["generation"] != cluster.metadata.generation:
                name = f"CephCluster {namespace}/{cluster.metadata.name}"
                raise NoConsentError(f"{name}: the spec has changed since it consented that data goes: nothing is done")
        reservations.take(namespace, [i for target in action.targets for i in target.identities])
        uuids = tuple(str(uuid.uuid4()) for _ in action.targets)
        job = prepare_job(cluster.spec.storage, context, action, uuids, script_image)
        await jobs.start(client, job, action.attempt)

    async def deploy_osd(action: DeployOsd) -> None:
        await applier.apply(action.obj)

    async def remove_osd(action: RemoveOsd) -> None:
        fresh = await read_same(client, CLUSTERS, cluster)
        if fresh["spec"].get("removeOSDsIfOutAndSafeToRemove") is not True:
            name = f"CephCluster {namespace}/{cluster.metadata.name}"
            raise NoConsentError(f"{name}: spec.removeOSDsIfOutAndSafeToRemove is not true any more: it stays")
        # The mgr looks once more whether the data is safe, unless it is told "yes_i_really_mean_it", which it takes for
        # "force". The Deployment goes when the cluster has no such OSD.
        await ceph.mgr("osd purge", id=action.osd_id)

    async def set_device_class(action: SetDeviceClass) -> None:
        ids = [str(action.osd_id)]
        await ceph.mon("osd crush rm-device-class", ids=ids)
        await ceph.mon("osd crush set-device-class", **{"class": action.device_class, "ids": ids})

    async def require_release(action: RequireRelease) -> None:
        await ceph.mon("osd require-osd-release", release=action.release)

    return {
        DeployOsd: deploy_osd,
        PrepareDevices: prepare_devices,
        RemoveOsd: remove_osd,
        RequireRelease: require_release,
        SetDeviceClass: set_device_class,
    }
