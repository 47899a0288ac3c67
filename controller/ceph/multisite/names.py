"""What the objects of realms, zone groups and zones are called. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.framework.names import object_name

if TYPE_CHECKING:
    from controller.apis.meta import Kind

APP = "rook-ceph-object-multisite"
"""The value of label `app`."""
ACCESS_KEY, SECRET_KEY = "access-key", "secret-key"
"""Keys of the Secret of a realm's system user; upstream's."""


def job_name(kind: Kind, name: str, act: str = "") -> str:
    """The Job that brings about what an object asks for; `act`: one beside it."""
    return object_name("-".join(filter(None, ("rook-ceph", _short(kind), name, act))))


def entity(kind: Kind, name: str) -> str:
    """The cephx user of an object's Jobs."""
    return f"client.rgw-{_short(kind)}.{name}"


def keyring_name(kind: Kind, name: str) -> str:
    """The Secret with that user's keyring."""
    return f"{job_name(kind, name)}-keyring"


def _short(kind: Kind) -> str:
    """A kind without its family, such as "object-zonegroup"."""
    return f"object-{kind.kind.removeprefix('CephObject').lower()}"
