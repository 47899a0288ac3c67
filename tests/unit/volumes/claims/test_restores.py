"""Claims that begin as a copy of a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from controller.runtime.kube import ObjectReference
from controller.volumes.backend import ParameterError, Source, Volume
from controller.volumes.claims.sources import NotReadyError, source_of
from controller.volumes.snapshots.kinds import ALLOW_MODE_CHANGE, BEING_DELETED, CONTENTS, SNAPSHOTS
from tests.unit.volumes.objects import DISKS, DRIVER, claim
from tests.unit.volumes.snapshots.objects import CONTENT, GIB, READY, SNAPSHOT_HANDLE, SNAPSHOT_UID, content
from tests.unit.volumes.world import FakeBackend, World, caches_of

SNAP = ObjectReference(kind="VolumeSnapshot", name="snap")
BOUND = {
    "metadata": {"name": "snap", "namespace": "app", "uid": SNAPSHOT_UID},
    "status": {"boundVolumeSnapshotContentName": CONTENT},
}


class Restoring(FakeBackend):
    """A storage system that makes volumes of snapshots."""

    capabilities = replace(DISKS, sources=("VolumeSnapshot",))


def found(this: Any, *, bound: Any = BOUND, **changes: Any) -> Source | None:
    """The source of a claim, beside a VolumeSnapshot that is bound to this content."""
    world = World()
    world.put(SNAPSHOTS, bound)
    world.put(CONTENTS, msgspec.to_builtins(content(**{"status": READY, **changes})))
    return source_of(this, caches_of(world), Restoring(world))


def restored(**changes: Any) -> Any:
    return claim(data_source=SNAP, **changes)


def test_a_snapshot_is_the_source_with_its_size() -> None:
    snapshot = Volume(driver=DRIVER, attributes={}, handle=SNAPSHOT_HANDLE)
    expected = Source(volume=snapshot, size=GIB, is_snapshot=True)
    assert found(restored()) == expected
    assert found(restored(size="5Gi")) == expected


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bound": {**BOUND, "status": {}}}, "VolumeSnapshot app/snap to be bound"),
        (
            {"bound": {**BOUND, "status": {"boundVolumeSnapshotContentName": "x"}}},
            "VolumeSnapshot app/snap to be bound",
        ),
        ({"status": {}}, "VolumeSnapshot app/snap to be ready to use"),
        (
            {"status": {"readyToUse": False, "error": {"message": "the pool is full"}}},
            "to be ready to use: the pool is full",
        ),
    ],
)
def test_it_is_waited_for_until_it_is_ready(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotReadyError, match=why):
        found(restored(), **changes)


@pytest.mark.parametrize(
    ("this", "changes", "why"),
    [
        (restored(size="512Mi"), {}, "requests.storage is 512Mi: expected at least 1Gi, as of VolumeSnapshot snap"),
        (restored(), {"uid": "other"}, f"whose VolumeSnapshotContent {CONTENT} is of another"),
        (restored(), {"driver": "ebs.csi.aws.com"}, r"of CSI driver ebs\.csi\.aws\.com: expected one of the claim's"),
        (restored(), {"annotations": {BEING_DELETED: "yes"}}, "VolumeSnapshot snap, which is being deleted"),
        (restored(), {"deleting": True}, "VolumeSnapshot snap, which is being deleted"),
        (restored(), {"sourceVolumeMode": "Block"}, "spec.volumeMode is Filesystem: expected Block, as of"),
    ],
)
def test_what_cannot_be_restored_is_told(this: Any, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ParameterError, match=why):
        found(this, **changes)


def test_another_volume_mode_by_consent() -> None:
    allowed = {ALLOW_MODE_CHANGE: "true"}
    assert found(restored(), sourceVolumeMode="Block", annotations=allowed) is not None


def test_where_the_api_server_has_no_snapshots_they_are_waited_for() -> None:
    world = World()
    caches = replace(caches_of(world), snapshots=None)
    with pytest.raises(NotReadyError, match="VolumeSnapshot app/snap to be bound"):
        source_of(restored(), caches, Restoring(world))
