"""Whether an object store can be asked, for the kinds whose objects are in one; as `access.reach` of clusters."""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from controller.ceph.access.threads import Threads
from controller.ceph.rgw.admin import AdminClient
from controller.ceph.rgw.names import (
    ACCESS_KEY,
    SECRET_KEY,
    admin_secret,
    certificate_secret,
    endpoint,
    realm_secret,
)
from controller.ceph.rgw.signed import CONNECT_TIMEOUT, READ_TIMEOUT, REGION, Signed
from controller.ceph.rgw.silence import Silence
from controller.framework.changes import changed
from controller.framework.tls import CERTIFICATE, TRUSTED

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore
    from controller.ceph.rgw.admin import Admin
    from controller.ceph.rgw.signed import Requests
    from controller.runtime.kube import Secret
    from informers import Informer

CERT, CA_BUNDLE = "cert", "cabundle"
"""Keys of Secrets: a certificate with its key, and authorities to trust; upstream's."""
REALM_ACCESS_KEY, REALM_SECRET_KEY = "access-key", "secret-key"
"""Keys of a realm's Secret; upstream's."""
_BEGIN, _END = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """An object store, and the way to it.

    Attributes:
        store: The CephObjectStore; None where there is none.
        admin: Its admin API; None where it cannot be asked.
        waits_for: What has to happen before it can be asked; empty where it can.
        endpoint: The URL by which it is reached.
        ca: The authorities, in PEM, that may have signed its certificate besides the well-known ones; None: no others.
    """

    store: CephObjectStore | None = None
    admin: Admin | None = None
    waits_for: str = ""
    endpoint: str = ""
    ca: bytes | None = field(default=None, repr=False)


