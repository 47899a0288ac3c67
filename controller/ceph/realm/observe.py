"""What there is of a realm: what all of multisite is observed by, and the Secret with the keys of its system user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_REALM
from controller.ceph.multisite.ground import Ground
from controller.ceph.multisite.keys import Keys, keys_of
from controller.ceph.multisite.root import Named

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectRealm, CephObjectStore
    from controller.ceph.multisite.ground import Grounds
    from controller.framework.deletion import Dependents
    from informers import Informer


@dataclass(frozen=True, slots=True, kw_only=True)
class RealmObservation:
    """What `analyze` decides by.

    Attributes:
        ground: What all of multisite goes by.
        keys: The Secret with the keys of the realm's system user.
        taken_by: The store whose own realm has the name; empty: none.
        users: The objects that use the realm, in words; asked only while it is being deleted.
    """

    ground: Ground = field(default_factory=Ground)
    keys: Keys = field(default_factory=Keys)
    taken_by: str = ""
    users: tuple[str, ...] = ()


class Observer:
    """Observes realms.

    Args:
        grounds: Observes what all of multisite goes by.
        stores: The cache of CephObjectStores.
        dependents: What uses realms.
    """

    def __init__(
        self, grounds: Grounds, stores: Informer[CephObjectStore], dependents: Dependents[CephObjectRealm]
    ) -> None:
        self._grounds, self._stores, self._dependents = grounds, stores, dependents

    async def observe(self, realm: CephObjectRealm, now: float) -> RealmObservation:
        """What there is of a realm, or why the cluster cannot be asked."""
        meta = realm.metadata
        store = self._stores.get(meta.namespace, meta.name)
        # A store that is in no zone has a realm, a zone group and a zone of its own name.
        is_taken = store is not None and not store.spec.zone.name
        return RealmObservation(
            ground=await self._grounds.of(CEPH_OBJECT_REALM, realm, Named.REALM, now),
            keys=keys_of(self._grounds.caches.secrets, meta.namespace, meta.name),
            taken_by=f"CephObjectStore {meta.name}" if is_taken else "",
            users=self._dependents.known(realm),
        )
