"""Identity and keys of a cluster: its fsid, cephx keys and keyrings, and the Secrets that keep them.

The Secret `rook-ceph-mon` is the cluster's identity. It is created once, never written over, and has no owner, so that
deleting a CephCluster by mistake does not lose the only copy of the keys to data that is still on the disks.
Format of keys and names of Secrets: https://rook.io/docs/rook/latest/Troubleshooting/disaster-recovery/
"""

from __future__ import annotations

import base64
import secrets
import struct
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

IDENTITY_SECRET = "rook-ceph-mon"  # noqa: S105  # the Secret's name
MONS_KEYRING_SECRET = "rook-ceph-mons-keyring"  # noqa: S105
ADMIN_KEYRING_SECRET = "rook-ceph-admin-keyring"  # noqa: S105
KEYRING_KEY = "keyring"
ADMIN_USER = "client.admin"
SECRET_TYPE = "kubernetes.io/rook"  # noqa: S105  # the type that upstream gives its Secrets

_KEY_TYPE_AES = 1
_KEY_LENGTH = 16

type JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Identity:
    """Which cluster this is, and the keys that open it."""

    fsid: str
    mon_key: str = field(repr=False)
    admin_key: str = field(repr=False)
    admin_user: str = ADMIN_USER


def generate_key() -> str:
    """A new cephx key: base64 of type, creation time, length and 16 random bytes, as `ceph-authtool --gen-key` makes it.

    It is of type AES, which every release and every kernel client understands.
    """
    header = struct.pack("<HIIH", _KEY_TYPE_AES, int(time.time()), 0, _KEY_LENGTH)
    return base64.b64encode(header + secrets.token_bytes(_KEY_LENGTH)).decode()


def generate_identity() -> Identity:
    """A cluster that has not been before."""
    return Identity(fsid=str(uuid.uuid4()), mon_key=generate_key(), admin_key=generate_key())


def keyring(entity: str, key: str, caps: Mapping[str, str] | None = None) -> str:
    """The text of a keyring file for one entity, such as "mgr.a".

    `caps` count only where the keyring is imported: in the keyring that a mon makes its store from.
    """
    lines = [f"[{entity}]", f"\tkey = {key}"]
    lines += [f'\tcaps {subsystem} = "{caps[subsystem]}"' for subsystem in sorted(caps or {})]
    return "\n".join(lines) + "\n"


def mons_keyring(identity: Identity) -> str:
    """The keyring from which a mon makes its store: its own key, shared by all mons, and the administrator's."""
    everything = {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
    return keyring("mon.", identity.mon_key, {"mon": "allow *"}) + keyring(
        identity.admin_user, identity.admin_key, everything
    )


def identity_secret(namespace: str, identity: Identity, labels: Mapping[str, str]) -> JsonObject:
    """The Secret `rook-ceph-mon`, with upstream's keys."""
    data = {
        "cluster-name": namespace,
        "fsid": identity.fsid,
        "mon-secret": identity.mon_key,
        "admin-secret": identity.admin_key,
        "ceph-username": identity.admin_user,
        "ceph-secret": identity.admin_key,
    }
    return _secret(namespace, IDENTITY_SECRET, data, labels)


def parse_identity(data: Mapping[str, bytes]) -> Identity:
    """What the Secret `rook-ceph-mon` says, be it ours or upstream's.

    Raises:
        ValueError: A key is missing; the message names it.
    """
    admin_key = data.get("ceph-secret") or data.get("admin-secret")
    missing = [name for name in ("fsid", "mon-secret") if not data.get(name)] + ([] if admin_key else ["ceph-secret"])
    if missing or not admin_key:
        raise ValueError(f"Secret {IDENTITY_SECRET} lacks {', '.join(missing)}: restore it from a backup")
    return Identity(
        fsid=data["fsid"].decode(),
        mon_key=data["mon-secret"].decode(),
        admin_key=admin_key.decode(),
        admin_user=data.get("ceph-username", b"").decode() or ADMIN_USER,
    )


def keyring_secret(namespace: str, name: str, text: str, labels: Mapping[str, str]) -> JsonObject:
    """A Secret with a keyring, for a pod to mount."""
    return _secret(namespace, name, {KEYRING_KEY: text}, labels)


def _secret(namespace: str, name: str, data: Mapping[str, str], labels: Mapping[str, str]) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
