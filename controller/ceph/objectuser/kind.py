"""CephObjectStoreUser: what `controller.framework.kind` runs for each user, and what brings about a look."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from controller.apis.ceph import (
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_STORE_ACCOUNT,
    CephObjectStore,
    CephObjectStoreAccount,
    CephObjectStoreUser,
)
from controller.ceph.objectuser.accounts import Accounts
from controller.ceph.objectuser.act import USERS, handlers
from controller.ceph.objectuser.analyze import analyze
from controller.ceph.objectuser.keys import KeySecrets, secrets_named
from controller.ceph.objectuser.observe import Observer
from controller.ceph.objectuser.spec import secret_name, store_of
from controller.ceph.objectuser.status import show
from controller.ceph.rgw.stores import reached_otherwise
from controller.ceph.rgw.taken import InStores
from controller.framework.changes import appeared_or_went, changed
from controller.framework.deletion import Dependent, Dependents
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import Request, in_namespace, resource_of
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ceph.objectuser.observe import UserObservation
    from controller.ceph.rgw.stores import Stores
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Client, InformerFactory

ACCOUNTS, STORES = resource_of(CEPH_OBJECT_STORE_ACCOUNT), resource_of(CEPH_OBJECT_STORE)
FINALIZER = "cephobjectstoreuser.ceph.rook.io"

BY_SECRET = "secrets"  # noqa: S105  the name of an index
"""The index of CephObjectStoreUsers by the Secrets that they read, and the one that they write."""


def of_store(informers: InformerFactory) -> Dependent[CephObjectStore]:
    """Users as what uses the store that they name; those of other namespaces too."""
    users = informers.informer(USERS, CephObjectStoreUser)

    def known(store: CephObjectStore) -> list[str]:
        place = (store.metadata.namespace, store.metadata.name)
        return [_where(user, place[0]) for user in users.list(None) if store_of(user) == place]

    async def asked(client: Client, store: CephObjectStore) -> list[str]:
        namespaces = sorted({*(namespace for namespace, _ in users.keys(None)), store.metadata.namespace})
        place, found = (store.metadata.namespace, store.metadata.name), []
        for namespace in namespaces:
            for user in await client.list(USERS, namespace):
                spec, meta = user["spec"], user["metadata"]
                if (spec.get("clusterNamespace") or meta["namespace"], spec.get("store")) == place:
                    found.append(meta["name"] if namespace == place[0] else f"{namespace}/{meta['name']}")
        return found

    return Dependent(kind=USERS.kind, known=known, asked=asked, objects=users)


def of_account(informers: InformerFactory) -> Dependent[CephObjectStoreAccount]:
    """Users as what uses the account that they name."""
    users = informers.informer(USERS, CephObjectStoreUser)

    def named(account: CephObjectStoreAccount) -> tuple[str, ...]:
        return tuple(filter(None, (account.metadata.name, account.spec.name)))

    def known(account: CephObjectStoreAccount) -> list[str]:
        meta, names = account.metadata, named(account)
        return [
            _where(user, meta.namespace)
            for user in users.list(None)
            if user.spec.account_ref is not None
            and user.spec.account_ref.name in names
            and store_of(user) == (meta.namespace, account.spec.store)
        ]

    async def asked(client: Client, account: CephObjectStoreAccount) -> list[str]:
        found = await client.list(USERS, account.metadata.namespace)
        refs = ((one["metadata"]["name"], (one["spec"].get("accountRef") or {}).get("name")) for one in found)
        return [name for name, ref in refs if ref in named(account)]

    return Dependent(kind=USERS.kind, known=known, asked=asked, objects=users)


def register(
    manager: Manager,
    settings: Settings,
    stores: Stores,
    *,
    dependents: Sequence[Dependent[CephObjectStoreUser]] = (),
) -> None:
    """Has `manager` reconcile CephObjectStoreUsers.

    Args:
        manager: The process.
        settings: The operator's settings.
        stores: Ways to the object stores.
        dependents: What uses a user.
    """
    using = Dependents(dependents)
    objects = manager.informers.informer(USERS, CephObjectStoreUser)
    objects.add_index(
        BY_SECRET,
        lambda user: tuple(f"{user.metadata.namespace}/{name}" for name in {secret_name(user), *secrets_named(user)}),
    )
    users = InStores(objects, store_of)
    secrets = manager.informers.informer(SECRET, Secret)
    accounts = manager.informers.informer(ACCOUNTS, CephObjectStoreAccount)
    found = manager.informers.informer(STORES, CephObjectStore)

    def ways(user: CephObjectStoreUser, seen: UserObservation) -> Mapping[type, Handler]:
        """None while there is no way to the store: nothing is planned then."""
        admin = stores.reach(*store_of(user)).admin
        if admin is None:
            return {}
        return handlers(user, seen, manager.client, manager.applier, admin, using.asking(manager.client, user))

    loop = ControlLoop(
        resource=USERS,
        finalizer=FINALIZER,
        observe=Observer(stores, users, Accounts(accounts), secrets, KeySecrets(secrets), using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, objects, workers=settings.workers)

    def reading(secret: Secret) -> Iterable[Request]:
        """Those that read this Secret, or write it, or would, were it not another's."""
        meta = secret.metadata
        return itertools.starmap(Request, objects.keys_by_index(BY_SECRET, f"{meta.namespace}/{meta.name}"))

    controller.watch(secrets, reading)
    controller.watch(objects, users.alike, predicate=appeared_or_went)
    controller.watch(accounts, in_namespace(objects), predicate=changed(_account))
    controller.watch(found, users.of_store, predicate=reached_otherwise)
    manager.add(controller)


def _account(account: CephObjectStoreAccount) -> tuple[str, str]:
    return account.status.phase, account.status.account_id


def _where(user: CephObjectStoreUser, namespace: str) -> str:
    meta = user.metadata
    return meta.name if meta.namespace == namespace else f"{meta.namespace}/{meta.name}"
