"""The pools of a zone, be it a store's own or a CephObjectZone: made for it, or shared with others. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.pools import spec as pools

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import PoolSpec
    from controller.apis.ceph.object_store import SharedPoolsSpec

APPLICATION = "rgw"
"""What Ceph is told that the pools are for."""
ROOT_POOL = ".rgw.root"
"""The pool with the names of all realms, zone groups and zones of a cluster: of all its stores."""
METADATA = ("control", "meta", "log", "buckets.index", "buckets.non-ec", "otp")
DATA = "buckets.data"
METADATA_PGS = "8"
"""Placement groups that a pool for metadata starts with, and keeps: by its own rule the autoscaler makes 32 of them."""


@dataclass(frozen=True, slots=True)
class StorePool:
    """A pool of a zone.

    Attributes:
        path: The field of the spec that asks for it.
        name: Its name in Ceph.
        spec: What is asked for.
        shared: Whether it is of all stores of the cluster: it is made as the first of them asks, and then left alone.
    """

    path: str
    name: str
    spec: PoolSpec
    shared: bool = False


def pools_of(zone: str, metadata: PoolSpec, data: PoolSpec, shared: SharedPoolsSpec) -> tuple[StorePool, ...]:
    """The pools that a zone has of its own, and the one that all share; none where it has its data in shared ones.

    Args:
        zone: Its name in Ceph.
        metadata: What its pools for metadata are like.
        data: What its pool for data is like.
        shared: Pools that are there already.
    """
    if shares(shared):
        return ()
    asked = metadata.parameters
    number = asked.get("pg_num", asked.get("pg_num_min", METADATA_PGS))
    each = msgspec.structs.replace(metadata, parameters={"pg_num": number, "pg_num_min": number, **asked})
    return (
        StorePool("metadataPool", ROOT_POOL, each, shared=True),
        *(StorePool("metadataPool", f"{zone}.rgw.{name}", each) for name in METADATA),
        StorePool("dataPool", f"{zone}.rgw.{DATA}", data),
    )


def shares(shared: SharedPoolsSpec) -> bool:
    """Whether a spec names pools that are there already."""
    return bool(shared.metadata_pool_name or shared.data_pool_name or shared.pool_placements)


def shared_pool_names(shared: SharedPoolsSpec) -> tuple[str, ...]:
    """The pools that a spec names and that have to be there already."""
    names = [shared.metadata_pool_name, shared.data_pool_name]
    for placement in shared.pool_placements:
        names += [placement.metadata_pool_name, placement.data_pool_name, placement.data_non_ec_pool_name]
        names += [each.data_pool_name for each in placement.storage_classes]
    return tuple(dict.fromkeys(filter(None, names)))


def metadata_location(zone: str, shared: SharedPoolsSpec) -> tuple[str, str]:
    """The pool with what Ceph knows of buckets and users of a zone, and what its namespaces there begin with."""
    if not shares(shared):
        return f"{zone}.rgw.meta", ""
    default = next((each.metadata_pool_name for each in shared.pool_placements if each.default), "")
    return default or shared.metadata_pool_name, f"{zone}.meta"


def default_placement(shared: SharedPoolsSpec) -> str:
    """The placement of buckets that name no other one."""
    return next((placement.name for placement in shared.pool_placements if placement.default), "default-placement")


def wanted_of(zone: str, shared: SharedPoolsSpec) -> dict[str, Any]:
    """Where a zone has what in pools that are shared, for the program that makes it: namespaces have upstream's names.

    Nothing where it has pools of its own.
    """
    if not shares(shared):
        return {}
    placements: dict[str, Any] = {}
    metadata = shared.metadata_pool_name
    for placement in shared.pool_placements:
        extra, own = placement.data_non_ec_pool_name or placement.metadata_pool_name, f"{zone}.{placement.name}"
        if placement.default:
            metadata = placement.metadata_pool_name
        classes = {"STANDARD": {"data_pool": f"{placement.data_pool_name}:{own}.data"}}
        classes |= {
            each.name: {"data_pool": f"{each.data_pool_name}:{zone}.{each.name}"} for each in placement.storage_classes
        }
        placements[placement.name] = _placement(
            f"{placement.metadata_pool_name}:{own}.index", f"{extra}:{own}.data.non-ec", classes
        )
    if not any(placement.default for placement in shared.pool_placements):
        pool = f"{metadata}:{zone}.buckets"
        data = {"STANDARD": {"data_pool": f"{shared.data_pool_name}:{zone}.buckets.data"}}
        placements["default-placement"] = _placement(f"{pool}.index", f"{pool}.non-ec", data)
    return {"sharedPool": metadata, "placements": placements}


def _placement(index: str, extra: str, classes: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    return {"index_pool": index, "data_extra_pool": extra, "storage_classes": classes, "inline_data": True}


def problems(metadata: PoolSpec, data: PoolSpec, shared: SharedPoolsSpec) -> Iterator[str]:
    """Why a spec's pools cannot be, whatever the cluster has; see `pools_of`."""
    if shares(shared):
        yield from _shared_problems(shared)
        return
    if pools.is_erasure_coded(metadata):
        yield "spec.metadataPool has erasureCoded: metadata can only be replicated"
    for path, pool in (("metadataPool", metadata), ("dataPool", data)):
        yield from (f"spec.{path}: {problem}" for problem in pools.problems(pool))


def _shared_problems(shared: SharedPoolsSpec) -> Iterator[str]:
    defaults = [placement.name for placement in shared.pool_placements if placement.default]
    if len(defaults) > 1:
        yield f"spec.sharedPools.poolPlacements: {' and '.join(defaults)} are both the default: one can be"
    if not (shared.metadata_pool_name and shared.data_pool_name) and not defaults:
        yield "spec.sharedPools: set metadataPoolName and dataPoolName, or make one of poolPlacements the default"
    names = [placement.name for placement in shared.pool_placements]
    for name in sorted({each for each in names if names.count(each) > 1}):
        yield f"spec.sharedPools.poolPlacements: several are called {name}"
    for placement in shared.pool_placements:
        classes = [each.name for each in placement.storage_classes]
        for each in sorted({found for found in classes if classes.count(found) > 1 or found == "STANDARD"}):
            yield f"spec.sharedPools.poolPlacements: {placement.name} has storage class {each} twice, or it is STANDARD"


def unserved_placement(metadata: PoolSpec, data: PoolSpec, shared: SharedPoolsSpec) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    if shares(shared):
        return ()
    found = (("metadataPool", metadata), ("dataPool", data))
    return tuple(f"{path}.{field}" for path, pool in found for field in pools.unserved_placement(pool))
