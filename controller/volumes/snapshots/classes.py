"""VolumeSnapshotClasses and VolumeGroupSnapshotClasses, as far as both are alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.volumes.claims.objects import CSI

if TYPE_CHECKING:
    from controller.volumes.features import Snapshots
    from controller.volumes.snapshots.kinds import VolumeSnapshotClass


def class_problem(kind: str, name: str | None, found: VolumeSnapshotClass | None, driver: str) -> str:
    """Why no snapshot is taken by the class that a content names; empty: one may be.

    Args:
        kind: The class' kind.
        name: What the content names.
        found: The class of that name, if there is one.
        driver: The content's CSI driver.
    """
    if not name:
        return f"spec.{kind[0].lower()}{kind[1:]}Name is empty: expected a {kind}"
    if found is None:
        return f"{kind} {name} does not exist"
    if found.driver != driver:
        return f"{kind} {name}: driver is {found.driver!r}: expected {driver}"
    return ""


def without_effect(kind: str, found: VolumeSnapshotClass | None, snapshots: Snapshots) -> tuple[str, ...]:
    """What is said of a class' parameters that mean nothing to the storage system, each in a sentence."""
    if found is None:
        return ()
    own = {name: value for name, value in found.parameters.items() if not name.startswith(CSI)}
    named = f"{kind} {found.metadata.name}"
    return tuple(f"{named}: parameter {name!r} has no effect here" for name in snapshots.unserved(own))
