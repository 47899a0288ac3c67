"""CephObjectStoreAccount: what `controller.framework.kind` runs for each account, and what brings about a look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE, CephObjectStore, CephObjectStoreAccount
from controller.ceph.access.threads import Threads
from controller.ceph.objectaccount.act import ACCOUNTS, handlers
from controller.ceph.objectaccount.analyze import analyze
from controller.ceph.objectaccount.observe import Observer
from controller.ceph.objectaccount.status import show
from controller.ceph.rgw.stores import reached_otherwise
from controller.ceph.rgw.work import Work
from controller.framework.deletion import Dependents, of_named, watch_users
from controller.framework.kind import ControlLoop, controller_of
from controller.runtime import in_namespace, owned_by, resource_of
from controller.runtime.kube import SECRET, Secret

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ceph.objectaccount.observe import AccountObservation
    from controller.ceph.rgw.stores import Stores
    from controller.framework.deletion import Dependent
    from controller.framework.plan import Handler
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory

STORES = resource_of(CEPH_OBJECT_STORE)
FINALIZER = "cephobjectstoreaccount.ceph.rook.io"


def of_store(informers: InformerFactory) -> Dependent[HasMetadata]:
    """Accounts as what uses the store that they name."""
    kind = CephObjectStoreAccount
    return of_named(informers.informer(ACCOUNTS, kind), kind, lambda account: account.spec.store)


def register(
    manager: Manager,
    settings: Settings,
    stores: Stores,
    *,
    dependents: Sequence[Dependent[CephObjectStoreAccount]] = (),
    threads: Threads | None = None,
) -> None:
    """Has `manager` reconcile CephObjectStoreAccounts.

    Args:
        manager: The process.
        settings: The operator's settings.
        stores: Ways to the object stores.
        dependents: What uses an account.
        threads: Where S3 is asked.
    """
    threads = threads if threads is not None else Threads()
    using = Dependents(dependents)
    accounts = manager.informers.informer(ACCOUNTS, CephObjectStoreAccount)
    secrets = manager.informers.informer(SECRET, Secret)

    def ways(account: CephObjectStoreAccount, seen: AccountObservation) -> Mapping[type, Handler]:
        """None while there is no way to the store: nothing is planned then."""
        way = stores.reach(account.metadata.namespace, account.spec.store)
        if way.admin is None:
            return {}
        work, asking = Work(stores, threads, way), using.asking(manager.client, account)
        return handlers(account, seen, manager.client, manager.applier, work, asking)

    loop = ControlLoop(
        resource=ACCOUNTS,
        finalizer=FINALIZER,
        observe=Observer(stores, secrets, using).observe,
        analyze=analyze,
        handlers=ways,
        show=show,
    )
    controller = controller_of(manager, loop, accounts, workers=settings.workers)
    controller.watch(secrets, owned_by(ACCOUNTS))
    controller.watch(
        manager.informers.informer(STORES, CephObjectStore), in_namespace(accounts), predicate=reached_otherwise
    )
    watch_users(controller, dependents, in_namespace(accounts))
    manager.add(controller)
