"""Commands for file systems; consent that is asked anew at the moment of the act."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.ceph.access.rados import CephError
from controller.ceph.filesystem import act
from controller.ceph.filesystem.act import (
    AddDataPool,
    BusyMdsError,
    CreateFilesystem,
    CreateGroup,
    RemoveFilesystem,
    RemoveUser,
    SetMaxMds,
    SetStandbyReplay,
    StopMds,
    with_consent,
)
from controller.ceph.filesystem.contents import contents_of
from controller.ceph.pools.act import DeletePool
from controller.framework.consent import NoConsentError
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.filesystem.test_state import ANSWER
from tests.unit.ceph.filesystems import NOW, a_filesystem, a_state

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client

SURE = {"rook.io/force-deletion": "true"}
POOLS = (DeletePool("myfs-metadata", rule="r", profile=""),)


def api_server(spec: dict[str, Any] | None = None, **found: Any) -> Client:
    """One that has a file system of this metadata, which is being deleted."""
    meta = {"name": "myfs", "namespace": "rook-ceph", "uid": "f1", "deletionTimestamp": NOW, **found}
    answer = AsyncMock(return_value={"metadata": meta, "spec": spec or {}})
    return cast("Client", SimpleNamespace(get=answer, delete=AsyncMock()))


class Opened:
    """A pool with these objects, as librados opens it."""

    def __init__(self, objects: list[str]) -> None:
        self._objects = objects

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def set_namespace(self, _: str) -> None:
        return None

    def list_objects(self) -> Any:
        return iter([SimpleNamespace(key=name) for name in self._objects])


class Ceph(FakeCeph):
    """Answers as a test says, and has an object of this name in these pools."""

    def __init__(self, answers: dict[str, Any] | None = None, inside: dict[str, str] | None = None) -> None:
        super().__init__({"fs dump": ANSWER, **(answers or {})})
        self.inside = inside or {}

    async def use(self, function: Any, **_: Any) -> Any:
        def open_ioctx(pool: str) -> Opened:
            return Opened([self.inside[pool]] if pool in self.inside else [])

        return function(SimpleNamespace(open_ioctx=open_ioctx))

    @property
    def written(self) -> list[tuple[str, dict[str, Any]]]:
        return [asked for asked in self.asked if asked[0] != "fs dump"]

    async def do(self, action: object, client: Client | None = None) -> None:
        async def users() -> tuple[str, ...]:
            return ()

        filesystem, server = a_filesystem(deleting=True), client if client is not None else api_server()
        await act.handlers(filesystem, server, cast("RadosCluster", self), users)[type(action)](action)


class TestConsent:
    async def carry_out(
        self, action: RemoveFilesystem, client: Client, *, contents: tuple[str, ...] = (), users: tuple[str, ...] = ()
    ) -> int:
        """How often the file system is removed when this is what there is by then."""
        remove = AsyncMock()
        inside, using = AsyncMock(return_value=contents), AsyncMock(return_value=users)
        await with_consent(client, a_filesystem(deleting=True), inside, using, remove)(action)
        return remove.await_count

    quiet, forced = RemoveFilesystem("myfs", True, POOLS), RemoveFilesystem("myfs", True, POOLS, forced=True)

    async def test_one_that_nothing_is_in(self) -> None:
        assert await self.carry_out(self.quiet, api_server()) == 1

    async def test_a_subvolume_that_was_made_meanwhile_keeps_it(self) -> None:
        with pytest.raises(NoConsentError, match="has subvolume csi/v by now: it stays"):
            await self.carry_out(self.quiet, api_server(), contents=("subvolume csi/v",))

    async def test_consent_that_stands_and_one_that_was_withdrawn(self) -> None:
        assert await self.carry_out(self.forced, api_server(annotations=SURE), contents=("subvolume csi/v",)) == 1
        with pytest.raises(NoConsentError, match="was withdrawn: it stays"):
            await self.carry_out(self.forced, api_server())

    @pytest.mark.parametrize("action", [quiet, forced])
    @pytest.mark.parametrize("found", [{"uid": "another"}, {"deletionTimestamp": None}])
    async def test_one_that_is_another_by_then(self, found: dict[str, Any], action: RemoveFilesystem) -> None:
        with pytest.raises(NoConsentError, match="nothing is destroyed"):
            await self.carry_out(action, api_server(annotations=SURE, **found))

    @pytest.mark.parametrize("spec", [{"preserveFilesystemOnDelete": True}, {"preservePoolsOnDelete": True}])
    async def test_one_that_is_to_be_kept_by_then(self, spec: dict[str, Any]) -> None:
        with pytest.raises(NoConsentError, match="is set by now"):
            await self.carry_out(self.forced, api_server(spec, annotations=SURE))

    async def test_an_object_that_uses_it_by_then(self) -> None:
        with pytest.raises(NoConsentError, match="CephFilesystemSubVolumeGroup g uses it by now"):
            await self.carry_out(self.forced, api_server(annotations=SURE), users=("CephFilesystemSubVolumeGroup g",))


class TestCommands:
    async def test_a_removal_fails_it_first_and_takes_the_pools_last(self) -> None:
        ceph = Ceph({"config-key dump": {}})
        await ceph.do(RemoveFilesystem("myfs", True, POOLS, forced=True), api_server(annotations=SURE))
        prefixes = [prefix for prefix, _ in ceph.written]
        assert prefixes[:3] == ["fs fail", "fs rm", "osd pool delete"]
        assert ceph.written[1][1] == {"fs_name": "myfs", "yes_i_really_mean_it": True}

    async def test_a_removal_that_ceph_refuses_leaves_the_pools(self) -> None:
        ceph = Ceph({"fs fail": CephError(1, "MDS_TRIM")})
        with pytest.raises(CephError, match="MDS_TRIM"):
            await ceph.do(RemoveFilesystem("myfs", True, POOLS, forced=True), api_server(annotations=SURE))
        assert [prefix for prefix, _ in ceph.written] == ["fs fail"]

    async def test_a_file_system_is_made_of_empty_pools(self) -> None:
        ceph = Ceph()
        await ceph.do(CreateFilesystem("myfs", "m", "d"))
        await ceph.do(CreateFilesystem("myfs", "m", "d", coded=True))
        made = {"fs_name": "myfs", "metadata": "m", "data": "d"}
        assert ceph.written == [("fs new", made), ("fs new", {**made, "force": True})]

    @pytest.mark.parametrize("coded", [False, True])
    @pytest.mark.parametrize("pool", ["m", "d"])
    async def test_no_file_system_is_made_of_pools_that_have_objects_by_then(self, pool: str, coded: bool) -> None:
        ceph = Ceph(inside={pool: "600.00000000"})
        with pytest.raises(NoConsentError, match=f"pool {pool} has objects by now, such as 600.00000000"):
            await ceph.do(CreateFilesystem("myfs", "m", "d", coded=coded))
        assert ceph.written == []

    async def test_who_follows_a_rank_is_stopped_with_standby_replay(self) -> None:
        ceph = Ceph()
        await ceph.do(SetStandbyReplay("myfs", False))
        setting = {"fs_name": "myfs", "var": "allow_standby_replay", "val": "false"}
        assert ceph.written == [("fs set", setting), ("mds fail", {"role_or_gid": "myfs-a"})]

    async def test_who_holds_a_rank_by_then_is_not_stopped(self) -> None:
        ceph, server = Ceph(), api_server()
        with pytest.raises(BusyMdsError, match=r"mds\.myfs-b holds rank 0 by now"):
            await ceph.do(StopMds("myfs", "myfs-b", "rook-ceph-mds-myfs-b", "u"), server)
        await ceph.do(StopMds("myfs", "myfs-a", "rook-ceph-mds-myfs-a", "u"), server)
        assert [call.args[2] for call in cast("Any", server.delete).await_args_list] == ["rook-ceph-mds-myfs-a"]

    async def test_the_others(self) -> None:
        ceph = Ceph()
        for action in (
            AddDataPool("myfs", "d"),
            SetMaxMds("myfs", 2),
            CreateGroup("myfs", "csi"),
            RemoveUser("mds.myfs-a"),
        ):
            await ceph.do(action)
        assert ceph.written == [
            ("fs add_data_pool", {"fs_name": "myfs", "pool": "d"}),
            ("fs set", {"fs_name": "myfs", "var": "max_mds", "val": "2"}),
            ("fs subvolumegroup create", {"vol_name": "myfs", "group_name": "csi"}),
            ("auth rm", {"entity": "mds.myfs-a"}),
        ]


class TestContents:
    def ceph(self, groups: dict[str, list[str]], inside: dict[str, str] | None = None) -> RadosCluster:
        def subvolumes(vol_name: str, group_name: str = "") -> list[dict[str, str]]:
            assert vol_name == "myfs"
            return [{"name": name} for name in groups.get(group_name, ())]

        answers = {
            "fs subvolumegroup ls": [{"name": name} for name in groups if name],
            "fs subvolume ls": subvolumes,
            "fs subvolume snapshot ls": lambda sub_name, **_: [{"name": "s1"}] if sub_name == "old" else [],
            "osd pool ls": [{"pool_id": 1, "pool_name": "m"}, {"pool_id": 2, "pool_name": "d"}],
        }
        return cast("RadosCluster", Ceph(answers, inside))

    async def test_subvolumes_of_every_group_with_their_snapshots(self) -> None:
        found = await contents_of(
            self.ceph({"": ["bare"], "csi": ["old"], "other": ["x"], "empty": []}), "myfs", a_state("myfs-a")
        )
        assert set(found) == {
            "subvolume bare",
            "subvolume csi/old with snapshot s1",
            "subvolume other/x",
            "subvolume group empty",
        }

    async def test_files_that_are_in_no_subvolume(self) -> None:
        (found,) = await contents_of(self.ceph({"csi": []}, {"d": "1.0"}), "myfs", a_state("myfs-a"))
        assert found == "files that are in no subvolume, with data in pool d"

    async def test_a_new_one_has_nothing(self) -> None:
        assert await contents_of(self.ceph({"csi": []}, {"m": "600.0"}), "myfs", a_state("myfs-a")) == ()

    async def test_who_cannot_look_does_not_say_that_there_is_nothing(self) -> None:
        ceph = cast("RadosCluster", Ceph({"fs subvolumegroup ls": CephError(110, "no answer")}))
        (found,) = await contents_of(ceph, "myfs", a_state("myfs-a"))
        assert found == "subvolumes that cannot be listed (no answer)"
