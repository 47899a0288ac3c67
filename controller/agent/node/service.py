"""The CSI node service (CSI specification 1.11, "Node Service RPC"): RBD images as directories or devices of pods.

Every call may be repeated at any time: each looks at what is there (the mapper's devices, the kernel's mount table) and
does what is missing. Nothing is kept in memory between calls. A stage that fails leaves nothing mapped.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import grpc
import structlog

from controller.agent.node import csi_pb2, csi_pb2_grpc
from controller.agent.node.calls import CsiError, Volumes
from controller.agent.rbd.mapper import kernel_options
from controller.agent.rbd.protocol import Credentials, Image
from controller.agent.system import filesystem, mounts
from controller.agent.system.command import CommandError, run
from controller.agent.system.files import file_name
from controller.agent.system.filesystem import FilesystemError
from controller.agent.system.loop import size_of
from controller.apis.rook.node_report import ImageClient
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from controller.agent.rbd.clients import Clients
    from controller.agent.rbd.mapper import Mapper
    from controller.agent.rbd.protocol import Mapped
    from controller.agent.system.command import Runner

Capability = csi_pb2.VolumeCapability
AccessMode = csi_pb2.VolumeCapability.AccessMode

DEFAULT_FILESYSTEM = "ext4"
_STAT_DEADLINE = 10.0
_FORCED_UNMOUNT_DEADLINE = 60.0

_log = structlog.get_logger(__name__)

_CAPABILITIES = (
    csi_pb2.NodeServiceCapability.RPC.STAGE_UNSTAGE_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.GET_VOLUME_STATS,
    csi_pb2.NodeServiceCapability.RPC.EXPAND_VOLUME,
    csi_pb2.NodeServiceCapability.RPC.VOLUME_CONDITION,
    csi_pb2.NodeServiceCapability.RPC.SINGLE_NODE_MULTI_WRITER,
)

_READERS = (AccessMode.SINGLE_NODE_READER_ONLY, AccessMode.MULTI_NODE_READER_ONLY)


class NodeService(csi_pb2_grpc.NodeServicer):
    """Serves a driver to the kubelet of one node.

    Args:
        node: The node's name.
        driver: The driver's name.
        mappers: What makes block devices of images; the first that can serve an image does.
        volumes: Keeps the operations on a volume apart.
        clients: Tells the operator by which client a volume is used.
        state: A directory that outlives this process.
        max_volumes: How many volumes the node can have at most, as far as that is known now; 0: any number.
        runner: Runs the system's tools.
    """

    def __init__(
        self,
        node: str,
        driver: str,
        mappers: Sequence[Mapper],
        volumes: Volumes,
        clients: Clients,
        state: Path,
        *,
        max_volumes: Callable[[], Awaitable[int]],
        runner: Runner = run,
    ) -> None:
        self._node = node
        self._driver = driver
        self._mappers = mappers
        self._volumes = volumes
        self._clients = clients
        self._unfinished = state / "unfinished"
        self._abandoned = state / "abandoned"
        self._max_volumes = max_volumes
        self._looking: set[str] = set()
        self._run = runner

    async def NodeGetInfo(  # noqa: N802
        self, request: csi_pb2.NodeGetInfoRequest, context: Any
    ) -> csi_pb2.NodeGetInfoResponse:
        """The node's id, by which VolumeAttachments name it, and how many volumes the scheduler may send here."""
        return csi_pb2.NodeGetInfoResponse(node_id=self._node, max_volumes_per_node=await self._max_volumes())

    async def NodeGetCapabilities(  # noqa: N802
        self, request: csi_pb2.NodeGetCapabilitiesRequest, context: Any
    ) -> csi_pb2.NodeGetCapabilitiesResponse:
        """What this service does beside publishing."""
        capabilities = [
            csi_pb2.NodeServiceCapability(rpc=csi_pb2.NodeServiceCapability.RPC(type=kind)) for kind in _CAPABILITIES
        ]
        return csi_pb2.NodeGetCapabilitiesResponse(capabilities=capabilities)

    async def NodeStageVolume(  # noqa: N802
        self, request: csi_pb2.NodeStageVolumeRequest, context: Any
    ) -> csi_pb2.NodeStageVolumeResponse:
        """Maps the image and, unless it is a block volume, mounts its file system at the staging path."""
        _require(request, "volume_id", "staging_target_path")
        capability = _capability(request.volume_capability)
        image, credentials = image_of(request), credentials_of(request.secrets)
        read_only = capability.access_mode.mode in _READERS
        wants_kernel = request.volume_context.get("mounter", "") in ("", "rbd")

        async def stage() -> None:
            mapped = await self._mapped(request.volume_id)
            if mapped is not None and not mapped.problem and mapped.image != str(image):
                raise CsiError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"volume {request.volume_id} is image {image}, and is mapped here as another volume of the same "
                    f"handle, image {mapped.image}: that one has to be unstaged first",
                )
            table = await mounts.table()
            mount = mounts.at(request.staging_target_path, table)
            if mount is not None and mapped is None:
                _refuse_second_device(request.volume_id, mount, table)
            if mount is not None and (mapped is None or mapped.problem or not _is_on(mount, mapped.device)):
                await self._unmount(request.staging_target_path, force=mapped is None or bool(mapped.problem))
                mount = None
            if mapped is not None and (mapped.problem or mapped.read_only != read_only):
                await self._unmap(request.volume_id)
                mapped = None
            try:
                if mapped is None:
                    mapper = await self._choose(image, wants_kernel=wants_kernel)
                    mapped = await mapper.map(request.volume_id, image, credentials, read_only=read_only)
                await self._tell(request.volume_id, mapped)
                if capability.HasField("mount") and mount is None:
                    await self._mount(request.volume_id, mapped, capability, request.staging_target_path)
            except Exception:
                # The kubelet may give up: it does not unstage what was never staged. And an image that grows meanwhile
                # is opened with its new size.
                await self._give_up(request.volume_id)
                raise
            await self._note(request.volume_id, abandoned=False)

        await self._volumes.run(request.volume_id, stage, "NodeStageVolume")
        return csi_pb2.NodeStageVolumeResponse()

    async def NodeUnstageVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnstageVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnstageVolumeResponse:
        """Unmounts the staging path and unmaps the image, after everything is flushed."""
        _require(request, "volume_id", "staging_target_path")

        async def unstage() -> None:
            mapped = await self._mapped(request.volume_id)
            await self._unmount(request.staging_target_path, force=mapped is not None and bool(mapped.problem))
            await self._unmap(request.volume_id)

        await self._volumes.run(request.volume_id, unstage, "NodeUnstageVolume")
        return csi_pb2.NodeUnstageVolumeResponse()

    async def NodePublishVolume(  # noqa: N802
        self, request: csi_pb2.NodePublishVolumeRequest, context: Any
    ) -> csi_pb2.NodePublishVolumeResponse:
        """Makes the staged volume appear where the kubelet hands it to a pod."""
        _require(request, "volume_id", "target_path", "staging_target_path")
        capability = _capability(request.volume_capability)
        publish = self._publish_device if capability.HasField("block") else self._publish_directory
        await self._volumes.run(request.volume_id, lambda: publish(request), "NodePublishVolume")
        return csi_pb2.NodePublishVolumeResponse()

    async def NodeUnpublishVolume(  # noqa: N802
        self, request: csi_pb2.NodeUnpublishVolumeRequest, context: Any
    ) -> csi_pb2.NodeUnpublishVolumeResponse:
        """Takes the volume away from a pod."""
        _require(request, "volume_id", "target_path")

        async def unpublish() -> None:
            mapped = await self._mapped(request.volume_id)
            await self._unmount(request.target_path, force=mapped is not None and bool(mapped.problem))
            await anyio.to_thread.run_sync(_remove_mount_point, Path(request.target_path))

        await self._volumes.run(request.volume_id, unpublish, "NodeUnpublishVolume")
        return csi_pb2.NodeUnpublishVolumeResponse()

    async def NodeGetVolumeStats(  # noqa: N802
        self, request: csi_pb2.NodeGetVolumeStatsRequest, context: Any
    ) -> csi_pb2.NodeGetVolumeStatsResponse:
        """How full the volume is, and whether I/O on it works."""
        _require(request, "volume_id", "volume_path")
        mapped = await self._mapped(request.volume_id)
        if mapped is None or mounts.at(request.volume_path, await mounts.table()) is None:
            raise CsiError(
                grpc.StatusCode.NOT_FOUND, f"volume {request.volume_id} is not published at {request.volume_path}"
            )
        condition = csi_pb2.VolumeCondition(abnormal=bool(mapped.problem), message=mapped.problem or "mapped")
        usage: list[csi_pb2.VolumeUsage] = []
        if not mapped.problem:
            usage = await self._usage(request.volume_path)
        return csi_pb2.NodeGetVolumeStatsResponse(usage=usage, volume_condition=condition)

    async def NodeExpandVolume(  # noqa: N802
        self, request: csi_pb2.NodeExpandVolumeRequest, context: Any
    ) -> csi_pb2.NodeExpandVolumeResponse:
        """Makes the block device and the file system on it as large as the image is now."""
        _require(request, "volume_id", "volume_path")
        wanted = request.capacity_range.required_bytes
        if 0 < request.capacity_range.limit_bytes < wanted:
            raise CsiError(
                grpc.StatusCode.OUT_OF_RANGE,
                f"capacity_range asks for at least {wanted} and at most {request.capacity_range.limit_bytes} bytes",
            )

        async def expand() -> int:
            mapper, mapped = await self._found(request.volume_id)
            if mapper is None or mapped is None:
                raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {request.volume_id} is not on node {self._node}")
            await mapper.expand(request.volume_id, wanted)
            for mount in await mounts.table():
                if _is_on(mount, mapped.device):
                    await filesystem.grow_mounted(self._run, mapped.device, mount.filesystem, mount.target)
                    break
            return await anyio.to_thread.run_sync(size_of, mapped.device)

        size = await self._volumes.run(request.volume_id, expand, "NodeExpandVolume")
        return csi_pb2.NodeExpandVolumeResponse(capacity_bytes=size)

    async def mapped(self) -> Sequence[str]:
        """The volumes of all drivers that are mapped, or of which a trace is left."""
        found = {client.volume_handle for client in self._clients.listed()}
        for mapper in self._mappers:
            found.update(await mapper.volumes())
        return sorted(found)

    async def abandoned(self, volume: str) -> bool:
        """Whether the stage of a volume failed, and it could not be unmapped then."""
        return await anyio.Path(self._abandoned / file_name(volume)).exists()

    async def let_go(self, volume: str, nobodys: Callable[[], Awaitable[bool]]) -> bool:
        """Unmaps a volume unless it is mounted, published, or somebody's.

        Args:
            volume: The volume's id.
            nobodys: Whether it is still nobody's; asked when no other operation on the volume is under way.

        Returns:
            Whether it is not mapped any more.
        """

        async def operation() -> bool:
            return await nobodys() and await self._unmap_unused(volume)

        return await self._volumes.run(volume, operation, "letting go")

    async def _usage(self, path: str) -> list[csi_pb2.VolumeUsage]:
        if path in self._looking:
            raise CsiError(grpc.StatusCode.DEADLINE_EXCEEDED, f"the file system at {path} has not answered yet")
        self._looking.add(path)

        def look() -> list[csi_pb2.VolumeUsage]:
            try:
                return usage_of(path)
            finally:
                self._looking.discard(path)

        # A thread of its own, one for each path: file systems that hang must not use up those of everything else.
        with anyio.fail_after(_STAT_DEADLINE):
            return await anyio.to_thread.run_sync(look, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))

    async def _give_up(self, volume: str) -> None:
        try:
            await self._unmap_unused(volume)
        except Exception as error:
            # The error of the stage is the one to tell. What is left is let go once the volume is detached.
            _log.warning("volume stays mapped", volume=volume, error=brief(error))
            await self._note(volume, abandoned=True)

    async def _note(self, volume: str, *, abandoned: bool) -> None:
        note = anyio.Path(self._abandoned / file_name(volume))
        if abandoned:
            await note.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            await note.touch(mode=0o640)
        else:
            await note.unlink(missing_ok=True)

    async def _unmap_unused(self, volume: str) -> bool:
        mapped = await self._mapped(volume)
        if mapped is not None and _users(mapped.device, await mounts.table()):
            return False
        await self._unmap(volume)
        return True

    async def _tell(self, volume: str, mapped: Mapped) -> None:
        client = ImageClient(driver=self._driver, volume_handle=volume, image=mapped.image, address=mapped.address)
        await self._clients.add(client)

    async def _mount(self, volume: str, mapped: Mapped, capability: Capability, target: str) -> None:
        wanted = capability.mount.fs_type or DEFAULT_FILESYSTEM
        if not filesystem.supported(wanted):
            raise CsiError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"volume {volume}: file system type {wanted!r} is not served: expected ext4 or xfs",
            )
        unfinished = self._unfinished / file_name(volume)
        await filesystem.prepare(self._run, mapped.device, wanted, unfinished=unfinished, read_only=mapped.read_only)
        await anyio.Path(target).mkdir(parents=True, exist_ok=True, mode=0o750)
        options = [*capability.mount.mount_flags, *filesystem.MOUNT_OPTIONS[wanted]]
        if mapped.read_only:
            options.append("ro")
            await self._refuse_journal(volume, mapped.device, wanted, options)
        options = list(dict.fromkeys(options))

        async def mount() -> None:
            await mounts.mount(self._run, mapped.device, target, filesystem=wanted, options=options)

        if mapped.read_only:
            try:
                await mount()
            except CommandError as error:
                if wanted != "xfs":
                    raise
                # Its log is not looked into before: the likeliest reason why a sound device is refused is told.
                raise FilesystemError(f"{error}: it may be that {_unreplayed(wanted)}") from error
            return
        await mount()
        # One that cannot be grown is as good as it was: the kubelet asks for growth by itself, and tells what is wrong.
        try:
            await filesystem.grow_mounted(self._run, mapped.device, wanted, target)
        except CommandError as error:
            _log.warning("file system not grown while mounted", volume=volume, error=str(error))
            if wanted != "ext4":
                return
            await mounts.unmount(self._run, target)
            try:
                await filesystem.grow_unmounted(self._run, mapped.device)
            except CommandError as another:
                _log.warning("file system not grown", volume=volume, error=str(another))
            await mount()

    async def _refuse_journal(self, volume: str, device: str, wanted: str, options: Sequence[str]) -> None:
        """A reader cannot replay what the last writer left in the journal, and must know if it is to do without."""
        if filesystem.WITHOUT_JOURNAL[wanted] not in options and await anyio.to_thread.run_sync(
            filesystem.needs_recovery, device, wanted
        ):
            raise FilesystemError(f"volume {volume} is to be read only: {_unreplayed(wanted)}")

    async def _publish_directory(self, request: csi_pb2.NodePublishVolumeRequest) -> None:
        table = await mounts.table()
        staged = mounts.at(request.staging_target_path, table)
        mapped = await self._mapped(request.volume_id)
        if staged is None or mapped is None:
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"volume {request.volume_id} is not staged at {request.staging_target_path}",
            )
        if mapped.problem:
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"I/O on volume {request.volume_id} fails on node {self._node}: {mapped.problem}; "
                "it is mapped anew once no pod of this node uses it",
            )
        target = request.target_path
        if (present := mounts.at(target, table)) is not None:
            if present.device != staged.device:
                raise _taken(request.volume_id, target, f"{present.source} is mounted there")
            if request.readonly and not present.read_only:
                raise _taken(request.volume_id, target, "it is mounted there for writing, asked for read-only")
            return
        await anyio.Path(target).mkdir(parents=True, exist_ok=True, mode=0o750)
        await mounts.bind(self._run, request.staging_target_path, target, options=("ro",) if request.readonly else ())

    async def _publish_device(self, request: csi_pb2.NodePublishVolumeRequest) -> None:
        mapped = await self._mapped(request.volume_id)
        if mapped is None or mapped.problem:
            reason = mapped.problem if mapped else "it has no block device here"
            raise CsiError(grpc.StatusCode.FAILED_PRECONDITION, f"volume {request.volume_id} is not staged: {reason}")
        target = request.target_path
        if mounts.at(target, await mounts.table()) is not None:
            if await anyio.to_thread.run_sync(_device_number, target) != _device_number(mapped.device):
                raise _taken(request.volume_id, target, f"something other than {mapped.device} is mounted there")
            return
        await anyio.Path(target).parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        await anyio.Path(target).touch(mode=0o660)
        # For a read-only volume the kubelet gives the container a device rule without write access.
        await mounts.bind(self._run, mapped.device, target)

    async def _unmount(self, target: str, *, force: bool) -> None:
        try:
            await mounts.unmount(self._run, target, deadline=_FORCED_UNMOUNT_DEADLINE if force else None)
        except CommandError:
            if not force:
                raise
            # The device under it is dead: nothing can be flushed, and nothing is lost by not waiting for it.
            await mounts.unmount(self._run, target, lazy=True)

    async def _unmap(self, volume: str) -> None:
        for mapper in self._mappers:
            await mapper.unmap(volume)
        await self._clients.remove(volume)
        await self._note(volume, abandoned=False)

    async def _choose(self, image: Image, *, wants_kernel: bool) -> Mapper:
        reasons: list[str] = []
        for mapper in self._mappers:
            if mapper.name == "krbd" and not wants_kernel:
                reasons.append("krbd: the StorageClass parameter 'mounter' asks for userspace")
            elif (problem := await mapper.usable()) or (problem := await mapper.unsuitable(image)):
                reasons.append(f"{mapper.name}: {problem}")
            else:
                return mapper
        raise CsiError(
            grpc.StatusCode.UNAVAILABLE, f"image {image} cannot be mapped on node {self._node}: {'; '.join(reasons)}"
        )

    async def _found(self, volume: str) -> tuple[Mapper | None, Mapped | None]:
        for mapper in self._mappers:
            if (mapped := await mapper.find(volume)) is not None:
                return mapper, mapped
        return None, None

    async def _mapped(self, volume: str) -> Mapped | None:
        return (await self._found(volume))[1]


