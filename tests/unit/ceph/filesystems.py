"""File systems and what there is of them, as tests describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephCluster, CephFilesystem
from controller.ceph.access.filesystems import FilesystemState, Mds
from controller.ceph.access.users import given
from controller.ceph.crush import Rule
from controller.ceph.filesystem.mds import CAPS
from controller.ceph.filesystem.objects import context, keyring_name, labels, mds_budget, mds_deployment
from controller.ceph.filesystem.observe import FilesystemObservation
from controller.ceph.filesystem.spec import mds_ids, pools_of
from controller.ceph.pods import Release
from controller.ceph.pools.observe import PoolObservation, PoolState
from controller.ceph.releases import CephVersion
from controller.framework.owned import Owned
from controller.runtime.kube import Deployment
from tests.unit.ceph.cases import FSID, RELEASE, a_cluster, live_object

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.ceph.pods import Context
    from informers import JsonObject

NOW = "2027-01-15T08:00:00Z"
HOST = Rule("default", "host")
PROFILE = {"k": "2", "m": "1", "crush-failure-domain": "host", "crush-root": "default"}
NEWER = Release("ceph:v18.2.9", CephVersion(18, 2, 9))
PLAIN: JsonObject = {
    "metadataPool": {"replicated": {"size": 3}},
    "dataPools": [{"replicated": {"size": 3}}],
    "metadataServer": {"activeCount": 1},
}


def a_filesystem(
    spec: JsonObject | None = None,
    *,
    name: str = "myfs",
    deleting: bool = False,
    annotations: dict[str, str] | None = None,
    status: JsonObject | None = None,
) -> CephFilesystem:
    """A CephFilesystem with this spec over a plain one."""
    meta: JsonObject = {"name": name, "namespace": "rook-ceph", "uid": "f1", "generation": 2}
    meta["annotations"] = annotations or {}
    if deleting:
        meta["deletionTimestamp"] = NOW
    obj = {"metadata": meta, "spec": {**PLAIN, **(spec or {})}, "status": status or {}}
    return msgspec.convert(obj, CephFilesystem)


def servers(active: int, **more: Any) -> JsonObject:
    """A spec with so many MDS daemons that serve."""
    return {"metadataServer": {"activeCount": active, **more}}


def cluster() -> CephCluster:
    """A cluster that answers."""
    known = {"image": RELEASE.image, "version": str(RELEASE.version)}
    return a_cluster(status={"ceph": {"fsid": FSID, "health": "HEALTH_OK"}, "version": known})


def a_context(filesystem: CephFilesystem, release: Release = RELEASE) -> Context:
    """What MDS daemons are given of their cluster."""
    return context(filesystem, cluster(), release)


def pool_states(filesystem: CephFilesystem, **fields: Any) -> dict[str, PoolObservation]:
    """The pools of a file system as they are after their creation: numbers 1, 2 and so on."""
    found: dict[str, PoolObservation] = {}
    for number, pool in enumerate(pools_of(filesystem), start=1):
        coded = pool.spec.erasure_coded.data_chunks > 0
        values = {"size": pool.spec.replicated.size, "quota_max_bytes": 0, "quota_max_objects": 0}
        state = PoolState(
            pool_id=number,
            erasure=coded,
            rule=pool.name,
            applications=frozenset({"cephfs"}),
            values={**values, **({"allow_ec_overwrites": True} if coded else {})},
        )
        found[pool.name] = PoolObservation(
            **{
                "state": state,
                "rules": {"replicated_rule": HOST, pool.name: HOST},
                "device_classes": frozenset({"ssd"}),
                "profile": {"k": "2", "m": "1", "crush-failure-domain": "host", "crush-root": "default"}
                if coded
                else {},
                "owned": {"allow_ec_overwrites": Owned("true", "True")} if coded else {},
                **fields,
            }
        )
    return found


def no_pools(filesystem: CephFilesystem) -> dict[str, PoolObservation]:
    """What there is of the pools of a file system that has none yet."""
    return {pool.name: PoolObservation(rules={"replicated_rule": HOST}) for pool in pools_of(filesystem)}


def a_state(*active: str, following: Iterable[tuple[str, int]] = (), **fields: Any) -> FilesystemState:
    """A file system whose ranks 0, 1 and so on these daemons hold, and others follow."""
    daemons = [Mds(name, rank, "up:active") for rank, name in enumerate(active)]
    daemons += [Mds(name, rank, "up:standby-replay") for name, rank in following]
    return FilesystemState(
        **{
            "fscid": 1,
            "max_mds": max(len(active), 1),
            "ranks": tuple(range(len(active))),
            "daemons": tuple(daemons),
            "metadata_pool": 1,
            "data_pools": (2,),
            **fields,
        }
    )


def deployed(
    filesystem: CephFilesystem, mds: str, release: Release = RELEASE, *, rolled_out: bool = True
) -> tuple[JsonObject, Deployment]:
    """A daemon's Deployment as the API server has it, and the typed view of it."""
    obj = live_object(mds_deployment(filesystem, a_context(filesystem, release), mds))
    status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(rolled_out)}
    return obj, msgspec.convert({**obj, "status": status}, Deployment)


def keyring(filesystem: CephFilesystem, mds: str) -> JsonObject:
    """The Secret with a daemon's key."""
    meta = {
        "name": keyring_name(mds),
        "namespace": "rook-ceph",
        "uid": f"uid-{mds}",
        "annotations": given(CAPS),
        "labels": labels(a_context(filesystem), mds),
    }
    return {"kind": "Secret", "metadata": meta}


def running(
    filesystem: CephFilesystem,
    state: FilesystemState | None,
    *,
    ids: Iterable[str] = (),
    releases: dict[str, Release] | None = None,
    down: Iterable[str] = (),
    wanted: Release = RELEASE,
    **fields: Any,
) -> FilesystemObservation:
    """A file system whose MDS daemons run.

    Args:
        filesystem: The CephFilesystem.
        state: What the mons have of it.
        ids: The daemons that are deployed; by default those that the spec asks for.
        releases: What they run, where it is not the plain release.
        down: Those of them that do not run.
        wanted: What they should run.
        fields: Other attributes of the observation.
    """
    names = tuple(ids) or mds_ids(filesystem)
    found = {
        mds: deployed(filesystem, mds, (releases or {}).get(mds, RELEASE), rolled_out=mds not in set(down))
        for mds in names
    }
    live: dict[tuple[str, str], JsonObject] = {}
    for mds, (obj, _) in found.items():
        live["Deployment", obj["metadata"]["name"]] = obj
        live["Secret", keyring_name(mds)] = keyring(filesystem, mds)
    for budget in mds_budget(a_context(filesystem)):
        live["PodDisruptionBudget", budget["metadata"]["name"]] = live_object(budget)
    used = {mds.name for mds in state.daemons} if state is not None else set()
    seen = FilesystemObservation(
        context=a_context(filesystem, wanted),
        state=state,
        standbys=frozenset(set(names) - used - set(down)),
        pools=pool_states(filesystem),
        deployments={mds: view for mds, (_, view) in found.items()},
        live=live,
        groups=("csi",),
    )
    return replace(seen, **fields)
