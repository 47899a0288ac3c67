"""Users by their name in the store: objects of several namespaces may ask for the same one, and the first has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.objectuser.spec import store_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.apis.ceph import CephObjectStoreUser
    from informers import Informer

BY_NAME, BY_STORE = "rgw-user", "rgw-store"
"""The indices of CephObjectStoreUsers: by store and name in it, and by store."""


def _key(user: CephObjectStoreUser) -> str:
    return "/".join((*store_of(user), user.metadata.name))


class Users:
    """Finds users by name. There is one for an informer, whose indices it adds.

    Args:
        objects: The cache of CephObjectStoreUsers.
    """

    def __init__(self, objects: Informer[CephObjectStoreUser]) -> None:
        self.objects = objects
        objects.add_index(BY_NAME, lambda user: (_key(user),))
        objects.add_index(BY_STORE, lambda user: ("/".join(store_of(user)),))

    def alike(self, user: CephObjectStoreUser) -> list[tuple[str, str]]:
        """Namespace and name of each object that asks for the same user."""
        return list(self.objects.keys_by_index(BY_NAME, _key(user)))

    def of_store(self, namespace: str, name: str) -> list[tuple[str, str]]:
        """Namespace and name of each user in a store."""
        return list(self.objects.keys_by_index(BY_STORE, f"{namespace}/{name}"))

    def holder(self, user: CephObjectStoreUser, allowed: Callable[[str], bool]) -> CephObjectStoreUser | None:
        """The object that has the user: the oldest of those whose namespace is allowed; None: there is none."""
        found = (self.objects.get(*key) for key in self.alike(user))
        able = (other for other in found if other is not None and allowed(other.metadata.namespace))
        return min(able, key=_age, default=None)


def _age(user: CephObjectStoreUser) -> tuple[str, str, str]:
    meta = user.metadata
    return meta.creation_timestamp or "", meta.namespace, meta.name