def image_of(request: csi_pb2.NodeStageVolumeRequest) -> Image:
    """The image of a volume: where it is comes from the attacher, how to map it from the StorageClass.

    Raises:
        CsiError: The attacher did not say.
    """
    context = request.publish_context
    for key in ("monitors", "pool", "imageName"):
        if not context.get(key):
            raise CsiError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"volume {request.volume_id}: publish_context[{key!r}] is empty: expected it from the "
                "VolumeAttachment's status.attachmentMetadata",
            )
    return Image(
        monitors=tuple(context["monitors"].split(",")),
        pool=context["pool"],
        namespace=context.get("radosNamespace", ""),
        name=context["imageName"],
        features=int(context.get("imageFeatures") or 0),
        options=kernel_options(request.volume_context.get("mapOptions", "")),
        fsid=context.get("fsid", ""),
        ms_mode=context.get("msMode", ""),
    )


def credentials_of(secrets: Mapping[str, str]) -> Credentials:
    """The Ceph user of the node-stage Secret.

    Raises:
        CsiError: A key of the Secret is missing.
    """
    for key in ("userID", "userKey"):
        if not secrets.get(key):
            raise CsiError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"the Secret of StorageClass parameter csi.storage.k8s.io/node-stage-secret-name has no {key}: "
                "expected userID and userKey",
            )
    return Credentials(user=secrets["userID"].removeprefix("client."), key=secrets["userKey"])


