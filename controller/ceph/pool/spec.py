"""What a CephBlockPool's spec asks for beside what every pool has; and what of it is not served. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph.pool import NamedBlockPoolSpec
from controller.apis.ceph.served import POOL
from controller.ceph.mirroring.wanted import problems_of_pool
from controller.ceph.pools import spec as pools
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBlockPool

APPLICATIONS: Mapping[str, str] = {".mgr": "mgr", ".nfs": "nfs", ".rgw.root": "rgw"}
"""What Ceph's own pools are for; every other pool of a CephBlockPool is for rbd."""


def pool_name(pool: CephBlockPool) -> str:
    """The pool's name in Ceph."""
    return pool.spec.name or pool.metadata.name


def application(spec: NamedBlockPoolSpec) -> str:
    """What the pool is for."""
    return spec.application or APPLICATIONS.get(spec.name, "rbd")


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, POOL, NamedBlockPoolSpec)


def problems(spec: NamedBlockPoolSpec) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    return (*pools.problems(spec), *problems_of_pool(spec))
