"""Secrets that are made for an object: what there is of one, and that another's of the same name stays as it is."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from controller.framework.consent import NoConsentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.runtime.kube import HasMetadata, Secret
    from informers import JsonObject


class SecretState(Enum):
    """What there is of a Secret."""

    ABSENT = auto()
    CURRENT = auto()
    OUTDATED = auto()
    """It is the object's, and does not have what it should."""
    ANOTHERS = auto()
    """It is not the object's."""


OURS = (SecretState.CURRENT, SecretState.OUTDATED)


def state_of(secret: Secret | None, owner: HasMetadata, wanted: Mapping[str, str] | None) -> SecretState:
    """What there is of a Secret.

    Args:
        secret: The Secret as a cache has it; None: there is none.
        owner: The object that it should be of.
        wanted: What it should hold; more does no harm. None: that is not known, and it never holds what it should.
    """
    if secret is None:
        return SecretState.ABSENT
    if all(reference.uid != owner.metadata.uid for reference in secret.metadata.owner_references):
        return SecretState.ANOTHERS
    current = wanted is not None and all(secret.data.get(name) == value.encode() for name, value in wanted.items())
    return SecretState.CURRENT if current else SecretState.OUTDATED


def version_of_own(found: JsonObject | None, owner: HasMetadata, kind: str) -> str:
    """The resourceVersion over which the object's Secret may be written; empty: there is none yet.

    Args:
        found: The Secret as the API server has it.
        owner: The object that it should be of.
        kind: The object's.

    Raises:
        NoConsentError: It is another's, and stays as it is.
    """
    if found is None:
        return ""
    meta = found["metadata"]
    if all(reference["uid"] != owner.metadata.uid for reference in meta.get("ownerReferences", ())):
        raise NoConsentError(f"Secret {meta['name']} is not of {kind} {owner.metadata.name}: it stays as it is")
    return str(meta["resourceVersion"])