def usage_of(path: str) -> list[csi_pb2.VolumeUsage]:
    """Bytes and inodes of a mounted file system, or the bytes of a block device. Blocking."""
    if stat.S_ISBLK(Path(path).stat().st_mode):
        return [csi_pb2.VolumeUsage(total=size_of(path), unit=csi_pb2.VolumeUsage.BYTES)]
    found = os.statvfs(path)
    return [
        csi_pb2.VolumeUsage(
            total=found.f_blocks * found.f_frsize,
            used=(found.f_blocks - found.f_bfree) * found.f_frsize,
            available=found.f_bavail * found.f_frsize,
            unit=csi_pb2.VolumeUsage.BYTES,
        ),
        csi_pb2.VolumeUsage(
            total=found.f_files,
            used=found.f_files - found.f_ffree,
            available=found.f_favail,
            unit=csi_pb2.VolumeUsage.INODES,
        ),
    ]


def _require(request: Any, *fields: str) -> None:
    for field in fields:
        if not getattr(request, field):
            raise CsiError(grpc.StatusCode.INVALID_ARGUMENT, f"{type(request).__name__} has no {field}")


def _capability(capability: Capability) -> Capability:
    if not capability.HasField("block") and not capability.HasField("mount"):
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT, "volume_capability has no access type: expected block or mount"
        )
    mode = capability.access_mode.mode
    if capability.HasField("mount") and mode in (
        AccessMode.MULTI_NODE_MULTI_WRITER,
        AccessMode.MULTI_NODE_SINGLE_WRITER,
    ):
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"volume_capability: access mode {AccessMode.Mode.Name(mode)} with a file system would destroy it: "
            "expected a block volume, or a mode with writers on one node only",
        )
    return capability


