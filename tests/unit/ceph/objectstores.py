"""Object stores and what there is of them, as tests describe it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CephCluster, CephObjectStore
from controller.ceph.access.config import ConfigState, digest
from controller.ceph.access.users import given
from controller.ceph.crush import Rule
from controller.ceph.objectstore.analyze import setup_work
from controller.ceph.objectstore.health import Checked
from controller.ceph.objectstore.objects import (
    context,
    gateway_budget,
    gateway_deployment,
    labels,
    service,
    store_labels,
)
from controller.ceph.objectstore.observe import StoreObservation
from controller.ceph.objectstore.spec import gateways, pools_of, settings, setup_name
from controller.ceph.pods import Release
from controller.ceph.pools.observe import PoolObservation, PoolState
from controller.ceph.releases import CephVersion
from controller.ceph.rgw.budget import Budget
from controller.ceph.rgw.names import CAPS, admin_secret, entity_of, gateway_of, keyring_name, own_place
from controller.ceph.rgw.tool import WANTED_ANNOTATION
from controller.framework.jobs import Phase, Run
from controller.framework.owned import Owned
from controller.runtime.kube import Deployment, Job
from tests.unit.ceph.cases import FSID, RELEASE, a_cluster, live_object

if TYPE_CHECKING:
    from controller.ceph.pods import Context
    from controller.ceph.rgw.names import Place
    from informers import JsonObject

NOW = "2027-01-15T08:00:00Z"
JUST_AFTER = 1800000060.0
"""Seconds since the epoch, soon after `NOW`."""
HOST = Rule("default", "host")
NEWER = Release("ceph:v18.2.9", CephVersion(18, 2, 9))
PLAIN: JsonObject = {
    "metadataPool": {"replicated": {"size": 3}},
    "dataPool": {"replicated": {"size": 3}},
    "gateway": {"port": 80, "instances": 2},
}


def a_store(
    spec: JsonObject | None = None,
    *,
    name: str = "s",
    deleting: bool = False,
    annotations: dict[str, str] | None = None,
    status: JsonObject | None = None,
) -> CephObjectStore:
    """A CephObjectStore with this spec over a plain one."""
    meta: JsonObject = {"name": name, "namespace": "rook-ceph", "uid": f"{name}-1", "generation": 2}
    meta["annotations"] = annotations or {}
    if deleting:
        meta["deletionTimestamp"] = NOW
    return msgspec.convert(
        {"metadata": meta, "spec": {**PLAIN, **(spec or {})}, "status": status or {}}, CephObjectStore
    )


def gateway(**more: Any) -> JsonObject:
    """A spec with these fields of the gateways."""
    return {"gateway": {"port": 80, "instances": 1, **more}}


def cluster(**details: str) -> CephCluster:
    """A cluster that answers, with these health checks."""
    known = {"image": RELEASE.image, "version": str(RELEASE.version)}
    checks = {code: {"severity": "HEALTH_WARN", "message": message} for code, message in details.items()}
    status = {"ceph": {"fsid": FSID, "health": "HEALTH_OK", "details": checks}, "version": known}
    return a_cluster(status=status)


def a_context(store: CephObjectStore, release: Release = RELEASE) -> Context:
    """What gateways are given of their cluster."""
    return context(store, cluster(), release)


def pool_states(store: CephObjectStore, *missing: str) -> dict[str, PoolObservation]:
    """The pools of a store as they are after its creation, but for those that are missing."""

    def seen(name: str, number: int, parameters: dict[str, str]) -> PoolObservation:
        rules = {"replicated_rule": HOST}
        if name in missing:
            return PoolObservation(rules=rules)
        values = {"size": 3, "quota_max_bytes": 0, "quota_max_objects": 0, **parameters}
        state = PoolState(pool_id=number, rule=name, applications=frozenset({"rgw"}), values=values)
        owned = {key: Owned(value, "" if key == "pg_num" else value) for key, value in parameters.items()}
        return PoolObservation(state=state, rules={**rules, name: HOST}, owned=owned)

    return {
        pool.name: seen(pool.name, number, dict(pool.spec.parameters))
        for number, pool in enumerate(pools_of(store), start=2)
    }


def a_job(store: CephObjectStore, context: Context, *, result: str = "{}", phase: Phase = Phase.COMPLETE) -> Run:
    """The Job that made a store's zone."""
    meta = {
        "name": setup_name(store),
        "uid": "j1",
        "annotations": {WANTED_ANNOTATION: setup_work(store, context).digest},
    }
    return Run(job=msgspec.convert({"metadata": meta}, Job), phase=phase, result=result)


def deployed(obj: JsonObject, *, ready: bool = True) -> Deployment:
    """A Deployment of one pod as the API server shows it."""
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1}
    if ready:
        status |= {"readyReplicas": 1, "availableReplicas": 1}
    shown = live_object(obj)
    shown["metadata"]["generation"] = 1
    return msgspec.convert({**shown, "status": status}, Deployment)


def configured(store: CephObjectStore, values: dict[str, str] | None = None) -> ConfigState:
    """The settings of a store's gateways as they should be."""
    wanted = {
        (entity_of(daemon), name): value
        for daemon in gateways(store)
        for name, value in settings(store, values or {}).items()
    }
    return ConfigState(wanted, {key: Owned(digest(value), digest(value)) for key, value in wanted.items()})


def running(
    store: CephObjectStore,
    *,
    made_for: CephObjectStore | None = None,
    unready: tuple[str, ...] = (),
    release: Release = RELEASE,
    wanted: Release = RELEASE,
    place: Place | None = None,
    **more: Any,
) -> StoreObservation:
    """A store all of which is there.

    Args:
        store: The store.
        made_for: Of what its gateways were made, where that is another spec.
        unready: Gateways that do not serve, by letter.
        release: What gateways run.
        wanted: What they should run.
        place: Where they serve.
        more: Other fields of the observation.
    """
    present, zone = made_for or store, place or own_place(store.metadata.name)
    own = a_context(present, release)
    objects = [service(present, own), *gateway_budget(present, own)]
    deployments: dict[str, Deployment] = {}
    for daemon in gateways(present):
        obj = gateway_deployment(present, own, daemon, zone, "", separate_key=False)
        deployments[daemon.id] = deployed(obj, ready=daemon.id.rpartition("-")[2] not in unready)
        objects.append(obj)
    live = {(obj["kind"], obj["metadata"]["name"]): live_object(obj) for obj in objects}
    for daemon in {gateway_of(store.metadata.name, "a"), *gateways(present)}:
        meta = own.owner.metadata(keyring_name(daemon), labels(own, daemon), annotations=given(CAPS))
        live["Secret", keyring_name(daemon)] = live_object({"kind": "Secret", "metadata": meta})
    name = admin_secret(store.metadata.name)
    live["Secret", name] = live_object({"kind": "Secret", "metadata": own.owner.metadata(name, store_labels(own))})
    context_now = a_context(store, wanted)
    seen = StoreObservation(
        now=JUST_AFTER,
        context=context_now,
        image="rook:1",
        place=zone,
        pools=pool_states(store),
        budget=Budget(osds=3),
        deployments=deployments,
        live=live,
        setup=a_job(store, context_now),
        config=configured(store),
        checked=Checked(),
        has_root=True,
    )
    return replace(seen, **more)
