"""Identity and keys of a cluster: its fsid, cephx keys and keyrings, and the Secrets that keep them.

The Secret `rook-ceph-mon` is the cluster's identity. It is created once, never written over, and has no owner, so that
deleting a CephCluster by mistake does not lose the only copy of the keys to data that is still on the disks.
Format of keys and names of Secrets: https://rook.io/docs/rook/latest/Troubleshooting/disaster-recovery/
"""

from __future__ import annotations

import base64
import re
import secrets
import struct
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.pods import KEYRING_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from informers import JsonObject

IDENTITY = "rook-ceph-mon"  # the Secret's name
MONS_KEYRING = "rook-ceph-mons-keyring"
ADMIN_KEYRING = "rook-ceph-admin-keyring"
PROTECTION = "ceph.rook.io/disaster-protection"
"""Finalizer, upstream's, of what opens the data and cannot be made again: by a mistaken deletion, as of the whole
namespace, it is marked, but stays to be read until somebody takes the finalizer away."""

ADMIN_USER = "client.admin"
ROOK_TYPE = "kubernetes.io/rook"  # the type that upstream gives its Secrets

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
AES, AES256K = ALL_KEY_TYPES = "aes", "aes256k"
"""Types of keys, as Ceph calls them."""
_KEY_TYPES = {AES: (1, 16), AES256K: (2, 32)}
"""The number and the bytes of each type of key."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which cluster this is, and the keys that open it."""

    fsid: str
    mon_key: str = field(repr=False)
    admin_key: str = field(repr=False)
    admin_user: str = ADMIN_USER


def generate_key(key_type: str = AES) -> str:
    """A new cephx key as `ceph-authtool --gen-key` makes it: base64 of type, time, length and random bytes.

    Every release and every kernel client understands those of type AES.
    """
    number, length = _KEY_TYPES[key_type]
    header = struct.pack("<HIIH", number, int(time.time()), 0, length)
    return base64.b64encode(header + secrets.token_bytes(length)).decode()


def key_type_of(key: str) -> str:
    """The type of a cephx key; empty for one of a type that is not known here."""
    (number,) = struct.unpack_from("<H", base64.b64decode(key))
    return next((name for name, (known, _) in _KEY_TYPES.items() if known == number), "")


def generate_identity(mon_key_type: str = AES) -> Identity:
    """A cluster that has not been before.

    The administrator's key is of a type that the operator's own librados knows, whatever the cluster's daemons run.
    """
    return Identity(fsid=str(uuid.uuid4()), mon_key=generate_key(mon_key_type), admin_key=generate_key())


def keyring(entity: str, key: str, caps: Mapping[str, str] | None = None) -> str:
    """The text of a keyring file for one entity, such as "mgr.a".

    `caps` count only where the keyring is imported: in the keyring that a mon makes its store from.
    """
    lines = [f"[{entity}]", f"\tkey = {key}"]
    lines += [f'\tcaps {subsystem} = "{cap}"' for subsystem, cap in sorted((caps or {}).items())]
    return "\n".join(lines) + "\n"


def mons_keyring(identity: Identity) -> str:
    """The keyring from which a mon makes its store: its own key, shared by all mons, and the administrator's."""
    everything = {"mon": "allow *", "osd": "allow *", "mgr": "allow *", "mds": "allow *"}
    return keyring("mon.", identity.mon_key, {"mon": "allow *"}) + keyring(
        identity.admin_user, identity.admin_key, everything
    )


def identity_secret(meta: JsonObject, identity: Identity) -> JsonObject:
    """The Secret `rook-ceph-mon`, with upstream's keys."""
    data = {
        "cluster-name": meta["namespace"],
        "fsid": identity.fsid,
        "mon-secret": identity.mon_key,
        "admin-secret": identity.admin_key,
        "ceph-username": identity.admin_user,
        "ceph-secret": identity.admin_key,
    }
    return secret(meta, data)


def parse_identity(data: Mapping[str, bytes]) -> Identity:
    """What the Secret `rook-ceph-mon` says, be it ours or upstream's.

    Raises:
        ValueError: A key is missing, or the fsid is no UUID; the message names it.
    """
    # Whoever restores a Secret by hand easily adds a line feed.
    values = {name: value.decode().strip() for name, value in data.items()}
    admin_key = values.get("ceph-secret") or values.get("admin-secret")
    missing = [name for name in ("fsid", "mon-secret") if not values.get(name)] + ([] if admin_key else ["ceph-secret"])
    if missing or not admin_key:
        raise ValueError(f"Secret {IDENTITY} lacks {', '.join(missing)}: restore it from a backup")
    if not _UUID.fullmatch(values["fsid"]):
        raise ValueError(f"Secret {IDENTITY} has fsid {values['fsid']!r}: expected a UUID")
    return Identity(
        fsid=values["fsid"],
        mon_key=values["mon-secret"],
        admin_key=admin_key,
        admin_user=values.get("ceph-username") or ADMIN_USER,
    )


def keyring_secret(meta: JsonObject, text: str) -> JsonObject:
    """A Secret with a keyring, for a pod to mount."""
    return secret(meta, {KEYRING_KEY: text})


def secret(meta: JsonObject, data: Mapping[str, str]) -> JsonObject:
    """A Secret with this metadata that holds these texts."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": ROOK_TYPE,
        "metadata": meta,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }
