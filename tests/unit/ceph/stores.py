"""An object store whose gateways are those of a test."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from controller.apis.ceph import CephObjectStore
from controller.ceph.access.threads import Threads
from controller.ceph.rgw.names import ADMIN_USER, endpoint
from controller.ceph.rgw.stores import Stores, Way
from tests.unit.ceph.gateway_s3 import S3, Signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.ceph.access.threads import Lane
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.signed import Requests
    from informers import JsonObject
    from tests.unit.ceph.gateways import Gateways


def a_store(spec: JsonObject | None = None, *, name: str = "my-store", namespace: str = "rook-ceph") -> CephObjectStore:
    """A CephObjectStore that is set up."""
    obj = {
        "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}"},
        "spec": {"gateway": {"port": 80}, **(spec or {})},
        "status": {"phase": "Ready", "info": {"realm": name, "zone": name}},
    }
    return msgspec.convert(obj, CephObjectStore)


def a_secure_store(name: str = "store", namespace: str = "rook-ceph") -> CephObjectStore:
    """One that speaks HTTPS."""
    return a_store({"gateway": {"securePort": 443, "sslCertificateRef": "tls"}}, name=name, namespace=namespace)


class OneStore(Stores):
    """Ways to one store, whose gateways are those of a test.

    Attributes:
        store: None: there is no store.
        ready: Whether it is set up.
    """

    def __init__(self, gateways: Gateways, store: CephObjectStore | None) -> None:
        super().__init__(cast("Any", SimpleNamespace()), cast("Any", SimpleNamespace()))
        self.gateways, self.store, self.ready = gateways, store, True

    def reach(self, namespace: str, name: str) -> Way:
        store = self.store
        if store is None or (namespace, name) != (store.metadata.namespace, store.metadata.name):
            return Way(waits_for=f"CephObjectStore {name} in namespace {namespace}")
        if not self.ready:
            return Way(store=store, waits_for=f"CephObjectStore {name} to be set up")
        admin: Admin = self.gateways
        return Way(store=store, admin=admin, endpoint=endpoint(store))

    def as_operator(self, way: Way) -> Requests | None:
        if way.admin is None:
            return None
        if ADMIN_USER not in self.gateways.users:
            self.gateways.add_user(ADMIN_USER)
        return self.requests(way, *self.gateways.key_of(ADMIN_USER))

    def s3(self, way: Way, access_key: str, secret_key: str, service: str = "s3") -> Any:
        return S3(self.gateways, access_key, secret_key)

    def requests(self, way: Way, access_key: str, secret_key: str) -> Requests:
        return Signed(self.gateways, access_key, secret_key)


class Inline(Threads):
    """Runs at once what would run in a thread."""

    async def run[T](
        self, lane: Lane, function: Callable[[], T], *, seconds: float, settled: Callable[[], None] | None = None
    ) -> T:
        return function()
