"""Where the volume of a claim is made, and what was begun for it before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from controller.volumes.backend import Volume
from controller.volumes.claims.objects import CLAIM_FINALIZER, CLAIM_VOLUME, SELECTED_NODE
from controller.volumes.topology import NowhereError, choose

if TYPE_CHECKING:
    from controller.runtime.kube import PersistentVolumeClaim, StorageClass
    from controller.volumes.backend import Description
    from controller.volumes.caches import Caches
    from controller.volumes.drivers import Drivers


def placed(
    claim: PersistentVolumeClaim,
    storage_class: StorageClass,
    description: Description,
    begun: Volume | None,
    caches: Caches,
) -> Description:
    """A description that leaves choices, with the one that is made for the claim.

    Raises:
        NowhereError: No node can reach any of the volumes where the claim needs it.
    """
    name = claim.metadata.annotations.get(SELECTED_NODE)
    selected = caches.nodes.get("", name) if name else None
    if name and selected is None:
        raise NowhereError(f"node {name}, which the scheduler selected, does not exist")
    chosen = choose(
        description.choices,
        storage_class,
        caches.nodes.list() if selected is None else (),
        claim.metadata.name,
        selected=selected,
        begun=begun,
    )
    return replace(description, volume=chosen.volume, place=chosen.place)


def begun_for(claim: PersistentVolumeClaim, drivers: Drivers) -> Volume | None:
    """The volume that is being made for a claim, by the note on it; None: none, or one that was not made for it."""
    noted = claim.metadata.annotations.get(CLAIM_VOLUME)
    if not noted or CLAIM_FINALIZER not in claim.metadata.finalizers:
        return None
    try:
        volume = msgspec.json.decode(noted, type=Volume)
    except msgspec.MsgspecError:
        return None
    # Whoever may write a claim may write our note on it, with another's volume.
    backend = drivers.knowing(volume.driver)
    return volume if backend is not None and backend.is_made_for(volume, claim.metadata.uid) else None


def is_elsewhere(begun: Volume, description: Description, drivers: Drivers) -> bool:
    """Whether the volume that was begun for a claim is not the one that it is to have. Pure."""
    if begun == description.volume:
        return False
    return bool(description.choices) or drivers.identity(begun) != drivers.identity(description.volume)
