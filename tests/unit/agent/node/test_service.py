"""The CSI node service, on real block devices, file systems and mounts."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import anyio
import grpc
import msgspec
import pytest

from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError, Operations, status_of
from controller.agent.node.clients import Clients, NotToldError
from controller.agent.node.driver import VolumeError
from controller.agent.node.service import NodeService
from controller.agent.system import mounts
from controller.agent.system.command import CommandError, Done, run
from controller.agent.system.files import file_name
from controller.agent.system.filesystem import FilesystemError, ext4_can_grow, prepare
from controller.apis.rook.node_report import VolumeClient, VolumeProblem
from tests.unit.agent.standin import ADDRESS, DRIVER, GIB, FileMapper, Operator, Tasks, needs_loop_devices, service

pytestmark = needs_loop_devices

WRITER = csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_WRITER
READERS = csi_pb2.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY
CONTEXT = None
MIB = 1 << 20
MAKE_PARTITION_TABLE = r"""
printf '\125\252' | dd of=$0 bs=1 seek=510 conv=notrunc
printf '\203' | dd of=$0 bs=1 seek=450 conv=notrunc
"""


def capability(fs_type: str = "", *, block: bool = False, mode: Any = WRITER, flags: tuple[str, ...] = ()) -> Any:
    access = csi_pb2.VolumeCapability.AccessMode(mode=mode)
    if block:
        return csi_pb2.VolumeCapability(block=csi_pb2.VolumeCapability.BlockVolume(), access_mode=access)
    mount = csi_pb2.VolumeCapability.MountVolume(fs_type=fs_type, mount_flags=flags)
    return csi_pb2.VolumeCapability(mount=mount, access_mode=access)


class Kubelet:
    """Calls the service as the kubelet does, for one volume."""

    def __init__(self, node: NodeService, directory: Path, **options: Any) -> None:
        self.node = node
        self.volume = "vol-1"
        self.staging = str(directory / "staging")
        self.target = str(directory / "pods/1/mount")
        self.capability = capability(**options)
        self.publish_context = {"monitors": "10.0.0.1:6789,10.0.0.2:6789", "pool": "p", "imageName": "image"}
        self.secrets = {"userID": "csi-rbd-node", "userKey": "c2VjcmV0"}

    async def stage(self) -> None:
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=self.volume,
            staging_target_path=self.staging,
            volume_capability=self.capability,
            publish_context=self.publish_context,
            secrets=self.secrets,
        )
        await self.node.NodeStageVolume(request, CONTEXT)

    async def publish(self, target: str = "", *, readonly: bool = False) -> str:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=self.volume,
            staging_target_path=self.staging,
            target_path=target or self.target,
            volume_capability=self.capability,
            readonly=readonly,
        )
        await self.node.NodePublishVolume(request, CONTEXT)
        return target or self.target

    async def unpublish(self, target: str = "") -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=self.volume, target_path=target or self.target)
        await self.node.NodeUnpublishVolume(request, CONTEXT)

    async def unstage(self) -> None:
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=self.volume, staging_target_path=self.staging)
        await self.node.NodeUnstageVolume(request, CONTEXT)

    async def stats(self) -> csi_pb2.NodeGetVolumeStatsResponse:
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=self.volume, volume_path=self.target)
        return await self.node.NodeGetVolumeStats(request, CONTEXT)

    async def expand(self, size: int) -> int:
        request = csi_pb2.NodeExpandVolumeRequest(
            volume_id=self.volume,
            volume_path=self.target,
            capacity_range=csi_pb2.CapacityRange(required_bytes=size),
        )
        return (await self.node.NodeExpandVolume(request, CONTEXT)).capacity_bytes


@pytest.fixture
def kubelet(node: NodeService, mapper: FileMapper, tmp_path: Path) -> Kubelet:
    mapper.create("image")
    return Kubelet(node, tmp_path)


def head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def overwrite(path: Path, content: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())


def taken(path: Path) -> int:
    """The bytes that a sparse file takes."""
    return path.stat().st_blocks * 512


def exists(path: Path) -> bool:
    return path.exists()


def mounted(path: str) -> mounts.Mount | None:
    return mounts.at(path, mounts.read())


@pytest.mark.parametrize("fs_type", ["ext4", "ext3", "xfs"])
async def test_a_volume_is_made_used_and_found_again(
    node: NodeService, mapper: FileMapper, tmp_path: Path, fs_type: str
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type=fs_type)
    await kubelet.stage()
    target = Path(await kubelet.publish())
    (target / "file").write_text("kept")
    await kubelet.unpublish()
    assert not exists(target)
    await kubelet.unstage()
    assert mapper.mapped == {}

    await kubelet.stage()
    await kubelet.publish()
    assert (target / "file").read_text() == "kept"
    mount = mounted(str(target))
    assert mount is not None
    assert mount.filesystem == fs_type
    assert not mount.read_only


async def test_every_call_may_be_repeated(kubelet: Kubelet, mapper: FileMapper) -> None:
    for _ in range(2):
        await kubelet.stage()
    for _ in range(2):
        await kubelet.publish()
    assert [m.target for m in mounts.read()].count(kubelet.target) == 1
    assert [m.target for m in mounts.read()].count(kubelet.staging) == 1
    for _ in range(2):
        await kubelet.unpublish()
    for _ in range(2):
        await kubelet.unstage()
    assert mapper.mapped == {}
    assert mounted(kubelet.staging) is None


async def test_two_pods_of_a_node_share_a_volume(kubelet: Kubelet, tmp_path: Path) -> None:
    await kubelet.stage()
    first = Path(await kubelet.publish())
    second = Path(await kubelet.publish(str(tmp_path / "pods/2/mount"), readonly=True))
    (first / "file").write_text("seen")
    assert (second / "file").read_text() == "seen"
    with pytest.raises(OSError, match="Read-only"):
        (second / "other").write_text("refused")
    await kubelet.unpublish(str(first))
    assert (second / "file").read_text() == "seen"


@pytest.mark.parametrize("block", [False, True])
async def test_a_volume_for_one_pod_is_not_given_to_another(
    node: NodeService, mapper: FileMapper, tmp_path: Path, *, block: bool
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, block=block, mode=csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_SINGLE_WRITER)
    await kubelet.stage()
    first = await kubelet.publish()
    assert await kubelet.publish() == first
    second = str(tmp_path / "pods/2/mount")
    with pytest.raises(CsiError, match=f"is published at {first}") as refused:
        await kubelet.publish(second)
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert not exists(Path(second))
    await kubelet.unpublish(first)
    await kubelet.unpublish(await kubelet.publish(second))
    await kubelet.unstage()


async def test_a_volume_in_use_is_not_unstaged(kubelet: Kubelet, mapper: FileMapper) -> None:
    await kubelet.stage()
    target = Path(await kubelet.publish())
    with pytest.raises(Exception, match="still mounted"):
        await kubelet.unstage()
    assert mapper.mapped
    (target / "file").write_text("works")


async def test_data_without_a_signature_is_never_formatted(kubelet: Kubelet, mapper: FileMapper) -> None:
    path = mapper.create("image")
    with path.open("r+b") as file:
        file.seek(3 << 20)
        file.write(b"precious")
    with pytest.raises(FilesystemError, match="data that is no known file system"):
        await kubelet.stage()
    with path.open("rb") as file:
        file.seek(3 << 20)
        assert file.read(8) == b"precious"
    assert mounted(kubelet.staging) is None


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (["mkfs.xfs", "-q"], "xfs"),
        (["mkswap"], "swap"),
        (["sh", "-c", MAKE_PARTITION_TABLE], "dos partition table"),
    ],
)
async def test_other_content_is_never_formatted(
    kubelet: Kubelet, mapper: FileMapper, make: list[str], named: str
) -> None:
    path = mapper.create("image")
    await anyio.run_process([*make, str(path)])
    before = head(path, 1 << 20)
    with pytest.raises(FilesystemError, match=rf"has .*{named}.*: expected ext4") as refused:
        await kubelet.stage()
    assert status_of(refused.value)[0] is grpc.StatusCode.FAILED_PRECONDITION
    assert head(path, 1 << 20) == before


@pytest.mark.parametrize("filesystem", ["ext4", "ext3", "xfs"])
@pytest.mark.parametrize("size", [GIB // 2, 3 * GIB + 12345 * 512])
async def test_a_file_system_that_lost_its_start_is_not_made_over(
    node: NodeService, mapper: FileMapper, tmp_path: Path, filesystem: str, size: int
) -> None:
    """As an image does whose first object is lost: what is not there is read as zeros."""
    path = mapper.create("image", size)
    kubelet = Kubelet(node, tmp_path, fs_type=filesystem)
    await kubelet.stage()
    await kubelet.unstage()
    overwrite(path, bytes(4 << 20))
    with pytest.raises(FilesystemError, match=r"has data that is no known file system, at byte \d+"):
        await kubelet.stage()


async def test_a_device_that_cannot_be_read_is_not_formatted(tmp_path: Path) -> None:
    """Not even where a file system was being made: somebody else may have finished it."""
    asked: list[str] = []

    async def finds_nothing(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        asked.append(argv[0])
        return Done(2)

    unfinished = tmp_path / "unfinished"
    unfinished.touch()
    with pytest.raises(OSError, match="No such"):
        await prepare(finds_nothing, str(tmp_path / "gone"), "ext4", unfinished=unfinished, read_only=False)
    assert asked == ["blkid"]


async def test_another_volume_of_the_same_handle_is_not_taken_for_it(kubelet: Kubelet, mapper: FileMapper) -> None:
    await kubelet.stage()
    mapper.create("another")
    kubelet.publish_context["imageName"] = "another"
    with pytest.raises(CsiError, match=r"is image p/another, and is mapped here .* image p/image"):
        await kubelet.stage()
    await kubelet.unstage()
    await kubelet.stage()
    assert mapper.mapped[kubelet.volume].image == "p/another"


async def test_an_interrupted_mkfs_is_started_over(mapper: FileMapper, operator: Operator, tmp_path: Path) -> None:
    path = mapper.create("image")

    async def dies_in_mkfs(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        if argv[0] == "mkfs.ext4":
            with path.open("r+b") as file:
                file.write(os.urandom(1 << 20))  # what it got to write
            raise CommandError("mkfs.ext4", "killed")
        return await run(*argv, deadline=deadline, ok=ok)

    async with anyio.create_task_group() as tasks:
        first = Kubelet(service(mapper, operator, tmp_path, Operations(tasks), dies_in_mkfs), tmp_path)
        with pytest.raises(CommandError, match="killed"):
            await first.stage()
        after_restart = Kubelet(service(mapper, operator, tmp_path, Operations(tasks)), tmp_path)
        await after_restart.stage()
        assert mounted(after_restart.staging) is not None
        assert not list((tmp_path / "state/unfinished").iterdir())


@pytest.mark.parametrize("filesystem", ["ext4", "ext3", "xfs"])
async def test_what_another_node_has_made_since_is_not_made_over(
    node: NodeService, mapper: FileMapper, tmp_path: Path, filesystem: str
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type=filesystem)
    await kubelet.stage()
    await anyio.Path(kubelet.staging, "precious").write_text("data")
    await kubelet.unstage()
    unfinished = tmp_path / "state/unfinished" / file_name(kubelet.volume)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()  # as left by this node's own try, before the pod went to the other one
    await kubelet.stage()
    assert await anyio.Path(kubelet.staging, "precious").read_text() == "data"
    assert not unfinished.exists()


async def test_a_forgotten_device_in_use_is_not_mapped_twice(kubelet: Kubelet, mapper: FileMapper) -> None:
    await kubelet.stage()
    await kubelet.publish()
    forgotten = mapper.mapped.pop(kubelet.volume)
    with pytest.raises(CsiError, match=r"still mounted at .*pods/1/mount"):
        await kubelet.stage()
    assert mounted(kubelet.staging) is not None
    assert await mapper.find(kubelet.volume) is None
    await kubelet.unpublish()
    await kubelet.stage()
    assert mounted(kubelet.staging) is not None
    assert await mapper.find(kubelet.volume) not in (None, forgotten)


async def test_a_damaged_file_system_is_reported_not_mounted(kubelet: Kubelet, mapper: FileMapper) -> None:
    await kubelet.stage()
    await kubelet.unstage()
    path = mapper.directory / "image"
    with path.open("r+b") as file:  # the group descriptors and bitmaps, with every copy of the superblock kept
        file.seek(4096)
        file.write(os.urandom(200_000))
    with pytest.raises(FilesystemError, match="check by hand"):
        await kubelet.stage()
    assert mounted(kubelet.staging) is None


async def test_readers_of_many_nodes_get_a_read_only_device(
    node: NodeService, mapper: FileMapper, tmp_path: Path, kubelet: Kubelet
) -> None:
    await kubelet.stage()
    await kubelet.unstage()
    reader = Kubelet(node, tmp_path, mode=READERS)
    await reader.stage()
    target = Path(await reader.publish())
    assert mapper.mapped["vol-1"].read_only
    with pytest.raises(OSError, match="Read-only"):
        (target / "file").write_text("refused")


async def test_a_reader_formats_nothing(node: NodeService, mapper: FileMapper, tmp_path: Path) -> None:
    mapper.create("image")
    reader = Kubelet(node, tmp_path, mode=READERS)
    with pytest.raises(FilesystemError, match="no file system, and is to be mounted read-only"):
        await reader.stage()


async def test_block_volume(node: NodeService, mapper: FileMapper, tmp_path: Path) -> None:
    path = mapper.create("image")
    kubelet = Kubelet(node, tmp_path, block=True)
    await kubelet.stage()
    for _ in range(2):
        await kubelet.publish()
    overwrite(Path(kubelet.target), b"x" * 4096)
    assert head(path, 4096) == b"x" * 4096
    usage = (await kubelet.stats()).usage
    assert [(u.total, u.unit) for u in usage] == [(GIB, csi_pb2.VolumeUsage.BYTES)]
    assert await kubelet.expand(2 * GIB) == 2 * GIB
    await kubelet.unpublish()
    assert not exists(Path(kubelet.target))
    await kubelet.unstage()
    await kubelet.stage()
    assert head(path, 4096) == b"x" * 4096  # nothing was formatted


async def test_stats_of_a_file_system(kubelet: Kubelet) -> None:
    await kubelet.stage()
    await kubelet.publish()
    answer = await kubelet.stats()
    size, inodes = answer.usage
    assert 0.9 * GIB < size.total < GIB
    assert size.used + size.available <= size.total
    assert inodes.unit == csi_pb2.VolumeUsage.INODES
    assert inodes.used >= 11
    assert not answer.volume_condition.abnormal


async def test_xfs_grows_while_it_is_mounted(node: NodeService, mapper: FileMapper, tmp_path: Path) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type="xfs")
    await kubelet.stage()
    await kubelet.publish()
    assert await kubelet.expand(2 * GIB) == 2 * GIB
    assert (await kubelet.stats()).usage[0].total > 1.8 * GIB
    assert await kubelet.expand(2 * GIB) == 2 * GIB


@pytest.mark.parametrize("fs_type", ["ext4", "ext3", "xfs"])
async def test_what_grew_while_it_was_away_is_grown_when_it_is_staged(
    node: NodeService, mapper: FileMapper, tmp_path: Path, fs_type: str
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type=fs_type)
    await kubelet.stage()
    await kubelet.unstage()
    mapper.create("image", 2 * GIB)
    await kubelet.stage()
    assert os.statvfs(kubelet.staging).f_blocks * os.statvfs(kubelet.staging).f_frsize > 1.8 * GIB


@pytest.mark.parametrize("fs_type", ["ext4", "ext3", "xfs"])
async def test_space_of_deleted_files_is_given_back_while_a_pod_uses_the_volume(
    node: NodeService, mapper: FileMapper, tmp_path: Path, fs_type: str
) -> None:
    image = mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type=fs_type)
    assert await node.trim(kubelet.volume) is None, "it is not mounted"
    await kubelet.stage()
    target = Path(await kubelet.publish())
    (target / "kept").write_bytes(b"k" * MIB)
    (target / "gone").write_bytes(os.urandom(64 * MIB))
    await run("sync", "--file-system", str(target))
    before = taken(image)
    (target / "gone").unlink()
    await run("sync", "--file-system", str(target))
    with anyio.fail_after(60):
        while before - taken(image) < 60 * MIB:  # xfs frees what was deleted in the background
            discarded = await node.trim(kubelet.volume)
            assert discarded is not None
            assert discarded >= 64 * MIB
    assert (target / "kept").read_bytes() == b"k" * MIB
    await kubelet.unpublish()
    await kubelet.unstage()


async def test_an_encrypted_volume_is_not_trimmed(kubelet: Kubelet, mapper: FileMapper) -> None:
    await kubelet.stage()
    mapper.mapped[kubelet.volume] = msgspec.structs.replace(mapper.mapped[kubelet.volume], encrypted=True)
    with pytest.raises(VolumeError, match="is encrypted"):
        await kubelet.node.trim(kubelet.volume)
    await kubelet.unstage()


async def test_a_block_volume_or_one_for_readers_is_not_trimmed(
    node: NodeService, mapper: FileMapper, tmp_path: Path
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, block=True)
    await kubelet.stage()
    await kubelet.publish()
    assert await node.trim(kubelet.volume) is None
    await kubelet.unpublish()
    await kubelet.unstage()


@pytest.mark.parametrize("fs_type", ["ext4", "ext3", "xfs"])
async def test_one_that_cannot_be_grown_is_mounted_as_it_is(
    mapper: FileMapper, operator: Operator, tmp_path: Path, fs_type: str
) -> None:
    async def grows_nothing(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        if argv[0] in ("resize2fs", "xfs_growfs"):
            raise CommandError(argv[0], "the kernel refused", 1)
        return await run(*argv, deadline=deadline, ok=ok)

    mapper.create("image")
    kubelet = Kubelet(
        service(mapper, operator, tmp_path, Operations(Tasks()), grows_nothing), tmp_path, fs_type=fs_type
    )
    await kubelet.stage()
    await kubelet.unstage()
    mapper.create("image", 2 * GIB)
    await kubelet.stage()
    assert mounted(kubelet.staging) is not None


async def test_the_label_of_selinux_reaches_the_mount_as_one_option(
    mapper: FileMapper, operator: Operator, tmp_path: Path
) -> None:
    """A kernel without SELinux has none: there, mount(8) leaves it out."""
    options: list[str] = []

    async def records(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        if argv[:2] == ("mount", "-t"):
            options.append(argv[argv.index("-o") + 1])
        return await run(*argv, deadline=deadline, ok=ok)

    mapper.create("image")
    node, label = service(mapper, operator, tmp_path, Operations(Tasks()), records), "system_u:object_r:t:s0:c1,c2"
    kubelet = Kubelet(node, tmp_path, fs_type="xfs", flags=(f'context="{label}"', "noatime"))
    await kubelet.stage()
    assert options == [f'context="{label}",noatime,nouuid']
    assert mounted(kubelet.staging) is not None


async def test_a_copy_of_an_xfs_is_mounted_beside_it(node: NodeService, mapper: FileMapper, tmp_path: Path) -> None:
    image = mapper.create("image")
    kubelet = Kubelet(node, tmp_path, fs_type="xfs")
    await kubelet.stage()
    await kubelet.unstage()
    await run("cp", "--sparse=always", str(image), str(mapper.directory / "copy"))
    await kubelet.stage()
    copy = Kubelet(node, tmp_path / "copy", fs_type="xfs")
    copy.volume, copy.publish_context["imageName"] = "vol-2", "copy"
    await copy.stage()
    assert mounted(kubelet.staging) is not None
    assert mounted(copy.staging) is not None


async def test_a_type_of_file_system_that_is_not_known_is_named(
    node: NodeService, mapper: FileMapper, tmp_path: Path
) -> None:
    mapper.create("image")
    with pytest.raises(CsiError, match="file system type 'btrfs' is not served: expected ext4 or ext3 or xfs"):
        await Kubelet(node, tmp_path, fs_type="btrfs").stage()
    assert mapper.mapped == {}


async def test_mount_options_reach_the_mount(node: NodeService, mapper: FileMapper, tmp_path: Path) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, flags=("noatime", "nodev"))
    await kubelet.stage()
    mount = mounted(kubelet.staging)
    assert mount is not None
    assert {"noatime", "nodev"} <= mount.options


async def test_a_dead_mapping_is_reported_and_made_anew(
    kubelet: Kubelet, mapper: FileMapper, operator: Operator
) -> None:
    await kubelet.stage()
    await kubelet.publish()
    (Path(kubelet.target) / "file").write_text("kept")
    os.sync()
    alive = mapper.mapped["vol-1"]
    mapper.mapped["vol-1"] = type(alive)(volume="vol-1", image=alive.image, device=alive.device, problem="it died")
    condition = (await kubelet.stats()).volume_condition
    assert (condition.abnormal, condition.message) == (True, "it died")
    told = VolumeProblem(driver=DRIVER, volume_handle="vol-1", message="it died")
    assert operator.problems.listed() == (told,)
    with pytest.raises(CsiError, match="it died") as refused:
        await kubelet.publish(f"{kubelet.target}-2")
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    await kubelet.unpublish()
    await kubelet.stage()
    assert mapper.mapped["vol-1"].problem == ""
    await kubelet.publish()
    assert (Path(kubelet.target) / "file").read_text() == "kept"
    await kubelet.stats()
    assert operator.problems.listed() == ()


async def test_what_is_told_of_a_volume_goes_with_it(kubelet: Kubelet, mapper: FileMapper, operator: Operator) -> None:
    await kubelet.stage()
    await kubelet.publish()
    alive, operator.refuses = mapper.mapped["vol-1"], True
    mapper.mapped["vol-1"] = type(alive)(volume="vol-1", image=alive.image, device=alive.device, problem="it died")
    assert (await kubelet.stats()).volume_condition.abnormal, "the kubelet is answered though the operator is not told"
    assert len(operator.problems.listed()) == 1
    await kubelet.unpublish()
    await kubelet.unstage()
    assert operator.problems.listed() == ()


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("volume", "", "volume_id"),
        ("staging", "", "staging_target_path"),
        ("capability", csi_pb2.VolumeCapability(), "access type"),
        ("secrets", {"userID": "x"}, "userKey"),
        ("publish_context", {"monitors": "a", "pool": "p"}, "imageName"),
        ("capability", capability(fs_type="btrfs"), "btrfs"),
        (
            "capability",
            capability(mode=csi_pb2.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER),
            "MULTI_NODE_MULTI_WRITER",
        ),
    ],
)
async def test_wrong_requests_are_refused_by_name(kubelet: Kubelet, field: str, value: Any, named: str) -> None:
    setattr(kubelet, field, value)
    with pytest.raises(CsiError, match=named) as refused:
        await kubelet.stage()
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_not_there(kubelet: Kubelet) -> None:
    with pytest.raises(CsiError) as refused:
        await kubelet.publish()
    assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(CsiError) as refused:
        await kubelet.stats()
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    with pytest.raises(CsiError) as refused:
        await kubelet.expand(2 * GIB)
    assert refused.value.code is grpc.StatusCode.NOT_FOUND
    await kubelet.unpublish()
    await kubelet.unstage()


async def test_a_node_that_cannot_map_says_why(kubelet: Kubelet, mapper: FileMapper) -> None:
    mapper.problem = "no mounter"
    with pytest.raises(CsiError, match="no mounter") as refused:
        await kubelet.stage()
    assert refused.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_call_waits_for_the_operation_under_way_and_one_that_is_cancelled_goes_on() -> None:
    began, go_on, done = anyio.Event(), anyio.Event(), list[str]()

    async def operation() -> None:
        began.set()
        await go_on.wait()
        done.append("first")

    async def second() -> str:
        done.append("second")
        return "answered"

    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks)
        async with anyio.create_task_group() as call:
            call.start_soon(operations.run, "v", operation)
            await began.wait()
            assert await operations.run("w", second) == "answered"
            call.cancel_scope.cancel()
        assert done == ["second"]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as others:
                others.start_soon(operations.run, "v", second)
                others.start_soon(operations.run, "v", second)
                await anyio.wait_all_tasks_blocked()
                assert done == ["second"]
                go_on.set()
        assert done == ["second", "first", "second", "second"]


async def test_what_takes_longer_than_a_call_is_told_goes_on_and_is_not_begun_twice() -> None:
    began, go_on = list[str](), anyio.Event()

    async def operation() -> str:
        began.append("once")
        await go_on.wait()
        return "done"

    async with anyio.create_task_group() as tasks:
        operations = Operations(tasks, seconds=0.01)
        with pytest.raises(CsiError, match="NodeStageVolume has been running for 0 s and goes on") as first:
            await operations.run("v", operation, "NodeStageVolume")
        with pytest.raises(CsiError, match="volume v: NodeStageVolume has been running") as second:
            await operations.run("v", operation, "NodeStageVolume")
        assert first.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert second.value.code is grpc.StatusCode.ABORTED
        assert began == ["once"]
        go_on.set()
        with anyio.fail_after(60):
            await operations.drained()
        with pytest.raises(CsiError, match="the agent is ending") as late:
            await operations.run("v", operation)
        assert late.value.code is grpc.StatusCode.UNAVAILABLE


async def test_the_scheduler_is_told_how_many_volumes_the_node_has_room_for(node: NodeService) -> None:
    info = await node.NodeGetInfo(csi_pb2.NodeGetInfoRequest(), CONTEXT)
    assert (info.node_id, info.max_volumes_per_node) == ("node-a", 7)


async def test_the_operator_knows_the_client_before_the_stage_succeeds(
    kubelet: Kubelet, mapper: FileMapper, operator: Operator, tmp_path: Path
) -> None:
    operator.refuses = True
    with pytest.raises(NotToldError, match="NodeReport cannot be written: the server does not answer") as refused:
        await kubelet.stage()
    assert status_of(refused.value)[0] is grpc.StatusCode.UNAVAILABLE
    assert mapper.mapped == {}, "what could not be told is not kept"
    assert mounted(kubelet.staging) is None

    operator.refuses = False
    await kubelet.stage()
    client = VolumeClient(driver=DRIVER, volume_handle=kubelet.volume, image="p/image", address=ADDRESS)
    assert operator.told[-1] == (client,)
    after_restart = Clients(tmp_path / "state/clients", operator.publish)
    after_restart.load()
    assert after_restart.listed() == (client,)
    operator.refuses = True
    await kubelet.unstage()
    assert operator.clients.listed() == ()
    assert not list((tmp_path / "state/clients").iterdir())


async def test_a_stage_that_fails_leaves_nothing_and_the_next_one_sees_the_new_size(
    node: NodeService, mapper: FileMapper, operator: Operator, tmp_path: Path
) -> None:
    mapper.create("image", 100 << 20)
    kubelet = Kubelet(node, tmp_path, fs_type="xfs")
    with pytest.raises(CommandError, match="must be larger than 300MB") as failed:
        await kubelet.stage()
    assert "Usage" not in str(failed.value)
    assert mapper.mapped == {}
    assert operator.told[-1] == ()
    mapper.create("image", 512 << 20)
    await kubelet.stage()
    assert mounted(kubelet.staging) is not None


async def test_a_stage_that_fails_keeps_what_is_in_use(
    kubelet: Kubelet, mapper: FileMapper, operator: Operator, tmp_path: Path
) -> None:
    await kubelet.stage()
    await kubelet.publish()
    await run("umount", kubelet.staging)
    kubelet.capability = capability(fs_type="xfs")
    with pytest.raises(FilesystemError, match="has ext4: expected xfs"):
        await kubelet.stage()
    assert list(mapper.mapped) == [kubelet.volume]
    assert len(operator.clients.listed()) == 1


async def test_what_cannot_be_unmapped_after_a_failed_stage_is_abandoned_until_it_is_staged_or_unmapped(
    node: NodeService, mapper: FileMapper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path)

    async def hangs(volume: str) -> None:
        raise CommandError("losetup", "did not end within 30 s")

    async def yes() -> bool:
        return True

    async def fail() -> None:
        kubelet.capability = capability(fs_type="btrfs")
        with monkeypatch.context() as patched:
            patched.setattr(mapper, "unmap", hangs)
            with pytest.raises(CsiError, match="not served"):
                await kubelet.stage()
        assert list(mapper.mapped) == [kubelet.volume]
        assert await node.abandoned(kubelet.volume)

    await fail()
    kubelet.capability = capability()
    await kubelet.stage()
    assert not await node.abandoned(kubelet.volume)
    await kubelet.unstage()
    await fail()
    assert await node.let_go(kubelet.volume, yes)
    assert mapper.mapped == {}
    assert not await node.abandoned(kubelet.volume)


@pytest.mark.parametrize("block", [False, True], ids=["file system", "block"])
async def test_only_what_nobody_uses_is_let_go(
    node: NodeService, mapper: FileMapper, operator: Operator, tmp_path: Path, block: bool
) -> None:
    mapper.create("image")
    kubelet = Kubelet(node, tmp_path, block=block)

    async def yes() -> bool:
        return True

    async def no() -> bool:
        return False

    await kubelet.stage()
    await kubelet.publish()
    assert await node.mapped() == [kubelet.volume]
    assert not await node.let_go(kubelet.volume, yes), "a pod has it"
    await kubelet.unpublish()
    if not block:
        assert not await node.let_go(kubelet.volume, yes), "it is staged"
        await run("umount", kubelet.staging)
    assert not await node.let_go(kubelet.volume, no), "it is attached again"
    assert list(mapper.mapped) == [kubelet.volume]
    assert await node.let_go(kubelet.volume, yes)
    assert mapper.mapped == {}
    assert operator.told[-1] == ()
    assert await node.mapped() == []


async def test_tools_that_write_run_to_their_end(mapper: FileMapper, operator: Operator, tmp_path: Path) -> None:
    deadlines: dict[str, float | None] = {}

    async def records(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        deadlines[argv[0]] = deadline
        return await run(*argv, deadline=deadline, ok=ok)

    for fs_type in ("ext4", "xfs"):
        mapper.create(fs_type)
        kubelet = Kubelet(service(mapper, operator, tmp_path, Operations(Tasks()), records), tmp_path, fs_type=fs_type)
        kubelet.publish_context["imageName"] = fs_type
        await kubelet.stage()
        await kubelet.unstage()
        mapper.create(fs_type, 2 * GIB)
        await kubelet.stage()
        await kubelet.unstage()
    written = {"mkfs.ext4", "mkfs.xfs", "e2fsck", "resize2fs", "xfs_growfs", "mount", "umount"}
    assert {program: deadlines[program] for program in written} == dict.fromkeys(written)


@pytest.mark.parametrize("starting", [False, True], ids=["running", "starting"])
async def test_a_tool_that_must_not_be_cut_off_outlives_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starting: bool
) -> None:
    began, go_on, done = (tmp_path / name for name in ("began", "go-on", "done"))
    os.mkfifo(began)
    os.mkfifo(go_on)
    start, started = asyncio.create_subprocess_exec, anyio.Event()

    async def starts_slowly(*argv: str, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*argv, **options)
        try:
            await started.wait()
        except asyncio.CancelledError:
            process.kill()  # as asyncio does
            raise
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starts_slowly)
    if not starting:
        started.set()

    async def call() -> None:
        script = 'echo > "$0"; read line < "$1"; touch "$2"'
        await run("sh", "-c", script, str(began), str(go_on), str(done), deadline=None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await anyio.to_thread.run_sync(began.read_text)
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            started.set()
            # For reading, too: it does not wait for a reader that was cut off.
            writer = os.open(go_on, os.O_RDWR)
            os.write(writer, b"go on\n")
    os.close(writer)
    assert exists(done)


@pytest.mark.parametrize(("status", "by_hand"), [(4, True), (12, True), (8, False), (32, False), (None, False)])
async def test_only_damage_that_is_left_needs_a_person(tmp_path: Path, status: int | None, by_hand: bool) -> None:
    async def fails(*argv: str, deadline: float | None = 30.0, ok: Any = (0,)) -> Done:
        if argv[0] == "e2fsck":
            raise CommandError("e2fsck", "failed", status)
        return Done(0, b"TYPE=ext4\n")

    with pytest.raises(FilesystemError if by_hand else CommandError):
        await prepare(fails, "/dev/null", "ext4", unfinished=tmp_path / "unfinished", read_only=False)


@pytest.mark.parametrize("grown", [1025, 1152, 1153, 1160, 1279, 1280, 1300, 2049, 4097])
@pytest.mark.parametrize("block_size", ["1024", "4096"])
async def test_a_file_system_grows_once_for_each_size(tmp_path: Path, grown: int, block_size: str) -> None:
    """What a last block group cannot use is no reason to try again at each stage."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(GIB)
    await run("mkfs.ext4", "-q", "-F", "-b", block_size, str(image))
    os.truncate(image, grown << 20)
    before = head(image, 2048)[1024:]
    await run("e2fsck", "-f", "-p", str(image))
    await run("resize2fs", str(image))
    after = head(image, 2048)[1024:]
    larger = before[4:8] != after[4:8]
    assert ext4_can_grow(before, grown << 20) == larger
    assert not ext4_can_grow(after, grown << 20)


