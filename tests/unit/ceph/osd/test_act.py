"""What is done to OSDs: consent that is asked for once more, and devices that only one cluster gets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.osd.act import handlers
from controller.ceph.osd.prepare_job import (
    DEVICES_VARIABLE,
    PrepareDevices,
    prepare_job,
)
from controller.ceph.osd.reservations import Reservations, ReservedError
from controller.framework.consent import NoConsentError
from controller.framework.plan import Step
from informers import Client
from tests.unit.ceph.osd.cases import (
    IMAGE,
    NOW,
    OPERATOR,
    UNUSED,
    UUIDS,
    FakeCeph,
    a_context,
    analyze,
    cluster,
    disk,
    observation,
)


def replace_namespace(found: CephCluster, namespace: str) -> CephCluster:
    meta = msgspec.structs.replace(found.metadata, namespace=namespace)
    return msgspec.structs.replace(found, metadata=meta)


class Jobs(Client):
    """An API server that takes Jobs, and has the CephCluster in this generation."""

    def __init__(self, generation: int = 1) -> None:
        self.made: list[str] = []
        self.generation = generation

    async def create(self, resource: Any, obj: Any, **_: Any) -> Any:
        self.made.append(obj["metadata"]["namespace"])
        return obj

    async def get(self, *_: Any, **__: Any) -> Any:
        return {"metadata": {"uid": "c1", "generation": self.generation}, "spec": {}}


class TestReservations:
    async def test_of_two_clusters_one_gets_a_device(self) -> None:
        reservations, client = Reservations(lambda: NOW), Jobs()
        lun = disk("sdb", wwn="0x5000c500a1b2c3d4")

        def wanted(namespace: str, node_name: str) -> tuple[CephCluster, tuple[Step, ...]]:
            found = cluster(storage={"useAllNodes": True, "useAllDevices": True})
            found = replace_namespace(found, namespace)
            seen = observation(
                nodes=(node_name,), reports={node_name: (lun,)}, reserved=reservations.of_others(namespace)
            )
            return found, analyze(found, a_context(found), seen)

        first, (one,) = wanted("first", "a")
        second, (two,) = wanted("second", "b")  # seen at the same moment, from another node
        ways: dict[str, Any] = {"script_image": IMAGE, "reservations": reservations}
        await handlers(first, a_context(first), client, UNUSED, FakeCeph(), **ways)[PrepareDevices](one.action)
        with pytest.raises(ReservedError, match="is being prepared for the cluster in namespace first"):
            await handlers(second, a_context(second), client, UNUSED, FakeCeph(), **ways)[PrepareDevices](two.action)
        assert client.made == ["first"]
        assert wanted("second", "b")[1] == ()
        assert [type(s.action) for s in wanted("first", "a")[1]] == [PrepareDevices]

    async def test_a_reservation_ends(self) -> None:
        now = [0.0]
        reservations = Reservations(lambda: now[0])
        reservations.take("first", ["x"])
        now[0] = 3601
        reservations.take("second", ["x"])
        assert reservations.of_others("first") == {"x": "second"}


class TestUnknownData:
    spec = cluster(storage={"useAllNodes": True, "useAllDevices": True, "config": {"overwriteUnknownData": "true"}})

    def test_consent_is_the_specs(self) -> None:
        (step,) = analyze(self.spec, a_context(self.spec), observation(reports={"a": (disk(),)}))
        assert isinstance(step.action, PrepareDevices)
        assert [t.overwrite for t in step.action.targets] == [True]
        job = prepare_job(self.spec.spec.storage, a_context(self.spec), step.action, UUIDS[:1], IMAGE)
        (devices,) = (
            e["value"] for e in job["spec"]["template"]["spec"]["containers"][0]["env"] if e["name"] == DEVICES_VARIABLE
        )
        assert json.loads(devices)[0]["overwrite"] is True

    @pytest.mark.parametrize(("generation", "made"), [(0, ["ns"]), (1, [])])
    async def test_it_is_asked_for_again_when_the_job_is_made(self, generation: int, made: list[str]) -> None:
        (step,) = analyze(self.spec, a_context(self.spec), observation(reports={"a": (disk(),)}))
        client = Jobs(generation)
        act = handlers(self.spec, a_context(self.spec), client, UNUSED, FakeCeph(), **OPERATOR)[PrepareDevices]
        try:
            await act(step.action)
        except NoConsentError:
            assert not made
        assert len(client.made) == len(made)
