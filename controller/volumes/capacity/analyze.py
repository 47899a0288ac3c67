"""Which CSIStorageCapacity objects a class is to have, and what to do about those that it has. Pure.

https://kubernetes.io/docs/concepts/storage/storage-capacity/
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.framework.plan import Plan, Step
from controller.framework.quantities import quantity, storage_bytes
from controller.volumes.features import LARGEST, Room
from controller.volumes.places import in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.runtime.kube import CsiStorageCapacity
    from controller.volumes.places import Place
    from informers import JsonObject

DRIVER_LABEL, MANAGER_LABEL = "csi.storage.k8s.io/drivername", "csi.storage.k8s.io/managed-by"
"""Labels that external-provisioner sets, too."""

MANAGER = "rook-ceph-operator"

LOOK = 60.0
"""Seconds between two looks at how much fits."""

_SHIFT = 100
"""A change by less than one part in so many is not told: what is free changes all the time."""

UNKNOWN = (Room(place={}, free=0, largest=LARGEST),)
"""For a class that cannot be served: the scheduler holds no pod back, so that its claim comes to say what is wrong."""


@dataclass(frozen=True, slots=True)
class TellRoom:
    """Give an object what it says of the room at its place."""

    wanted: JsonObject


@dataclass(frozen=True, slots=True)
class ForgetRoom:
    """Delete an object of a place or class that is not there any more."""

    name: str
    uid: str


def analyze(
    storage_class: str, driver: str, namespace: str, rooms: Sequence[Room], present: Sequence[CsiStorageCapacity]
) -> Plan:
    """What to do for a class. Pure.

    Args:
        storage_class: The class' name.
        driver: The CSI driver that serves it.
        namespace: Where its objects are.
        rooms: The room for its volumes by place, the first of a place counts; none: it is to have no objects.
        present: The objects of ours that it has.
    """
    known = {found.metadata.name: found for found in present}
    steps, kept = [], set[str]()
    for room in rooms:
        name = object_name(storage_class, driver, room.place)
        if name in kept:
            continue
        kept.add(name)
        wanted = _object(storage_class, driver, namespace, name, _steady(room, known.get(name)))
        where = in_words(room.place) or "every node"
        reason = f"there is room for {quantity(room.free)} in volumes of StorageClass {storage_class} for {where}"
        steps.append(Step(subject=f"capacity {name}", action=TellRoom(wanted), reason=reason))
    for name, found in known.items():
        if name not in kept:
            why = f"StorageClass {storage_class} has no such place, does not wait for pods, or is gone"
            steps.append(Step(subject=f"capacity {name}", action=ForgetRoom(name, found.metadata.uid), reason=why))
    return Plan(steps=tuple(steps), look_again=LOOK if rooms else None)


def object_name(storage_class: str, driver: str, place: Place) -> str:
    """The name of the object of a place: one for each, whoever makes it. Pure."""
    parts = "\n".join((storage_class, driver, in_words(place)))
    return f"csisc-{hashlib.sha256(parts.encode()).hexdigest()[:24]}"


def _steady(room: Room, known: CsiStorageCapacity | None) -> Room:
    """The room as it was told, where it is about the same: whether there is any is always told."""
    if known is None:
        return room
    try:
        told = storage_bytes({"storage": known.capacity or 0})
    except ValueError:  # somebody else wrote it
        return room
    if bool(told) != bool(room.free) or abs(told - room.free) * _SHIFT > told:
        return room
    return Room(place=room.place, free=told, largest=room.largest)


def _object(storage_class: str, driver: str, namespace: str, name: str, room: Room) -> JsonObject:
    labels: Mapping[str, str] = {DRIVER_LABEL: driver, MANAGER_LABEL: MANAGER}
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "labels": labels}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIStorageCapacity",
        "metadata": metadata,
        "storageClassName": storage_class,
        # A selector without labels selects every node; without a selector, no node would be.
        "nodeTopology": {"matchLabels": dict(room.place)},
        "capacity": quantity(room.free),
        "maximumVolumeSize": quantity(min(room.largest, LARGEST)),
    }
