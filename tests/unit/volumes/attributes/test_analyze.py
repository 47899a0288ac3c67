"""What is done for a claim that names a VolumeAttributesClass, by what its status and its PersistentVolume say."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.meta import Condition
from controller.runtime.kube import ModifyVolumeStatus, PersistentVolume, PersistentVolumeClaim
from controller.volumes.attributes.analyze import (
    AttributesObservation,
    FinishModification,
    MarkClaim,
    ModifyVolume,
    RecordClass,
    analyze,
    is_of,
    target_of,
)
from controller.volumes.attributes.kinds import IN_PROGRESS, INFEASIBLE, MODIFY_ERROR, PENDING
from controller.volumes.backend import volume_from
from tests.unit.volumes.objects import UID, claim, volume

SILVER = {"speed": "2"}


def bound(
    wanted: str | None = "silver", *, current: str | None = None, noted: tuple[str, str] | None = None, told: str = ""
) -> PersistentVolumeClaim:
    """A claim that names a class; `noted`: the target and the status of the change that its status has."""
    made = claim(phase="Bound", volume_name=f"pvc-{UID}", volume_attributes_class_name=wanted)
    status = msgspec.structs.replace(
        made.status,
        current_volume_attributes_class_name=current,
        modify_volume_status=None
        if noted is None
        else ModifyVolumeStatus(target_volume_attributes_class_name=noted[0], status=noted[1]),
        conditions=(Condition(type=MODIFY_ERROR, status="True", message=told),) if told else (),
    )
    return msgspec.structs.replace(made, status=status)


def of_class(name: str | None) -> PersistentVolume:
    made = volume()
    return msgspec.structs.replace(made, spec=msgspec.structs.replace(made.spec, volume_attributes_class_name=name))


def csi() -> Any:
    source = volume().spec.csi
    assert source is not None
    return volume_from(source)


def actions(found: PersistentVolumeClaim, **seen: Any) -> list[object]:
    observed = {"volume": of_class("gold"), "target": "silver", "exists": True, "parameters": SILVER, **seen}
    return [step.action for step in analyze(found, AttributesObservation(**observed)).steps]


@pytest.mark.parametrize(
    ("wanted", "current", "noted", "exist", "expected"),
    [
        pytest.param(None, None, None, "", "", id="no class"),
        pytest.param("gold", "gold", None, "gold", "", id="it is in force"),
        pytest.param("silver", "gold", None, "gold silver", "silver", id="another"),
        pytest.param("silver", None, None, "silver", "silver", id="the first"),
        pytest.param("silver", "gold", ("silver", PENDING), "gold", "silver", id="it does not exist"),
        pytest.param("gold", "gold", ("silver", IN_PROGRESS), "gold silver", "silver", id="what was begun ends first"),
        pytest.param("gold", "gold", ("silver", IN_PROGRESS), "gold", "gold", id="what was begun is gone"),
        pytest.param("gold", "gold", ("bogus", INFEASIBLE), "gold bogus", "gold", id="back from one that was refused"),
        pytest.param("", "gold", ("silver", IN_PROGRESS), "gold silver", "silver", id="emptied: what was begun ends"),
        pytest.param("", "gold", ("silver", IN_PROGRESS), "gold", "", id="emptied, and what was begun is gone"),
        pytest.param("", "gold", ("bogus", INFEASIBLE), "gold bogus", "", id="emptied"),
        pytest.param(None, "gold", None, "gold", "", id="emptied, and nothing is under way"),
    ],
)
def test_which_class_is_next(
    wanted: str | None, current: str | None, noted: tuple[str, str] | None, exist: str, expected: str
) -> None:
    assert target_of(bound(wanted, current=current, noted=noted), lambda name: name in exist.split()) == expected


def test_a_change_is_noted_carried_out_and_recorded_in_the_persistent_volume_first() -> None:
    assert actions(bound(current="gold")) == [
        MarkClaim("silver", IN_PROGRESS),
        ModifyVolume(csi(), SILVER),
        RecordClass("silver"),
        FinishModification("silver"),
    ]


def test_a_change_that_was_cut_off_goes_on() -> None:
    under_way = bound(current="gold", noted=("silver", IN_PROGRESS))
    assert actions(under_way)[0] == ModifyVolume(csi(), SILVER)
    assert actions(under_way, volume=of_class("silver")) == [ModifyVolume(csi(), SILVER), FinishModification("silver")]


@pytest.mark.parametrize(
    ("seen", "status", "told"),
    [
        ({"exists": False}, PENDING, "VolumeAttributesClass silver does not exist"),
        ({"problem": "it has wheels"}, INFEASIBLE, "it has wheels"),
    ],
)
def test_what_cannot_be_is_said_once_and_the_volume_is_left_alone(seen: Any, status: str, told: str) -> None:
    assert actions(bound(current="gold"), **seen) == [MarkClaim("silver", status, told)]
    assert actions(bound(current="gold", noted=("silver", status), told=told), **seen) == []
    assert actions(bound(current="gold", noted=("silver", status), told="old"), **seen) == [
        MarkClaim("silver", status, told)
    ]


def test_a_claim_that_names_no_class_any_more_is_left_as_it_is() -> None:
    assert actions(bound("", current="gold", noted=("bogus", INFEASIBLE)), target="") == [FinishModification("")]
    assert actions(bound("", current="gold"), target="") == []


def test_after_a_change_that_cannot_be_ended_it_is_not_known_what_a_volume_has() -> None:
    under_way = ("silver", IN_PROGRESS)
    assert actions(bound("", current="gold", noted=under_way), target="") == [FinishModification("", forget=True)]
    told = "VolumeAttributesClass iron does not exist"
    assert actions(bound("iron", current="gold", noted=under_way), target="iron", exists=False) == [
        MarkClaim("iron", PENDING, told, forget=True)
    ]


def test_a_claim_that_is_deleted_or_not_ours_is_left_alone() -> None:
    leaving = msgspec.structs.replace(bound(), metadata=claim(deleting=True).metadata)
    assert actions(leaving) == []
    assert actions(bound(), volume=None) == []


def test_a_volume_is_a_claims_only_if_both_say_so() -> None:
    assert is_of(bound(), volume())
    assert not is_of(claim(phase="Pending"), volume())
    others = msgspec.structs.replace(bound(), metadata=msgspec.structs.replace(claim().metadata, uid="other"))
    assert not is_of(others, volume())
