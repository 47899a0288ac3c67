"""What a CephFilesystem's spec asks for, in Ceph's terms; and what of it is not served, or cannot be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephFilesystemSpec
from controller.apis.ceph.served import FILESYSTEM
from controller.ceph.filesystem.mirroring.wanted import problems as mirroring_problems
from controller.ceph.pools import spec as pools
from controller.framework.honoured import unhonoured
from controller.framework.names import letters
from controller.framework.resources import memory_bytes
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephFilesystem, PoolSpec
    from controller.apis.ceph.filesystem import MetadataServerSpec

APPLICATION = "cephfs"
"""What Ceph is told that the pools are for."""
LONGEST_NAME = 40
"""Characters of a file system's name: names and labels of its daemons are made of it."""
OF_LIMIT, OF_REQUEST = 0.5, 0.8
"""Part of the memory limit, or of the request where there is no limit, that an MDS's cache may take; upstream's."""


@dataclass(frozen=True, slots=True)
class FilesystemPool:
    """A pool of a file system.

    Attributes:
        path: The field of the spec that asks for it.
        name: Its name in Ceph.
        spec: What is asked for.
    """

    path: str
    name: str
    spec: PoolSpec


def pools_of(filesystem: CephFilesystem) -> tuple[FilesystemPool, ...]:
    """The pools that a file system has: that of its metadata, and then those of data in their order."""
    spec, own = filesystem.spec, filesystem.metadata.name

    def name(given: str, default: str) -> str:
        return given if given and spec.preserve_pool_names else f"{own}-{given or default}"

    metadata = FilesystemPool("metadataPool", name(spec.metadata_pool.name, "metadata"), spec.metadata_pool)
    data = (
        FilesystemPool(f"dataPools[{index}]", name(pool.name, f"data{index}"), pool)
        for index, pool in enumerate(spec.data_pools)
    )
    return (metadata, *data)


def mds_ids(filesystem: CephFilesystem) -> tuple[str, ...]:
    """The ids of the MDS daemons that a file system has: as many again stand by as are to serve."""
    count = 2 * filesystem.spec.metadata_server.active_count
    return tuple(f"{filesystem.metadata.name}-{letters(index)}" for index in range(count))


def cache_bytes(spec: MetadataServerSpec) -> int | None:
    """The most that an MDS's cache may take; None: Ceph's own value, as nothing is said of its memory."""
    limit = memory_bytes(spec.resources)
    if limit is not None:
        return int(limit * (OF_LIMIT if spec.cache_memory_limit_factor is None else spec.cache_memory_limit_factor))
    request = quantity((spec.resources.get("requests") or {}).get("memory", 0)) or 0
    factor = OF_REQUEST if spec.cache_memory_request_factor is None else spec.cache_memory_request_factor
    return int(float(request) * factor) or None


def problems(filesystem: CephFilesystem) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    return tuple(_problems(filesystem))


def _problems(filesystem: CephFilesystem) -> Iterator[str]:
    name, spec = filesystem.metadata.name, filesystem.spec
    if name[:1].isdigit():
        yield f"metadata.name is {name}: Ceph takes no name of an MDS that begins with a digit; choose another name"
    if len(name) > LONGEST_NAME:
        yield f"metadata.name has {len(name)} characters: at most {LONGEST_NAME} fit into the names of its daemons"
    if not spec.data_pools:
        yield "spec.dataPools is empty: a file system needs one at least"
    if pools.is_erasure_coded(spec.metadata_pool):
        yield "spec.metadataPool has erasureCoded: metadata can only be replicated"
    found = pools_of(filesystem)
    for pool in found:
        yield from (f"spec.{pool.path}: {problem}" for problem in pools.problems(pool.spec))
    names = [pool.name for pool in found]
    for pool_name in sorted({each for each in names if names.count(each) > 1}):
        paths = " and ".join(f"spec.{pool.path}" for pool in found if pool.name == pool_name)
        yield f"{paths} are both pool {pool_name}: give them different names"
    yield from mirroring_problems(filesystem)


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, FILESYSTEM, CephFilesystemSpec)


def unserved_placement(filesystem: CephFilesystem) -> tuple[str, ...]:
    """The fields that are set, are not served, and say where data goes: a pool made without them has to be emptied."""
    return tuple(f"{pool.path}.{path}" for pool in pools_of(filesystem) for path in pools.unserved_placement(pool.spec))
