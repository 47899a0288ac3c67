"""Which keys a user has: those that its spec gives, or the one that is in its Secret; and which comes after it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from controller.ceph.objectuser.spec import digest, grace, made_access_key, requested_rotation
from controller.ceph.rgw.credentials import text_in, version_of
from controller.ceph.rgw.users import Key

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreUser
    from controller.apis.ceph.secrets import SecretKeySelector, SecretVersion
    from controller.ceph.rgw.users import User
    from controller.runtime.kube import Secret
    from informers import Informer


@dataclass(frozen=True, slots=True)
class Given:
    """The keys that a spec gives; None: it gives none. The Secrets of which they are, and what these lack, in words."""

    keys: tuple[Key, ...] | None = field(default=None, repr=False)
    read: tuple[SecretVersion, ...] = ()
    lacking: tuple[str, ...] = ()


class KeySecrets:
    """Reads the keys that specs give.

    Args:
        secrets: The cache of Secrets.
    """

    def __init__(self, secrets: Informer[Secret]) -> None:
        self._secrets = secrets

    def of(self, user: CephObjectStoreUser) -> Given:
        """The keys that the spec of a user gives."""
        if not user.spec.keys:
            return Given()
        found: list[Key] = []
        read: dict[str, SecretVersion] = {}
        lacking: list[str] = []
        for index, key in enumerate(user.spec.keys):
            parts = []
            for name, ref in (("accessKeyRef", key.access_key_ref), ("secretKeyRef", key.secret_key_ref)):
                secret = self._secrets.get(user.metadata.namespace, ref.name) if ref is not None else None
                if secret is not None:
                    read[secret.metadata.name] = version_of(secret)
                text = text_in(secret, ref) if ref is not None else ""
                if not text:
                    lacking.append(f"keys[{index}].{name}: {_missing(secret, ref)}")
                parts.append(text)
            found.append(Key(*parts))
        twice = len({key.access for key in found}) < len(found)
        if not lacking and twice:
            lacking.append("keys has an access key twice: expected another for each")
        return Given(tuple(found), tuple(read[name] for name in sorted(read)), tuple(lacking))


def secrets_named(user: CephObjectStoreUser) -> frozenset[str]:
    """The names of the Secrets that a user's spec names."""
    refs = (ref for key in user.spec.keys for ref in (key.access_key_ref, key.secret_key_ref))
    return frozenset(ref.name for ref in refs if ref is not None and ref.name)


def current_key(
    user: CephObjectStoreUser, found: User | None, given: tuple[Key, ...] | None, kept: Key | None
) -> Key | None:
    """The key that the user's Secret should have; None: there is none yet.

    Args:
        user: The user's object.
        found: The user as the gateways have it.
        given: The keys that its spec gives.
        kept: The key that its Secret holds.
    """
    if given:
        return given[0]
    keys = {key.access: key for key in found.keys} if found is not None else {}
    made = keys.get(made_access_key(user.metadata, requested_rotation(user)))
    if made is not None:
        return made
    if kept is not None and kept.access in keys:
        return keys[kept.access]
    left = [key for key in keys.values() if digest(key.access) not in user.status.key_rotation.replaced]
    return next(iter(left or keys.values()), None)


def is_made_for(user: CephObjectStoreUser, found: User, kept: Key | None) -> bool:
    """Whether a user was made for this object: its status tells so, or its Secret has a key that opens the user."""
    return "secretName" in user.status.info or kept in found.keys


def is_due(user: CephObjectStoreUser) -> bool:
    """Whether another key was asked for, and is not noted to be in the Secret."""
    asked = requested_rotation(user)
    return bool(asked) and asked != user.status.key_rotation.requested


def is_to_note(user: CephObjectStoreUser, kept: Key | None, found: User) -> bool:
    """Whether the status has to tell first which key is about to be replaced."""
    if not is_due(user) or kept is None or kept.access == made_access_key(user.metadata, requested_rotation(user)):
        return False
    return kept in found.keys and digest(kept.access) not in user.status.key_rotation.replaced


def outlived(user: CephObjectStoreUser, found: User, now: float) -> tuple[str, ...]:
    """The access keys that a rotation replaced, and that programs had time to drop."""
    noted = user.status.key_rotation
    if is_due(user) or not noted.replaced or not noted.rotated_at:
        return ()
    if now < datetime.fromisoformat(noted.rotated_at).timestamp() + grace(user):
        return ()
    return tuple(key.access for key in found.keys if digest(key.access) in noted.replaced)


def _missing(secret: Secret | None, ref: SecretKeySelector | None) -> str:
    if ref is None:
        return "it is not set"
    if secret is None:
        return f"there is no Secret {ref.name}"
    return f"Secret {ref.name} has no text in its key {ref.key}"
