"""CephFS volumes by the CSI node service, with real mounts and processes; a standin takes ceph-fuse's place."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import grpc
import pytest

from controller.agent.ceph.credentials import Credentials
from controller.agent.cephfs import client as fuse_client
from controller.agent.cephfs.client import Paths, client_config, command_line, reason
from controller.agent.cephfs.driver import SUFFIX, cephfs_driver
from controller.agent.cephfs.mounter import Mounter, serve
from controller.agent.cephfs.mounters import FuseMounter, KernelMounter, MounterUnavailableError
from controller.agent.cephfs.protocol import Directory, Mount
from controller.agent.cephfs.volume import asked_of
from controller.agent.node import csi_pb2
from controller.agent.node.calls import CsiError, Operations
from controller.agent.node.clients import NotToldError
from controller.agent.node.directories import MountError
from controller.agent.node.driver import Access, Stage, UnavailableError
from controller.agent.node.problems import Problems
from controller.agent.node.publish import usage_of
from controller.agent.node.records import Records
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.system import mounts
from controller.agent.system.command import CommandError, Done, run
from controller.agent.system.health import Health
from controller.apis.rook.node_report import VolumeClient
from tests.unit.agent.standin import Labels, Operator, Tasks, needs_loop_devices, unheard

pytestmark = needs_loop_devices

DRIVER = f"rook-ceph{SUFFIX}"
VOLUME = "0001-0009-rook-ceph-0000000000000001-5d1f"
KEY = "c2VjcmV0"
STANDIN = str(Path(__file__).parent / "standin_fuse.py")
MANY = csi_pb2.VolumeCapability.AccessMode.MULTI_NODE_MULTI_WRITER
READERS = csi_pb2.VolumeCapability.AccessMode.MULTI_NODE_READER_ONLY
ATTRIBUTES = {"clusterID": "rook-ceph", "fsName": "myfs", "subvolumePath": "/volumes/csi/csi-vol-1/5d1f"}
TOLD = {"clusterID": "rook-ceph", "monitors": "10.0.0.1:6789,10.0.0.2:6789"}
SECRETS = {"adminID": "csi-cephfs-node", "adminKey": KEY}
CONTEXT = None


def launch(command: Mount, paths: Paths) -> Sequence[str]:
    behaviour = next((name for name in ("stay", "fail", "ro") if name in command.options), "serve")
    return sys.executable, STANDIN, command.target, str(paths.socket), behaviour


class Node:
    """A node with a mounter, whose kernel has no ceph, and the calls of its kubelet for one volume."""

    def __init__(self, directory: Path, operator: Operator) -> None:
        self.directory = directory
        self.operator = operator
        self.socket = directory / "cephfs.sock"
        self.staging = str(directory / "staging")
        self.target = str(directory / "pods/1/mount")
        self.attributes: dict[str, str] = dict(ATTRIBUTES)
        self.mode: Any = MANY
        self.restart()

    def restart(self) -> None:
        """A new agent, on what an earlier one left."""
        filesystems = self.directory / "filesystems"
        filesystems.write_text("nodev\tsysfs\n")
        mounters = (KernelMounter(proc=self.directory), FuseMounter(self.socket))
        self.driver = cephfs_driver(
            "node-a", mounters, self.operator.clients, Records(self.directory / "records"), 7, health=Health(deadline=2)
        )
        self.service = NodeService(
            "node-a", DRIVER, self.driver, Operations(Tasks()), Topology(Labels(), "node-a"), Problems(unheard)
        )

    @asynccontextmanager
    async def mounter(self) -> AsyncIterator[Mounter]:
        async with anyio.create_task_group() as tasks:
            mounter = Mounter(tasks, runtime=self.directory / "run", launch=launch)
            tasks.start_soon(serve, mounter, self.socket)
            with anyio.fail_after(60):
                while await FuseMounter(self.socket).usable():  # noqa: ASYNC110
                    await anyio.sleep(0.01)
            try:
                yield mounter
            finally:
                for volume in list(mounter._volumes.values()):
                    await volume.client.kill()
                tasks.cancel_scope.cancel()

    def capability(self) -> csi_pb2.VolumeCapability:
        return csi_pb2.VolumeCapability(
            mount=csi_pb2.VolumeCapability.MountVolume(),
            access_mode=csi_pb2.VolumeCapability.AccessMode(mode=self.mode),
        )

    async def stage(self, staging: str = "") -> None:
        request = csi_pb2.NodeStageVolumeRequest(
            volume_id=VOLUME,
            staging_target_path=staging or self.staging,
            volume_capability=self.capability(),
            volume_context=self.attributes,
            publish_context=TOLD,
            secrets=SECRETS,
        )
        await self.service.NodeStageVolume(request, CONTEXT)

    async def publish(self, *, readonly: bool = False) -> Path:
        request = csi_pb2.NodePublishVolumeRequest(
            volume_id=VOLUME,
            staging_target_path=self.staging,
            target_path=self.target,
            volume_capability=self.capability(),
            readonly=readonly,
        )
        await self.service.NodePublishVolume(request, CONTEXT)
        return Path(self.target)

    async def unpublish(self) -> None:
        request = csi_pb2.NodeUnpublishVolumeRequest(volume_id=VOLUME, target_path=self.target)
        await self.service.NodeUnpublishVolume(request, CONTEXT)

    async def unstage(self) -> None:
        request = csi_pb2.NodeUnstageVolumeRequest(volume_id=VOLUME, staging_target_path=self.staging)
        await self.service.NodeUnstageVolume(request, CONTEXT)

    async def stats(self) -> csi_pb2.NodeGetVolumeStatsResponse:
        request = csi_pb2.NodeGetVolumeStatsRequest(volume_id=VOLUME, volume_path=self.target)
        return await self.service.NodeGetVolumeStats(request, CONTEXT)

    def left(self) -> dict[str, list[str]]:
        """What a volume could leave behind."""
        return {
            "mounts": [mount.target for mount in mounts.read() if mount.target.startswith(str(self.directory))],
            "files": [str(path) for name in ("run", "records") for path in (self.directory / name).glob("*")],
            "processes": [path.name for path in Path("/proc").glob("[0-9]*") if self._serves(path)],
            "clients": [client.volume_handle for client in self.operator.clients.listed()],
        }

    def _serves(self, process: Path) -> bool:
        try:
            return STANDIN in (words := (process / "cmdline").read_text()) and str(self.directory) in words
        except OSError:
            return False


NOTHING: dict[str, list[str]] = {"mounts": [], "files": [], "processes": [], "clients": []}


@pytest.fixture
def node() -> Iterator[Node]:
    # A short name: the path of a unix socket has 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="rook-") as name:
        directory = Path(name)
        try:
            yield Node(directory, Operator(directory / "clients"))
        finally:
            for mount in reversed(mounts.read()):
                if mount.target.startswith(name):
                    os.system(f"umount --lazy {mount.target}")  # noqa: S605


async def eventually(look: Callable[[], bool]) -> None:
    with anyio.fail_after(30):
        while not look():  # noqa: ASYNC110
            await anyio.sleep(0.02)


def process_of(mounter: Mounter) -> int:
    return mounter._volumes[VOLUME].client.child.pid


async def test_a_volume_is_used_and_leaves_nothing(node: Node) -> None:
    async with node.mounter():
        for _ in range(2):
            await node.stage()
            target = await node.publish()
        assert node.operator.told[-1] == (
            VolumeClient(
                driver=DRIVER, volume_handle=VOLUME, image="myfs:/volumes/csi/csi-vol-1/5d1f", address="10.0.0.5:0/77"
            ),
        )
        (target / "file").write_text("kept")
        assert (Path(node.staging) / "file").read_text() == "kept"
        assert len(node.left()["processes"]) == 1
        answer = await node.stats()
        assert [usage.unit for usage in answer.usage] == [csi_pb2.VolumeUsage.BYTES, csi_pb2.VolumeUsage.INODES]
        assert not answer.volume_condition.abnormal
        for _ in range(2):
            await node.unpublish()
            await node.unstage()
        assert not target.exists()
        assert node.left() == NOTHING


async def test_the_key_is_in_no_file_and_no_argument(node: Node) -> None:
    async with node.mounter() as mounter:
        await node.stage()
        files = [path for path in node.directory.rglob("*") if path.is_file()]
        assert not [path for path in files if KEY in path.read_text()]
        process = Path("/proc", str(process_of(mounter)))
        assert KEY not in (process / "cmdline").read_text() + (process / "environ").read_text()
        await node.unstage()


async def test_a_reader_cannot_write(node: Node) -> None:
    async with node.mounter():
        await node.stage()
        target = await node.publish(readonly=True)
        with pytest.raises(OSError, match="Read-only"):
            (target / "file").touch()
        (Path(node.staging) / "file").touch()
        with pytest.raises(CsiError, match="not staged"):
            await node.service.NodePublishVolume(
                csi_pb2.NodePublishVolumeRequest(
                    volume_id=VOLUME,
                    staging_target_path=f"{node.staging}-2",
                    target_path=node.target,
                    volume_capability=node.capability(),
                ),
                CONTEXT,
            )


async def test_an_agent_that_restarts_finds_what_is_mounted(node: Node) -> None:
    async with node.mounter() as mounter:
        await node.stage()
        await node.publish()
        process = process_of(mounter)
        node.restart()
        assert await node.service.mapped() == [VOLUME]
        await node.stage()
        await node.publish()
        assert process_of(mounter) == process
        assert not await node.driver.let_go(VOLUME)
        node.restart()
        await node.unpublish()
        await node.unstage()
        assert node.left() == NOTHING
        assert await node.driver.let_go(VOLUME)


async def test_a_stage_that_fails_leaves_nothing(node: Node) -> None:
    async with node.mounter():
        node.attributes["fuseMountOptions"] = "fail"
        with pytest.raises(MountError, match=r"myfs:\S+ cannot be mounted: ceph mount failed with \(2\) No such file"):
            await node.stage()
        assert node.left() == NOTHING
        del node.attributes["fuseMountOptions"]
        node.operator.refuses = True
        with pytest.raises(NotToldError):
            await node.stage()
        node.operator.refuses = False
        assert node.left() == NOTHING
        await node.stage()
        node.operator.refuses = True
        # What was mounted before stays: pods may use it.
        with pytest.raises(NotToldError):
            await node.stage()
        assert node.left()["mounts"] == [node.staging]
        node.operator.refuses = False
        await node.unstage()


async def test_what_a_failed_stage_could_not_take_away_is_let_go(node: Node) -> None:
    async with node.mounter():
        node.attributes["fuseMountOptions"] = "stay"
        await node.stage()
        record = await Records(node.directory / "records").find(VOLUME)
        assert record is not None
        assert not await node.driver.let_go(VOLUME)
        await Records(node.directory / "records").put(record.as_abandoned())
        assert await node.driver.abandoned(VOLUME)
        await run("mount", "--bind", node.staging, str(Path(node.directory, "run")))
        assert not await node.driver.let_go(VOLUME)  # somebody uses it
        await run("umount", str(Path(node.directory, "run")))


async def test_a_process_that_died_is_told_and_started_anew(node: Node) -> None:
    async with node.mounter() as mounter:
        await node.stage()
        await node.publish()
        os.kill(process_of(mounter), signal.SIGKILL)
        await eventually(lambda: bool(mounter._volumes[VOLUME].problem))
        answer = await node.stats()
        assert answer.volume_condition.abnormal
        assert "its ceph-fuse ended" in answer.volume_condition.message
        with pytest.raises(CsiError, match="its ceph-fuse ended") as refused:
            await node.publish()
        assert refused.value.code is grpc.StatusCode.FAILED_PRECONDITION
        await node.unpublish()
        await node.stage()
        await node.publish()
        assert not (await node.stats()).volume_condition.abnormal
        await node.unpublish()
        await node.unstage()
        assert node.left() == NOTHING


async def test_a_mounter_that_was_restarted_took_its_volumes_along(node: Node) -> None:
    async with node.mounter():
        await node.stage()
        await node.publish()
    async with node.mounter():
        assert "the mounter was restarted" in (await node.stats()).volume_condition.message
        await node.unpublish()
        await node.stage()
        await node.unstage()
        assert node.left()["mounts"] == []
        assert node.left()["clients"] == []


async def test_without_a_mounter_nothing_is_mounted_and_it_is_told_why(node: Node) -> None:
    with pytest.raises(UnavailableError, match=r"kernel: the kernel has no ceph.*fuse: the mounter .* does not answer"):
        await node.stage()
    assert node.left() == NOTHING
    node.attributes["mounter"] = "kernel"
    with pytest.raises(UnavailableError, match=r"fuse: the StorageClass parameter 'mounter' asks for kernel"):
        await node.stage()
    async with node.mounter():
        with pytest.raises(UnavailableError, match="asks for kernel"):
            await node.stage()


async def test_a_process_that_does_not_end_is_not_killed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuse_client, "STOP_DEADLINE", 0.2)
    async with node.mounter() as mounter:
        node.attributes["fuseMountOptions"] = "stay"
        await node.stage()
        process = process_of(mounter)
        for _ in range(2):
            with pytest.raises(MountError, match=r"did not flush and end within 0\.2 s"):
                await node.unstage()
        os.kill(process, 0)
        assert await node.service.mapped() == [VOLUME]
        os.kill(process, signal.SIGKILL)
        await node.unstage()
        assert node.left() == NOTHING


async def test_what_was_unmounted_by_hand_is_mounted_again(node: Node) -> None:
    async with node.mounter() as mounter:
        await node.stage()
        process = process_of(mounter)
        await run("umount", node.staging)
        await node.stage()
        await node.publish()
        assert process_of(mounter) != process
        await node.unpublish()
        await node.unstage()
        assert node.left() == NOTHING


async def test_a_mount_that_nobody_has_on_record_is_replaced(node: Node) -> None:
    async with node.mounter():
        await anyio.Path(node.staging).mkdir()
        await run("mount", "-t", "tmpfs", "other", node.staging)
        await node.stage()
        found = mounts.at(node.staging, mounts.read())
        assert found is not None
        assert found.source == "ceph-fuse"
        await node.unstage()
        assert node.left() == NOTHING


async def test_a_volume_of_readers_stays_mounted_as_it_is(node: Node) -> None:
    async with node.mounter() as mounter:
        node.mode = READERS
        await node.stage()
        process = process_of(mounter)
        await node.stage()
        assert process_of(mounter) == process
        with pytest.raises(OSError, match="Read-only"):
            (await node.publish() / "file").touch()
        await node.unpublish()
        node.mode = MANY
        await node.stage()
        assert process_of(mounter) != process
        (await node.publish() / "file").touch()
        await node.unpublish()
        await node.unstage()
        assert node.left() == NOTHING


SHOWN = {"clusterID": "rook-ceph", "fsName": "myfs", "snapshotRoot": "/volumes/csi/csi-vol-1"}


@pytest.mark.parametrize("mode", [READERS, MANY])
async def test_a_volume_that_shows_a_snapshot_is_what_that_has_and_read_only(mode: Any, node: Node) -> None:
    node.attributes, node.mode = {**SHOWN, "snapshotName": "csi-snap-1"}, mode
    async with node.mounter() as mounter:
        await node.stage()
        process = process_of(mounter)
        node.restart()
        await node.stage()
        assert process_of(mounter) == process
        target = await node.publish()
        assert [(entry.name, entry.read_text()) for entry in target.iterdir()] == [("file", "as it was")]
        for name in ("file", "other"):
            with pytest.raises(OSError, match="Read-only"):
                (target / name).write_text("changed")
        assert node.operator.clients.listed()[0].image == "myfs:/volumes/csi/csi-vol-1"
        await node.unpublish()
        await node.unstage()
        assert node.left() == NOTHING


async def test_a_snapshot_that_is_not_there_is_told(node: Node) -> None:
    node.attributes = {**SHOWN, "snapshotName": "csi-snap-2"}
    async with node.mounter():
        await node.stage()
        with pytest.raises(CsiError, match="snapshot csi-snap-2 cannot be read: No such file or directory") as told:
            await node.publish()
        assert told.value.code == grpc.StatusCode.FAILED_PRECONDITION
        await anyio.Path(node.staging).stat()
        await node.unstage()
        assert node.left() == NOTHING


async def test_a_hung_file_system_holds_nothing_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async with node.mounter():
        await node.stage()
        await node.publish()
        release = threading.Event()
        asked: list[str] = []

        def hang(path: str) -> None:
            asked.append(path)
            release.wait(60)

        monkeypatch.setattr(os, "statvfs", hang)
        for _ in range(2):
            with anyio.fail_after(10):
                answer = await node.stats()
            assert "has not answered for" in answer.volume_condition.message
        assert asked == [node.staging]  # no second thread waits behind the first
        with pytest.raises(UnavailableError, match="has not answered"):
            await node.stage()
        with anyio.fail_after(10):
            await node.unpublish()
        release.set()
        monkeypatch.undo()
        await node.unstage()
        assert node.left() == NOTHING


async def test_inodes_that_a_file_system_does_not_count_are_not_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = os.statvfs(node.directory)
    # As a CephFS of Ceph 16.2 with one file says.
    cephfs = os.statvfs_result((*found[:5], 2, -1, -1, *found[8:]))
    monkeypatch.setattr(os, "statvfs", lambda path: cephfs)
    assert [usage.unit for usage in usage_of(str(node.directory))] == [csi_pb2.VolumeUsage.BYTES]


async def test_another_volume_of_the_same_handle_waits(node: Node) -> None:
    async with node.mounter():
        await node.stage()
        node.attributes["subvolumePath"] = "/volumes/csi/csi-vol-2/77aa"
        with pytest.raises(CsiError, match="another volume of the same handle"):
            await node.stage()
        await node.unstage()
        await node.stage()
        await node.unstage()


@dataclass
class Kernel:
    """Runs what mounts, and notes how; the mount is a tmpfs."""

    argv: list[tuple[str, ...]] = field(default_factory=list)
    key: str = ""
    fails: bool = False

    async def __call__(self, *argv: str, deadline: float | None = 30.0, ok: Collection[int] = (0,)) -> Done:
        self.argv.append(argv)
        if argv[0] == "modprobe" or self.fails:
            raise CommandError(argv[0], "exit status 32: mount error 110 = Connection timed out", 32)
        secret = next(o for o in argv[4].split(",") if o.startswith("secretfile="))
        self.key = await anyio.Path(secret.removeprefix("secretfile=")).read_text()
        return await run("mount", "-t", "tmpfs", "ceph", argv[-1])


def stage_of(attributes: Mapping[str, str], told: Mapping[str, str] = TOLD, **access: Any) -> Stage:
    return Stage(
        driver=DRIVER,
        volume=VOLUME,
        path="/staging",
        access=Access(block=access.pop("block", False), **access),
        attributes={**ATTRIBUTES, **attributes},
        told=told,
        secrets=SECRETS,
    )


async def test_the_kernel_mounts_where_it_can(node: Node) -> None:
    kernel = Kernel()
    (node.directory / "filesystems").write_text("nodev\tsysfs\nnodev\tceph\n")
    mounter = KernelMounter(runner=kernel, proc=node.directory, release="6.1.0-18-amd64")
    target = node.directory / "target"
    target.mkdir()
    told = {**TOLD, "msMode": "secure", "crushLocation": "zone:a|host:n1"}
    asked = asked_of(stage_of({"kernelMountOptions": "noatime"}, told))
    assert not await mounter.unsuitable(asked)
    await mounter.mount(VOLUME, asked, str(target))
    (argv,) = kernel.argv
    assert argv[:3] == ("mount", "-t", "ceph")
    assert argv[-2:] == ("10.0.0.1:6789,10.0.0.2:6789:/volumes/csi/csi-vol-1/5d1f", str(target))
    options = argv[4].split(",")
    assert options[0] == "name=csi-cephfs-node"
    nearest = ["read_from_replica=localize", "crush_location=zone:a|host:n1"]
    assert options[2:] == ["mds_namespace=myfs", "ms_mode=secure", *nearest, "noatime"]
    assert kernel.key == KEY
    assert KEY not in " ".join(argv)
    assert not await anyio.Path(options[1].removeprefix("secretfile=")).exists()
    kernel.fails = True
    with pytest.raises(MountError, match=r"the kernel cannot mount myfs:\S+ for volume .*Connection timed out"):
        await mounter.mount(VOLUME, asked, str(target))


async def test_an_old_kernel_does_not_serve_what_it_cannot_speak_to(node: Node) -> None:
    (node.directory / "filesystems").write_text("nodev\tceph\n")
    old = KernelMounter(proc=node.directory, release="5.4.0")
    assert not await old.unsuitable(asked_of(stage_of({})))
    assert "5.11 does" in await old.unsuitable(asked_of(stage_of({}, {**TOLD, "msMode": "secure"})))


async def test_why_the_kernel_has_no_ceph_is_told(node: Node) -> None:
    mounter = KernelMounter(runner=Kernel(), proc=node.directory)
    await mounter.load()
    assert "the kernel has no ceph file system (modprobe: " in await mounter.usable()


@pytest.mark.parametrize(
    ("attributes", "why"),
    [
        ({"fsName": ""}, "volumeAttributes has no fsName"),
        ({"fsName": "a\nb"}, r"fsName is 'a\\nb'"),
        ({"subvolumePath": ""}, "volumeAttributes has no subvolumePath"),
        ({"subvolumePath": "volumes"}, "expected an absolute path"),
        ({"subvolumePath": "/a/../b"}, "expected an absolute path"),
        ({"subvolumePath": "/a\nkey = x"}, "expected an absolute path"),
        ({"staticVolume": "true"}, "volumeAttributes has no rootPath"),
        ({"mounter": "nfs"}, "mounter is 'nfs': expected kernel, fuse, or nothing"),
        ({"kernelMountOptions": "noatime,secret=abc"}, "kernelMountOptions has 'secret'"),
        ({"fuseMountOptions": "a b"}, "fuseMountOptions has 'a b'"),
    ],
)
def test_what_is_wrong_is_named(attributes: Mapping[str, str], why: str) -> None:
    with pytest.raises(CsiError, match=why) as refused:
        asked_of(stage_of(attributes))
    assert refused.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "abc" not in str(refused.value)


def test_what_has_to_be_told_is_named() -> None:
    with pytest.raises(CsiError, match="monitors"):
        asked_of(stage_of({}, {}))
    with pytest.raises(CsiError, match="msMode is 'tls'"):
        asked_of(stage_of({}, {**TOLD, "msMode": "tls"}))
    with pytest.raises(CsiError, match="volumeMode Block"):
        asked_of(stage_of({}, block=True))


def test_a_volume_made_by_hand_is_its_root_path() -> None:
    asked = asked_of(stage_of({"staticVolume": "true", "rootPath": "/data"}, read_only=True, options=("noatime",)))
    assert str(asked.directory) == "myfs:/data"
    assert asked.kernel == asked.fuse == ("noatime", "ro")


def test_ceph_fuse_is_told_all_but_the_user_in_its_configuration(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    directory = Directory(monitors=("10.0.0.1:6789", "10.0.0.2:6789"), filesystem="myfs", path="/volumes/x")
    command = Mount(
        volume=VOLUME,
        directory=directory,
        target="/staging",
        credentials=Credentials(user="node", key=KEY),
        options=("ro",),
    )
    assert command_line(command, paths) == (
        *("ceph-fuse", "-f", "-c", str(paths.config), "-n", "client.node", "-o", "ro", "/staging"),
    )
    config = client_config(directory, paths, 9).splitlines()
    assert f"run_dir = {paths.directory}" in config  # the usual one cannot be made in a read-only container
    for line in (
        "mon_host = 10.0.0.1:6789,10.0.0.2:6789",
        "keyfile = /proc/self/fd/9",
        "client_fs = myfs",
        "client_mountpoint = /volumes/x",
        "fuse_default_permissions = true",
    ):
        assert line in config


def test_the_last_words_are_what_a_person_needs() -> None:
    words = (
        "2026-11-30T10:00:00.000+0000 7f2 -1 init, newargv = 0x55\n"
        "ceph-fuse[7]: starting ceph client\n"
        "ceph-fuse[7]: ceph mount failed with (110) Connection timed out\n"
    )
    assert reason(words) == "ceph mount failed with (110) Connection timed out"
    assert reason("2026-11-30T10:00:00.000+0000 7f2 -1 unable to get monitor info") == "unable to get monitor info"
    assert reason("ceph-fuse[7]: starting ceph client\n2026-11-30T10:00:00.000+0000 7f2 -1 init, newargv = 0x55") == ""
    assert reason("ceph-fuse[2026-11-30T10:00:00.000+0000 7f2 -1 init, newargv = 0x55\n7]: starting ceph client") == ""
    crash = (
        "terminate called after throwing an instance of 'std::filesystem::__cxx11::filesystem_error'\n"
        "  what():  filesystem error: cannot set permissions: No such file or directory [/var/run/ceph]\n"
        "*** Caught signal (Aborted) **\n 1: abort()\n NOTE: a copy of the executable is needed to interpret this.\n"
    )
    assert reason(crash) == "filesystem error: cannot set permissions: No such file or directory [/var/run/ceph]"
    assert "none answers, or none knows the user" in reason("failed to fetch mon config (--no-mon-config to skip)\n")


async def test_a_mounter_of_another_release_is_told_apart(node: Node) -> None:
    with pytest.raises(MounterUnavailableError, match="has the rook-mounter pod of this node a container cephfs"):
        await FuseMounter(node.socket).release(VOLUME, force=False)
