"""Claims that others are copies of: one that is deleted stays until nobody copies it any more.

As by the external-provisioner, under its name. A claim is copied as long as a claim that is a copy of it has our
finalizer: from before its volume is made until it is bound, or gone.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Step
from controller.runtime.finalizers import add_finalizer, remove_finalizer
from controller.runtime.kube import PVC
from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.caches import BY_SOURCE
from controller.volumes.claims.objects import CLAIM_FINALIZER, SOURCE_FINALIZER
from controller.volumes.claims.sources import NotReadyError, source_of
from informers import ApiError

if TYPE_CHECKING:
    from controller.runtime.kube import PersistentVolumeClaim
    from controller.volumes.backend import Volume, VolumeBackend
    from controller.volumes.caches import Caches
    from controller.volumes.features import Snapshots
    from informers import Client


@dataclass(frozen=True, slots=True)
class ProtectSource:
    """Keep the claim of this name, in the same namespace, from going while its volume is copied."""

    name: str


@dataclass(frozen=True, slots=True)
class ReleaseSource:
    """Let a claim go that nobody copies any more."""


def protect(source: PersistentVolumeClaim | None, subject: str) -> tuple[Step, ...]:
    """What to do before a copy of a claim is made; `source`: that claim, if it is one. Pure."""
    if source is None or SOURCE_FINALIZER in source.metadata.finalizers:
        return ()
    action = ProtectSource(source.metadata.name)
    return (Step(subject=subject, action=action, reason=f"claim {source.metadata.name} is about to be copied"),)


def release(claim: PersistentVolumeClaim, subject: str, *, copied: bool) -> tuple[Step, ...]:
    """What to do with a claim that is being deleted. Pure."""
    if SOURCE_FINALIZER not in claim.metadata.finalizers or copied:
        return ()
    return (Step(subject=subject, action=ReleaseSource(), reason="it is being deleted, and nobody copies it"),)


def is_copied(claim: PersistentVolumeClaim, caches: Caches) -> bool:
    """Whether a copy of a claim is being made."""
    found = caches.claims.by_index(BY_SOURCE, f"{claim.metadata.namespace}/{claim.metadata.name}")
    return any(CLAIM_FINALIZER in copy.metadata.finalizers for copy in found)


async def keep_source(client: Client, claim: PersistentVolumeClaim, caches: Caches, action: ProtectSource) -> None:
    """Carries out `ProtectSource` for the copy `claim`."""
    source = caches.claims.get(claim.metadata.namespace, action.name)
    if source is None:
        raise BackendError(f"PersistentVolumeClaim {claim.metadata.namespace}/{action.name} is gone")
    await add_finalizer(client, PVC, source, SOURCE_FINALIZER)


async def release_source(client: Client, claim: PersistentVolumeClaim) -> None:
    """Carries out `ReleaseSource`."""
    try:
        await remove_finalizer(client, PVC, claim, SOURCE_FINALIZER)
    except ApiError as error:
        if not error.is_conflict:  # whoever changed it wakes us
            raise


async def abandon(
    claim: PersistentVolumeClaim,
    volume: Volume,
    backend: VolumeBackend,
    snapshots: Snapshots | None,
    caches: Caches,
) -> None:
    """Takes away what is left at the source of a claim's volume, which was to be a copy and is destroyed."""
    with suppress(ParameterError, NotReadyError):
        source = source_of(claim, caches, backend)
        if snapshots is not None and source is not None:
            await snapshots.abandon(volume, source)
