"""Groups of subvolumes: plans by table, commands, and the status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CephFilesystemSubVolumeGroup
from controller.ceph.access.rados import Connections
from controller.ceph.subvolumegroup import act
from controller.ceph.subvolumegroup.act import GROUPS, CreateGroup, PinGroup, RemoveGroup, ResizeGroup
from controller.ceph.subvolumegroup.analyze import analyze, kept
from controller.ceph.subvolumegroup.kind import CLUSTERS, FILESYSTEMS, FINALIZER, register
from controller.ceph.subvolumegroup.observe import GroupObservation, observe
from controller.ceph.subvolumegroup.spec import unserved
from controller.ceph.subvolumegroup.status import show
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, Outcome, StepResult, StepState, preview
from controller.framework.settings import Settings
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.filesystem.test_state import ANSWER

if TYPE_CHECKING:
    from informers import Client, JsonObject

NOW = "2027-01-15T08:00:00Z"
PINNED = {"info": {"pinning": "distributed=1"}}
INFO = {"bytes_quota": "infinite", "data_pool": "myfs-data0"}


def a_group(
    spec: JsonObject | None = None, *, deleting: bool = False, status: JsonObject | None = None
) -> CephFilesystemSubVolumeGroup:
    meta: JsonObject = {"name": "team-a", "namespace": "rook-ceph", "uid": "g1", "generation": 2}
    if deleting:
        meta["deletionTimestamp"] = NOW
    spec = {"filesystemName": "myfs", **(spec or {})}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status or {}}, CephFilesystemSubVolumeGroup)


def actions(group: CephFilesystemSubVolumeGroup, seen: GroupObservation) -> list[object]:
    return [step.action for step in analyze(group, seen).steps if step.held_by is None]


class TestPlan:
    def test_is_made_with_its_quota_and_pool_and_pinned(self) -> None:
        assert actions(a_group(), GroupObservation()) == [
            CreateGroup("myfs", "team-a"),
            PinGroup("myfs", "team-a", "distributed", "1"),
        ]
        spec = {"name": "g", "quota": "1Gi", "dataPoolName": "fast", "pinning": {"export": 2}}
        assert actions(a_group(spec), GroupObservation()) == [
            CreateGroup("myfs", "g", "1073741824", "fast"),
            PinGroup("myfs", "g", "export", "2"),
        ]

    def test_at_rest_nothing_is_done(self) -> None:
        assert actions(a_group(status=PINNED), GroupObservation(present=True)) == []

    @pytest.mark.parametrize(
        ("spec", "found", "expected"),
        [
            ({"quota": "2Gi"}, "1073741824", "2147483648"),
            ({}, "1073741824", "infinite"),
            ({"quota": 1073741824}, "infinite", "1073741824"),
        ],
    )
    def test_another_quota(self, spec: JsonObject, found: str, expected: str) -> None:
        seen = GroupObservation(present=True, quota=found)
        assert actions(a_group(spec, status=PINNED), seen) == [ResizeGroup("myfs", "team-a", expected)]

    @pytest.mark.parametrize(
        ("pinning", "expected"), [({"random": 0.25}, ("random", "0.25")), ({"distributed": 0}, ("distributed", "0"))]
    )
    def test_another_pinning(self, pinning: JsonObject, expected: tuple[str, str]) -> None:
        group = a_group({"pinning": pinning}, status=PINNED)
        assert actions(group, GroupObservation(present=True)) == [PinGroup("myfs", "team-a", *expected)]

    def test_a_pool_cannot_be_another(self) -> None:
        group = a_group({"dataPoolName": "fast"}, status=PINNED)
        seen = GroupObservation(present=True, data_pool="myfs-data0")
        assert actions(group, seen) == []
        assert kept(group, seen) == (
            "dataPoolName: the group's data is in pool myfs-data0, not fast: make another group",
        )

    def test_waits_for_what_it_is_in(self) -> None:
        (step,) = analyze(a_group(), GroupObservation(waits_for="CephFilesystem myfs to exist", gone=True)).steps
        assert step.waits_for == "CephFilesystem myfs to exist"

    def test_deletion(self) -> None:
        gone = a_group(deleting=True)
        assert actions(gone, GroupObservation(present=True)) == [RemoveGroup("myfs", "team-a"), LetGo()]
        assert actions(gone, GroupObservation()) == [LetGo()]
        assert actions(gone, GroupObservation(waits_for="CephFilesystem myfs to exist", gone=True)) == [LetGo()]
        assert actions(gone, GroupObservation(waits_for="the mgr to answer")) == []
        full = GroupObservation(present=True, subvolumes=("a", "b"))
        (step,) = analyze(gone, full).steps
        assert step.waits_for == "its subvolumes to be deleted: a, b"

    def test_what_is_not_served_is_named(self) -> None:
        assert unserved({"filesystemName": "x", "clusterID": "y"}) == ("clusterID",)


class TestStatus:
    def shown(self, group: CephFilesystemSubVolumeGroup, seen: GroupObservation, outcome: Outcome | None = None) -> Any:
        outcome = outcome if outcome is not None else preview(analyze(group, seen))
        return show(Look(obj=group, spec={}, mode=APPLY, now=0.0), seen, outcome)

    def test_remembers_the_pinning_once_ceph_was_told(self) -> None:
        group, seen = a_group(), GroupObservation(present=True)
        assert self.shown(group, seen).info == {}
        (step,) = analyze(group, seen).steps
        told = Outcome(results=(StepResult(step=step, state=StepState.DONE),))
        assert self.shown(group, seen, told).info == {"pinning": "distributed=1"}

    def test_names_what_blocks_its_deletion(self) -> None:
        seen = GroupObservation(present=True, subvolumes=("csi-vol-1",))
        conditions = {c.type: c for c in self.shown(a_group(deleting=True), seen).conditions}
        assert conditions["DeletionIsBlocked"].message == "it has csi-vol-1"

    def test_ready(self) -> None:
        assert self.shown(a_group(status=PINNED), GroupObservation(present=True)).phase == "Ready"


class TestCeph:
    def ceph(self, *groups: str, dump: Any = ANSWER) -> FakeCeph:
        return FakeCeph(
            {
                "fs dump": dump,
                "fs subvolumegroup ls": [{"name": name} for name in groups],
                "fs subvolumegroup info": INFO,
                "fs subvolume ls": [{"name": "v"}],
            }
        )

    async def test_observation(self) -> None:
        assert await observe(self.ceph("team-a"), a_group()) == GroupObservation(present=True, data_pool="myfs-data0")
        assert await observe(self.ceph(), a_group()) == GroupObservation()
        going = await observe(self.ceph("team-a"), a_group(deleting=True))
        assert going.subvolumes == ("v",)

    async def test_without_a_file_system_that_serves_the_mgr_is_not_asked(self) -> None:
        absent = self.ceph(dump={"filesystems": [], "standbys": []})
        assert (await observe(absent, a_group())).gone
        idle = self.ceph(dump={**ANSWER, "filesystems": [_without_daemons(ANSWER["filesystems"][0])]})
        assert (await observe(idle, a_group())).waits_for.endswith("to be active")
        assert [prefix for prefix, _ in (*absent.asked, *idle.asked)] == ["fs dump", "fs dump"]

    async def test_commands(self) -> None:
        ceph = FakeCeph()
        meta = {"uid": "g1", "deletionTimestamp": NOW}
        client = cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": meta})))
        ways = act.handlers(a_group(deleting=True), client, ceph)
        for action in (
            CreateGroup("myfs", "g", "1024", "fast"),
            ResizeGroup("myfs", "g", "infinite"),
            PinGroup("myfs", "g", "export", "2"),
            RemoveGroup("myfs", "g"),
        ):
            await ways[type(action)](action)
        group = {"vol_name": "myfs", "group_name": "g"}
        assert ceph.asked == [
            ("fs subvolumegroup create", {**group, "size": 1024, "pool_layout": "fast"}),
            ("fs subvolumegroup resize", {**group, "new_size": "infinite"}),
            ("fs subvolumegroup pin", {**group, "pin_type": "export", "pin_setting": "2"}),
            ("fs subvolumegroup rm", group),
        ]

    async def test_one_that_is_not_deleted_by_then_stays(self) -> None:
        ceph = FakeCeph()
        client = cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": {"uid": "g1"}})))
        with pytest.raises(NoConsentError, match="is not being deleted"):
            await act.handlers(a_group(deleting=True), client, ceph)[RemoveGroup](RemoveGroup("myfs", "g"))
        assert ceph.asked == []


def _without_daemons(found: JsonObject) -> JsonObject:
    return {**found, "mdsmap": {**found["mdsmap"], "info": {}}}


@virtual_time
async def test_a_group_waits_for_its_cluster_and_goes_without_one() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (GROUPS, CLUSTERS, FILESYSTEMS):
        server.serve(resource)
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), Connections())
    key = ("rook-ceph", "team-a")

    def phase() -> str:
        return str(server.get(GROUPS, *key).get("status", {}).get("phase", ""))

    async with running(manager):
        meta = {"namespace": key[0], "name": key[1]}
        server.create(GROUPS, {"metadata": meta, "spec": {"filesystemName": "myfs"}})
        await until(lambda: phase() == "Progressing")
        assert server.get(GROUPS, *key)["metadata"]["finalizers"] == [FINALIZER]
        server.delete(GROUPS, *key)
        await until(lambda: server.find(GROUPS, *key) is None)
