"""What is in a store, in words: buckets and users, by the names of Ceph's own objects about them.

They are listed in the pool of metadata and not asked of gateways, so that a store can be deleted of which none runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.access.rados import CephError
from controller.ceph.access.threads import Lane
from controller.ceph.rgw.names import ADMIN_USER

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from controller.ceph.access.rados import RadosCluster

LISTING_TIMEOUT = 30.0
"""Seconds that it may take to list buckets and users."""
PURGE_TIMEOUT = 100.0
"""Seconds that one act of deleting objects may take."""
MOST = 1000
"""Names that are listed; more do not matter to anybody who is told of them."""
CHECKER = "rook-ceph-bucket-checker-"
"""What the name of the bucket begins with that the operator itself keeps in a store; upstream's."""
REALM = "realms_names."
"""What the names of objects about realms begin with, in pool .rgw.root."""


def checker_bucket(store: CephObjectStore) -> str:
    """The operator's own bucket in a store."""
    return f"{CHECKER}{store.metadata.uid}"


async def contents_of(ceph: RadosCluster, pool: str, namespace: str) -> tuple[str, ...]:
    """The buckets and users of a store, in words; empty: there are none.

    Args:
        ceph: The cluster.
        pool: The pool with the store's metadata, which there is.
        namespace: What the names of its namespaces there begin with; empty: it has the pool to itself.
    """
    prefix = f"{namespace}." if namespace else ""
    try:
        buckets = await _names(ceph, pool, f"{prefix}root")
        users = await _names(ceph, pool, f"{prefix}users.uid")
    except CephError as error:
        # Whoever cannot look does not know that there is nothing.
        return (f"buckets that cannot be listed ({error.message})",)
    own = sorted(name for name in buckets if not name.startswith((".bucket.meta.", CHECKER)))
    known = sorted(name for name in users if not name.endswith(".buckets") and name != ADMIN_USER)
    return (*(f"bucket {name}" for name in own), *(f"user {name}" for name in known))


async def other_realms(ceph: RadosCluster, pool: str, own: str) -> tuple[str, ...]:
    """The realms in a cluster besides a store's own.

    Raises:
        CephError: The cluster does not answer in time.
    """
    names = await _names(ceph, pool, "")
    found = (name.removeprefix(REALM) for name in names if name.startswith(REALM))
    return tuple(sorted(name for name in found if name != own))


async def remains(ceph: RadosCluster, pool: str, prefix: str) -> bool:
    """Whether a pool has an object in a namespace whose name begins so.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await ceph.use(
        lambda handle: bool(_find(handle, pool, prefix, 1)), lane=Lane.IMAGES, seconds=LISTING_TIMEOUT
    )


async def purge(ceph: RadosCluster, pool: str, prefix: str) -> bool:
    """Deletes objects of a pool in namespaces whose names begin so, as many as fit into one act.

    Returns:
        Whether none is left.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await ceph.use(lambda handle: _purge(handle, pool, prefix), lane=Lane.LONG, seconds=PURGE_TIMEOUT)


def _purge(handle: Any, pool: str, prefix: str) -> bool:
    found = _find(handle, pool, prefix, MOST)
    with handle.open_ioctx(pool) as opened:
        for namespace, locator, name in found:
            opened.set_namespace(namespace)
            opened.set_locator_key(locator)
            opened.remove_object(name)
    return len(found) < MOST


def _find(handle: Any, pool: str, prefix: str, most: int) -> list[tuple[str, str, str]]:
    """Objects as their namespace, locator and name."""
    import rados  # a system library of the operator's image, absent where only plans are computed

    found: list[tuple[str, str, str]] = []
    with handle.open_ioctx(pool) as opened:
        opened.set_namespace(rados.LIBRADOS_ALL_NSPACES)
        for each in opened.list_objects():
            if each.nspace.startswith(prefix):
                found.append((each.nspace, each.locator_key or "", each.key))
                if len(found) >= most:
                    break
    return found


async def _names(ceph: RadosCluster, pool: str, namespace: str) -> list[str]:
    return await ceph.use(lambda handle: _list(handle, pool, namespace), lane=Lane.IMAGES, seconds=LISTING_TIMEOUT)


def _list(handle: Any, pool: str, namespace: str) -> list[str]:
    found: list[str] = []
    with handle.open_ioctx(pool) as opened:
        opened.set_namespace(namespace)
        for each in opened.list_objects():
            found.append(each.key)
            if len(found) >= MOST:
                break
    return found
