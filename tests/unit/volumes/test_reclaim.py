"""What becomes of volumes that nobody claims any more."""

from __future__ import annotations

import pytest

from controller.framework.plan import StepState
from controller.runtime.kube import PersistentVolume
from controller.volumes.backend import Volume
from controller.volumes.reclaim import DeletePersistentVolume, DestroyVolume, ReleasePersistentVolume, analyze
from tests.unit.volumes.objects import ATTRIBUTES, DRIVER, attachment, volume

DESTROY = DestroyVolume(Volume(driver=DRIVER, attributes=ATTRIBUTES, handle="h"))
DELETE, RELEASE = DeletePersistentVolume(), ReleasePersistentVolume()


@pytest.mark.parametrize(
    ("this", "expected"),
    [
        (volume(phase="Released"), [DESTROY, DELETE]),
        (volume(phase="Released", deleting=True), [DESTROY, RELEASE]),
        (volume(phase="Available", deleting=True), [DESTROY, RELEASE]),
        (volume(phase="Released", deleting=True, finalizers=()), []),
        (volume(phase="Bound"), []),
        (volume(phase="Bound", deleting=True), []),  # its claim still has it
        (volume(phase="Available"), []),
        (volume(phase="Failed"), []),
        (volume(phase="Released", policy="Retain"), []),
        (volume(phase="Released", policy="Retain", deleting=True), [RELEASE]),
        (volume(phase="Bound", policy="Retain", deleting=True), [RELEASE]),
        (volume(phase="Released", static=True), []),  # somebody made it by hand
        (volume(phase="Released", static=True, deleting=True), [RELEASE]),
    ],
)
def test_by_phase_and_policy(this: PersistentVolume, expected: list[object]) -> None:
    assert [step.action for step in analyze(this, []).steps] == expected


def test_an_attached_volume_is_not_destroyed() -> None:
    (step,) = analyze(volume(phase="Released"), [attachment("b"), attachment("a")]).steps
    assert step.held_by is StepState.WAITING
    assert step.waits_for == "detachment from a, b"
