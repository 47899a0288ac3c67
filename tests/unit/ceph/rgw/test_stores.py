"""Ways to object stores: whose keys, which endpoint, whom to trust."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CephObjectStore
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.names import allows, endpoint, entity_of, gateway_of
from controller.ceph.rgw.signed import UnreachableError
from controller.ceph.rgw.stores import Stores, certificates
from controller.runtime.kube import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from informers import Informer, JsonObject

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
PRIVATE = b"-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"
SET_UP = {"info": {"realm": "s", "zoneGroup": "s", "zone": "s"}}
TLS = {"securePort": 443, "sslCertificateRef": "tls"}


def a_store(gateway: JsonObject | None = None, **more: Any) -> CephObjectStore:
    status = more.pop("status", SET_UP)
    meta = {"name": "s", "namespace": "rook-ceph", "uid": "u"}
    obj = {"metadata": meta, "spec": {"gateway": gateway or {"port": 80}, **more}, "status": status}
    return msgspec.convert(obj, CephObjectStore)


ADMIN = Secret(data={"accessKey": b"AK", "secretKey": b"SK"})
REALM = Secret(data={"access-key": b"RK", "secret-key": b"RS"})


def stores(store: CephObjectStore | None, tmp_path: Path, **secrets: Secret) -> Stores:
    def found(table: dict[tuple[str, str], Any]) -> Any:
        return SimpleNamespace(get=lambda namespace, name: table.get((namespace, name)))

    named = {("rook-ceph", name.replace("_", "-")): secret for name, secret in secrets.items()}
    objects = {} if store is None else {("rook-ceph", "s"): store}
    return Stores(
        cast("Informer[CephObjectStore]", found(objects)), cast("Informer[Secret]", found(named)), directory=tmp_path
    )


@pytest.mark.parametrize(
    ("gateway", "hosting", "url"),
    [
        ({"port": 80}, {}, "http://rook-ceph-rgw-s.rook-ceph.svc:80"),
        ({}, {}, "http://rook-ceph-rgw-s.rook-ceph.svc:80"),
        (TLS, {}, "https://rook-ceph-rgw-s.rook-ceph.svc:443"),
        ({"port": 80, **TLS}, {}, "https://rook-ceph-rgw-s.rook-ceph.svc:443"),
        (
            {"port": 80},
            {"advertiseEndpoint": {"dnsName": "s3.example.org", "port": 8443, "useTls": True}},
            "https://s3.example.org:8443",
        ),
    ],
)
def test_the_endpoint(gateway: JsonObject, hosting: JsonObject, url: str) -> None:
    assert endpoint(a_store(gateway, hosting=hosting)) == url


@pytest.mark.parametrize(
    ("store", "secrets", "waits_for"),
    [
        (None, {}, "CephObjectStore s in namespace rook-ceph"),
        (a_store(status={}), {"rgw_admin_ops_user_s": ADMIN}, "CephObjectStore s to be set up"),
        (a_store(), {}, "CephObjectStore s to be set up"),
        (a_store(), {"rgw_admin_ops_user_s": ADMIN}, ""),
        (a_store(zone={"name": "z"}), {"rgw_admin_ops_user_s": ADMIN}, "CephObjectStore s to be set up"),
        (a_store(zone={"name": "z"}), {"s_keys": REALM}, ""),
    ],
)
def test_what_has_to_happen_before_it_can_be_asked(
    store: CephObjectStore | None, secrets: dict[str, Secret], waits_for: str, tmp_path: Path
) -> None:
    way = stores(store, tmp_path, **secrets).reach("rook-ceph", "s")

    assert (way.waits_for, way.admin is None) == (waits_for, bool(waits_for))


def test_the_way_stays_the_same_until_its_keys_or_authorities_change(tmp_path: Path) -> None:
    found = stores(a_store(), tmp_path, rgw_admin_ops_user_s=ADMIN)
    first, second = (found.reach("rook-ceph", "s").admin for _ in range(2))

    assert first is not None
    assert first is second


def test_authorities_are_trusted_and_private_keys_left_out(tmp_path: Path) -> None:
    tls, bundle = Secret(data={"cert": PRIVATE + CERTIFICATE}), Secret(data={"cabundle": CERTIFICATE})
    store = a_store({**TLS, "caBundleRef": "ca"})
    way = stores(store, tmp_path, rgw_admin_ops_user_s=ADMIN, tls=tls, ca=bundle).reach("rook-ceph", "s")

    assert way.ca == CERTIFICATE * 2
    (path,) = tmp_path.glob("rook-ca-*.pem")
    assert path.read_bytes().startswith(CERTIFICATE * 2)
    assert b"PRIVATE" not in path.read_bytes()


def test_certificates_of_a_text() -> None:
    assert certificates(b"x" + CERTIFICATE + PRIVATE + CERTIFICATE) == CERTIFICATE * 2
    assert certificates(PRIVATE) == b""
    assert certificates(b"-----END CERTIFICATE-----" + CERTIFICATE[:40]) == b""


@pytest.mark.parametrize("service", ["s3", "sns", "iam"])
def test_clients_of_users_go_to_the_endpoint(service: str, tmp_path: Path) -> None:
    found = stores(a_store(), tmp_path, rgw_admin_ops_user_s=ADMIN)
    client = found.s3(found.reach("rook-ceph", "s"), "AK", "SK", service)

    assert client.meta.endpoint_url == "http://rook-ceph-rgw-s.rook-ceph.svc:80"


async def test_whatever_asks_a_store_that_is_silent_is_told_by_one_request(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        hosting = {"advertiseEndpoint": {"dnsName": "127.0.0.1", "port": nobody.getsockname()[1], "useTls": False}}
        found = stores(a_store(hosting=hosting), tmp_path, rgw_admin_ops_user_s=ADMIN)
        way = found.reach("rook-ceph", "s")
        assert way.admin is not None
        with pytest.raises(AdminError) as first:
            await way.admin.get("user", uid="u")

        # Whoever connects now is heard, and gets no answer.
        nobody.listen()
        later = found.reach("rook-ceph", "s")
        assert later.admin is not None
        with pytest.raises(AdminError) as second:
            await later.admin.get("user", uid="u")
        with pytest.raises(UnreachableError) as third:
            await found.requests(later, "AK2", "SK2").send("GET", "/", {})
        nobody.settimeout(0)
        with pytest.raises(BlockingIOError):
            nobody.accept()
    assert (str(second.value), str(third.value)) == (str(first.value), first.value.message)


def test_which_namespaces_may_have_users() -> None:
    store = a_store(allowUsersInNamespaces=["team"])

    assert [allows(store, ns) for ns in ("rook-ceph", "team", "other")] == [True, True, False]
    assert allows(a_store(allowUsersInNamespaces=["*"]), "other")


def test_a_gateway_has_upstreams_names() -> None:
    daemon = gateway_of("my-store", "a")

    assert (daemon.name, entity_of(daemon)) == ("rook-ceph-rgw-my-store-a", "client.rgw.my.store.a")
