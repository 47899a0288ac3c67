"""The accounts that users name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.objectuser.spec import store_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreAccount, CephObjectStoreUser
    from informers import Informer


class Accounts:
    """Finds accounts.

    Args:
        objects: The cache of CephObjectStoreAccounts.
    """

    def __init__(self, objects: Informer[CephObjectStoreAccount]) -> None:
        self._objects = objects

    def named_by(self, user: CephObjectStoreUser) -> tuple[str, str]:
        """The id of the account that a user's spec names, empty: none; and what has to happen before it is known."""
        reference = user.spec.account_ref
        if reference is None:
            return "", ""
        namespace, store = store_of(user)
        for found in self._objects.list(namespace):
            if found.spec.store != store or reference.name not in (found.metadata.name, found.spec.name):
                continue
            if found.status.phase == "Ready" and found.status.account_id:
                return found.status.account_id, ""
            return "", f"CephObjectStoreAccount {found.metadata.name} to be Ready"
        return "", f"a CephObjectStoreAccount {reference.name} in namespace {namespace}"
