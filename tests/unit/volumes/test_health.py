"""Volumes on which I/O fails: told on their claims."""

from __future__ import annotations

from typing import Any

import msgspec

from controller.apis.meta import ObjectMeta
from controller.apis.rook.node_report import NodeReport, VolumeProblem
from controller.framework.reports import REPORTS
from controller.runtime.kube import PV, PVC
from controller.runtime.reconciler import Request
from controller.volumes.health import ABNORMAL, NORMAL, Conditions
from tests.unit.volumes.objects import DRIVER, claim, volume
from tests.unit.volumes.world import FakeEvents, World, caches_of

NODE = Request("rook-ceph", "n1")


class Events(FakeEvents):
    """Keeps whom events are about, too."""

    def __init__(self) -> None:
        super().__init__()
        self.about: list[str] = []

    def event(self, regarding: Any, type: str, reason: str, note: str, action: str = "") -> None:  # noqa: A002
        self.about.append(f"{type} {regarding['kind']} {regarding['name']}")
        super().event(regarding, type, reason, note, action)


def report(world: World, *messages: str, handle: str = "h") -> None:
    found = tuple(VolumeProblem(driver=DRIVER, volume_handle=handle, message=message) for message in messages)
    this = NodeReport(metadata=ObjectMeta(name="n1", namespace="rook-ceph"), problems=found)
    world.put(REPORTS, msgspec.to_builtins(this))


def watching(world: World) -> tuple[Conditions, Events]:
    events = Events()
    told: Any = events
    return Conditions(told, caches_of(world)), events


async def test_the_claim_of_a_volume_that_fails_is_told_once_and_when_it_is_over() -> None:
    world = World()
    world.put(PV, msgspec.to_builtins(volume()))
    world.put(PVC, msgspec.to_builtins(claim()))
    conditions, events = watching(world)
    report(world, "qemu-storage-daemon ended")
    for _ in range(2):
        await conditions.reconcile(NODE)
    assert events.told == [(ABNORMAL, "I/O on the volume fails on node n1: qemu-storage-daemon ended")]
    report(world, "its client is on the blocklist")
    await conditions.reconcile(NODE)
    assert events.told[1:] == [(ABNORMAL, "I/O on the volume fails on node n1: its client is on the blocklist")]
    report(world)
    for _ in range(2):
        await conditions.reconcile(NODE)
    assert events.told[2:] == [(NORMAL, "I/O on the volume does not fail on node n1 any more")]
    kind = "PersistentVolumeClaim data"
    assert events.about == [f"Warning {kind}", f"Warning {kind}", f"Normal {kind}"]


async def test_a_node_that_is_gone_has_no_problem_left() -> None:
    world = World()
    world.put(PV, msgspec.to_builtins(volume()))
    conditions, events = watching(world)
    report(world, "dead")
    await conditions.reconcile(NODE)
    assert events.about == [f"Warning PersistentVolume {volume().metadata.name}"], "it has no claim any more"
    world.delete(REPORTS, "rook-ceph", "n1")
    await conditions.reconcile(NODE)
    assert [reason for reason, _ in events.told] == [ABNORMAL, NORMAL]


async def test_a_volume_that_nobody_here_knows_is_passed_over() -> None:
    world = World()
    world.put(PV, msgspec.to_builtins(volume()))
    conditions, events = watching(world)
    report(world, "dead", handle="another")
    await conditions.reconcile(NODE)
    assert events.told == []