class Stores:
    """Finds object stores by what the caches have of them.

    Args:
        stores: The cache of CephObjectStores.
        secrets: The cache of Secrets.
        directory: Where files with authorities are put.
    """

    def __init__(
        self, stores: Informer[CephObjectStore], secrets: Informer[Secret], directory: Path | None = None
    ) -> None:
        self._stores, self._secrets = stores, secrets
        self._directory = directory if directory is not None else Path(tempfile.gettempdir())
        self._threads: dict[tuple[str, str], Threads] = {}
        self._silences: dict[tuple[str, str], Silence] = {}
        self._admins: dict[tuple[str, str], tuple[tuple[str, ...], AdminClient]] = {}

    def reach(self, namespace: str, name: str) -> Way:
        """The store of this name, whichever phase it is in: it may still be asked while it is being deleted."""
        store = self._stores.get(namespace, name)
        if store is None:
            self._threads.pop((namespace, name), None)
            self._silences.pop((namespace, name), None)
            self._admins.pop((namespace, name), None)
            return Way(waits_for=f"CephObjectStore {name} in namespace {namespace}")
        url, ca = endpoint(store), self._authorities(store)
        keys = self.keys(store)
        if not store.status.info.get("zone") or keys is None:
            return Way(store=store, endpoint=url, ca=ca, waits_for=f"CephObjectStore {name} to be set up")
        return Way(store=store, endpoint=url, ca=ca, admin=self._admin(store, url, keys, ca))

    def requests(self, way: Way, access_key: str, secret_key: str) -> Requests:
        """What sends requests to a store as a user, where boto3 does not know all that gateways take."""
        store = way.store
        key = (store.metadata.namespace, store.metadata.name) if store is not None else ("", "")
        threads = self._threads.setdefault(key, Threads())
        silence = self._silences.setdefault(key, Silence())
        file = self._file(way.ca)
        return Signed(way.endpoint, access_key, secret_key, ca_file=file, threads=threads, silence=silence)

    def as_operator(self, way: Way) -> Requests | None:
        """What sends requests to a store as the operator's user; None where it cannot be asked."""
        keys = self.keys(way.store) if way.store is not None and way.admin is not None else None
        return None if keys is None else self.requests(way, *keys)

    def s3(self, way: Way, access_key: str, secret_key: str, service: str = "s3") -> Any:
        """A client of boto3 that acts as a user, for use in a worker thread.

        Args:
            way: A store that can be asked.
            access_key: The user's.
            secret_key: The user's.
            service: "s3", "sns" or "iam".
        """
        config = Config(
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            retries={"mode": "standard", "total_max_attempts": 2},
            # Newer checksums are not known to every release; that of the signature is.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            proxies={},
            s3={"addressing_style": "path"},
        )
        return boto3.session.Session().client(
            service,
            endpoint_url=way.endpoint,
            region_name=REGION,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            verify=self._file(way.ca) or None,
            config=config,
        )

    def beside(self, way: Way, url: str) -> Admin | None:
        """The admin API of another zone's gateways, to which the operator's user in this zone is known, too.

        Args:
            way: A store in a zone.
            url: Where the other zone's gateways are. Their certificate is trusted as the store's is.
        """
        keys = self.keys(way.store) if way.store is not None else None
        if way.store is None or keys is None:
            return None
        return self._client((way.store.metadata.namespace, url), url, keys, way.ca)

    def _admin(self, store: CephObjectStore, url: str, keys: tuple[str, str], ca: bytes | None) -> Admin:
        key = (store.metadata.namespace, store.metadata.name)
        # The phase follows what the store's own probe says of the gateways, which is sent whatever is known here.
        self._silences.setdefault(key, Silence()).about((url, store.status.phase))
        return self._client(key, url, keys, ca)

    def _client(self, key: tuple[str, str], url: str, keys: tuple[str, str], ca: bytes | None) -> Admin:
        file = self._file(ca)
        known = self._admins.get(key)
        if known is not None and known[0] == (url, file, *keys):
            return known[1]
        threads = self._threads.setdefault(key, Threads())
        silence = self._silences.setdefault(key, Silence())
        made = AdminClient(url, *keys, ca_file=file, threads=threads, silence=silence)
        self._admins[key] = (url, file, *keys), made
        return made

    def keys(self, store: CephObjectStore) -> tuple[str, str] | None:
        """The keys of the operator's user: the store's own, or in a zone the realm's, which all its zones know.

        None: there are none yet.
        """
        name, names = admin_secret(store.metadata.name), (ACCESS_KEY, SECRET_KEY)
        if store.spec.zone.name:
            name, names = realm_secret(store.status.info.get("realm", "")), (REALM_ACCESS_KEY, REALM_SECRET_KEY)
        secret = self._secrets.get(store.metadata.namespace, name)
        if secret is None or any(not secret.data.get(key) for key in names):
            return None
        access, secret_key = (secret.data[key].decode().strip() for key in names)
        return access, secret_key

    def _authorities(self, store: CephObjectStore) -> bytes | None:
        """What is to be trusted: the given authorities, and the certificate itself, as it may be signed by nobody."""
        gateway, namespace = store.spec.gateway, store.metadata.namespace
        found: list[bytes] = []
        for name, keys in (
            (certificate_secret(store), (TRUSTED, CERTIFICATE, CERT)),
            (gateway.ca_bundle_ref, (CA_BUNDLE,)),
        ):
            secret = self._secrets.get(namespace, name) if name else None
            found += [secret.data[key] for key in keys if key in secret.data] if secret is not None else []
        return b"".join(certificates(content) for content in found) or None

    def _file(self, ca: bytes | None) -> str:
        """A file with these authorities and the well-known ones; empty: only the latter."""
        if not ca:
            return ""
        path = self._directory / f"rook-ca-{sha256(ca).hexdigest()[:16]}.pem"
        if not path.exists():
            known = ssl.get_default_verify_paths().cafile
            system = Path(known).read_bytes() if known else b""
            fresh = path.with_suffix(".new")
            fresh.write_bytes(ca + system)
            fresh.replace(path)
        return str(path)


def certificates(content: bytes) -> bytes:
    """The certificates in a PEM text, without the keys that may be beside them."""
    found: list[bytes] = []
    rest = content
    while _BEGIN in rest and _END in rest:
        start = rest.index(_BEGIN)
        end = rest.find(_END, start)
        if end < 0:
            break
        found.append(rest[start : end + len(_END)] + b"\n")
        rest = rest[end + len(_END) :]
    return b"".join(found)


def _reached(store: CephObjectStore) -> tuple[object, ...]:
    return store.spec, store.status.info, store.metadata.deletion_timestamp


reached_otherwise = changed(_reached)
"""Whether a CephObjectStore came, went, or is reached in another way than before."""
