"""Pools and what the cluster has of them, as tests describe them."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.apis.ceph import CephBlockPool
from controller.ceph.crush import Rule
from controller.ceph.pool.observe import BlockPoolObservation
from controller.ceph.pools.observe import PoolState

HOST = Rule("default", "host")
NOW = "2027-01-15T08:00:00Z"


def pool(
    spec: dict[str, Any] | None = None, *, deleting: bool = False, annotations: dict[str, str] | None = None
) -> CephBlockPool:
    meta: dict[str, Any] = {"name": "replicapool", "namespace": "rook-ceph", "uid": "p1", "generation": 3}
    meta["annotations"] = annotations or {}
    if deleting:
        meta["deletionTimestamp"] = NOW
    return msgspec.convert({"metadata": meta, "spec": spec or {"replicated": {"size": 3}}}, CephBlockPool)


def replicated(**fields: Any) -> dict[str, Any]:
    return {"replicated": {"size": 3}, **fields}


def coded(**fields: Any) -> dict[str, Any]:
    return {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}, **fields}


def present(**fields: Any) -> PoolState:
    """The pool as it is after its creation."""
    values = {"size": 3, "min_size": 2, "quota_max_bytes": 0, "quota_max_objects": 0, **fields.pop("values", {})}
    return PoolState(
        **{"pool_id": 7, "rule": "replicapool", "applications": frozenset({"rbd"}), "values": values, **fields}
    )


def seen(state: PoolState | None = None, **fields: Any) -> BlockPoolObservation:
    rules = {"replicated_rule": HOST, **({"replicapool": HOST} if state is not None else {})}
    return BlockPoolObservation(**{"state": state, "rules": rules, "device_classes": frozenset({"ssd"}), **fields})
