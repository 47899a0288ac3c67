"""Claims whose volumes take long to be made: they wait, and tell how far it is now and then."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec

from controller.runtime.kube import PV, PVC, STORAGE_CLASS
from controller.runtime.reconciler import Request
from controller.testkit import virtual_time
from controller.volumes.backend import Created, NewVolume, UnderWayError
from controller.volumes.claims.act import Claims
from controller.volumes.drivers import Drivers
from tests.unit.volumes.objects import claim, storage_class
from tests.unit.volumes.world import FakeBackend, FakeEvents, World, caches_of

CLAIM = Request("app", "data")


class Slow(FakeBackend):
    """A storage system that takes ten minutes for a volume."""

    asked = 0

    async def create(self, wanted: NewVolume) -> Created:
        self.asked += 1
        if anyio.current_time() < 600:
            raise UnderWayError(f"{anyio.current_time() / 6:.0f} % are copied")
        return await super().create(wanted)


@virtual_time
async def test_a_volume_that_takes_long_holds_no_worker_and_tells_how_far_it_is_each_minute() -> None:
    world, events = World(), FakeEvents()
    world.put(STORAGE_CLASS, msgspec.to_builtins(storage_class()))
    world.put(PVC, msgspec.to_builtins(claim()))
    backend, told = Slow(world), events
    recorder: Any = told
    claims = Claims(world.client(), recorder, caches_of(world), Drivers([backend]))
    while world.find(PV, "", "pvc-11111111-2222-3333-4444-555555555555") is None:
        began = anyio.current_time()
        result = await claims.reconcile(CLAIM)
        assert anyio.current_time() == began
        if result.requeue_after is not None:
            assert result.requeue_after <= 40
            await anyio.sleep(result.requeue_after)
    assert anyio.current_time() < 640
    assert 15 < backend.asked < 60
    progress = [note for reason, note in told.told if reason == "Provisioning"]
    assert 7 <= len(progress) <= 10
    assert progress[0] == "0 % are copied"
    assert {reason for reason, _ in told.told} == {"Provisioning", "ProvisioningSucceeded"}