@pytest.mark.parametrize(("fs_type", "option"), [("ext4", "noload"), ("ext3", "noload"), ("xfs", "norecovery")])
async def test_a_reader_is_told_of_a_journal_that_it_cannot_replay(
    node: NodeService, mapper: FileMapper, tmp_path: Path, fs_type: str, option: str
) -> None:
    image = mapper.create("image", 512 << 20)
    writer = Kubelet(node, tmp_path, fs_type=fs_type)
    await writer.stage()
    (Path(writer.staging) / "file").write_text("in the journal")
    os.sync()
    await run("cp", "--sparse=always", str(image), str(mapper.directory / "copy"))
    await writer.unstage()
    reader = Kubelet(node, tmp_path, fs_type=fs_type, mode=READERS)
    reader.publish_context["imageName"] = "copy"
    with pytest.raises(FilesystemError, match=f"has a journal that .* option {option}"):
        await reader.stage()
    assert mapper.mapped == {}
    reader.capability = capability(fs_type=fs_type, mode=READERS, flags=(option,))
    await reader.stage()
    assert mounted(reader.staging) is not None


async def test_credentials_are_shown_nowhere(kubelet: Kubelet, mapper: FileMapper) -> None:
    kubelet.secrets["userID"] = "client.csi-rbd-node"
    await kubelet.stage()
    assert mapper.credentials is not None
    assert mapper.credentials.user == "csi-rbd-node"
    assert "c2VjcmV0" not in repr(mapper.credentials)


def test_file_names_of_volumes_are_short_and_safe() -> None:
    assert len(file_name("x" * 128)) == 32
    assert file_name("a/../b") != file_name("a/../c")
    assert "/" not in file_name("a/../b")