def _taken(volume: str, target: str, why: str) -> CsiError:
    return CsiError(grpc.StatusCode.ALREADY_EXISTS, f"volume {volume} cannot be published at {target}: {why}")


def _refuse_second_device(volume: str, staged: mounts.Mount, table: Sequence[mounts.Mount]) -> None:
    """Two devices of one image, each with the file system mounted, destroy it: pods may still use the one before."""
    others = [m.target for m in table if m.device == staged.device and m.target != staged.target]
    if others:
        raise CsiError(
            grpc.StatusCode.FAILED_PRECONDITION,
            f"volume {volume} is not on record here, but {staged.source} is still mounted at {', '.join(others)}: "
            "it is mapped anew once no pod of this node uses it",
        )


def _is_on(mount: mounts.Mount, device: str) -> bool:
    number = _device_number(device)
    return mount.device == f"{os.major(number)}:{os.minor(number)}"


def _unreplayed(wanted: str) -> str:
    return (
        f"its {wanted} has a journal that its last user did not write back; mount it once for writing, or set the "
        f"mount option {filesystem.WITHOUT_JOURNAL[wanted]} to see it as it is, which may be inconsistent"
    )


def _users(device: str, table: Sequence[mounts.Mount]) -> list[str]:
    """Where a block device is mounted, or published as a device."""
    name = Path(device).name
    return [m.target for m in table if _is_on(m, device) or (Path(m.root).name == name and _is_node_of(m, device))]


def _is_node_of(mount: mounts.Mount, device: str) -> bool:
    number = _device_number(device)
    return bool(number) and _device_number(mount.target) == number


def _device_number(path: str) -> int:
    try:
        return Path(path).stat().st_rdev
    except FileNotFoundError:
        return 0


def _remove_mount_point(path: Path) -> None:
    try:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
    except FileNotFoundError:
        pass
