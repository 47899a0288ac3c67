"""Nodes in memory: the real node service of the agent, with stand-ins for what maps and mounts; and a kubelet.

RBD has a driver that is a stand-in. That of CephFS is the real one, over a mount table in memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.agent.cephfs.driver import cephfs_driver
from controller.agent.node import csi_pb2
from controller.agent.node.calls import Operations
from controller.agent.node.clients import Clients
from controller.agent.node.directories import MountError
from controller.agent.node.driver import Publish, Stage, VolumeError
from controller.agent.node.leftovers import Leftovers, NodeVolumes, Wanted
from controller.agent.node.problems import Problems
from controller.agent.node.records import Records
from controller.agent.node.service import NodeService
from controller.agent.node.topology import Topology
from controller.agent.system.command import CommandError, Done
from controller.agent.system.health import State
from controller.agent.system.mounts import Mount, at
from controller.apis.rook.node_report import VolumeClient
from controller.framework.reports import REPORTS
from controller.runtime.kube import NODE
from informers import TransportError
from tests.unit.ceph.cephfs.cephfs import DRIVER as CEPHFS
from tests.unit.ceph.volumes import DRIVER as RBD
from tests.unit.volumes.faults.storage import AwayError, Client

if TYPE_CHECKING:
    from controller.agent.cephfs.volume import Asked
    from controller.testkit import ApiServer
    from tests.unit.volumes.faults.storage import Storage

WORK_SECONDS = 0.2
"""That each thing takes which a node does: it may be cut off meanwhile."""

CONTEXT = None
SECRETS = {"userID": "node", "userKey": "aGVsbG8=", "adminID": "node", "adminKey": "aGVsbG8="}


@dataclass
class Host:
    """A machine: what the kernel and the mounter have outlives the agent, and what is in `directory` a restart."""

    name: str
    number: int
    server: ApiServer
    storage: Storage
    directory: Path
    kernel: bool
    """Whether it mounts file systems by the kernel's client, whose address the agent does not know."""
    alive: bool = True
    agent: Agent | None = None
    mapped: dict[str, Client] = field(default_factory=dict)
    table: list[Mount] = field(default_factory=list)
    records: set[str] = field(default_factory=set)
    in_use: set[str] = field(default_factory=set)
    staged: set[str] = field(default_factory=set)
    """The volumes that are staged, or may be, as far as the kubelet knows."""
    _nonces: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def client(self, volume: str) -> Client:
        """A new one. On the way its address is translated, or it is one that Kubernetes does not know."""
        network = "172.16.0" if self.kernel else "192.168.0"
        return Client(f"{network}.{self.number}:0/{self.number}{next(self._nonces)}", self.name, volume)

    def mount(self, source: str, target: str) -> None:
        device = next((mount.device for mount in self.table if mount.target == source), f"0:{source}")
        self.table.append(Mount(device, "/", target, frozenset({"rw"}), "fuse", source))

    async def run(self, *command: str, deadline: float | None = None, ok: Collection[int] = ()) -> Done:
        """Stands in for mount(8) and umount(8)."""
        await anyio.sleep(WORK_SECONDS / 4)
        if command[0] == "mount":
            self.mount(command[2], command[3])
            return Done(0)
        mount = at(command[-1], self.table)
        if mount is None:
            raise CommandError(command[0], f"{command[-1]}: not mounted")
        self.table.remove(mount)
        return Done(0)

    def let_go(self, volume: str, *, force: bool = False) -> None:
        """The end of a client, which flushes first."""
        if volume in self.mapped:
            self.storage.close(self.mapped[volume].name, force=force)
            del self.mapped[volume]

    def restart(self) -> None:
        """All that was in memory is lost."""
        self.storage.silence(self.name, died=True)
        self.mapped.clear()
        self.table.clear()
        self.in_use.clear()
        self.staged.clear()

    def left(self) -> list[str]:
        """What is there of volumes."""
        files = [str(path) for path in self.directory.rglob("*.json")]
        mounts = [mount.target for mount in self.table]
        return [*self.mapped, *mounts, *self.records, *self.in_use, *files]


class Images:
    """Stands in for `BlockDriver`: images become devices with file systems in no time but that of its steps."""

    suffix = ".rbd.csi.ceph.com"

    def __init__(self, host: Host, clients: Clients) -> None:
        self._host = host
        self._clients = clients
        self._abandoned: set[str] = set()

    async def usable(self) -> str:
        return ""

    async def max_volumes(self) -> int:
        return 0

    async def stage(self, stage: Stage) -> None:
        host, volume = self._host, stage.volume
        host.records.add(volume)
        try:
            await anyio.sleep(WORK_SECONDS)
            if volume not in host.mapped:
                client = host.client(volume)
                host.storage.open_image(stage.attributes["imageName"], client)
                host.mapped[volume] = client
            await anyio.sleep(WORK_SECONDS)
            address = host.mapped[volume].name
            await self._clients.add(VolumeClient(driver=stage.driver, volume_handle=volume, address=address))
            await anyio.sleep(WORK_SECONDS)
            if at(stage.path, host.table) is None:
                host.mount(f"image {volume}", stage.path)
            host.storage.uses(host.mapped[volume])
        except AwayError as error:
            await self._give_up(volume)
            raise VolumeError(str(error)) from error

    async def unstage(self, volume: str, path: str) -> None:
        host = self._host
        await anyio.sleep(WORK_SECONDS)
        host.table = [mount for mount in host.table if mount.target != path]
        await self._release(volume)

    async def publish(self, publish: Publish) -> None:
        if at(publish.path, self._host.table) is None:
            self._host.mount(publish.staged, publish.path)

    async def unpublish(self, volume: str, path: str) -> None:
        self._host.table = [mount for mount in self._host.table if mount.target != path]

    async def problem(self, volume: str) -> str | None:
        return "" if volume in self._host.mapped else None

    async def expand(self, volume: str, size: int) -> int:
        return size

    async def trim(self, volume: str) -> int | None:
        return None

    async def volumes(self) -> Sequence[str]:
        told = {found.volume_handle for found in self._clients.listed() if found.driver.endswith(self.suffix)}
        return sorted(self._host.records | told)

    async def abandoned(self, volume: str) -> bool:
        return volume in self._abandoned

    async def let_go(self, volume: str) -> bool:
        if any(mount.source == f"image {volume}" for mount in self._host.table):
            return False
        await self._release(volume)
        return True

    async def _give_up(self, volume: str) -> None:
        try:
            await self._release(volume)
        except VolumeError:
            self._abandoned.add(volume)

    async def _release(self, volume: str) -> None:
        await anyio.sleep(WORK_SECONDS)
        client = self._host.mapped.get(volume)
        try:
            self._host.let_go(volume, force=client is not None and client.name in self._host.storage.files.fenced)
        except AwayError as error:
            raise VolumeError(str(error)) from error
        self._host.records.discard(volume)
        await self._clients.remove(volume)
        self._abandoned.discard(volume)


class Files:
    """Stands in for what mounts directories."""

    threads = 0

    def __init__(self, host: Host) -> None:
        self.name = "kernel" if host.kernel else "fuse"
        self._host = host

    async def usable(self) -> str:
        return ""

    async def unsuitable(self, asked: Asked) -> str:
        return ""

    async def mount(self, volume: str, asked: Asked, target: str) -> None:
        host = self._host
        await anyio.sleep(WORK_SECONDS)
        client = host.client(volume)
        try:
            host.storage.open_directory(asked.directory.path, client)
        except AwayError as error:
            raise MountError(str(error)) from error
        host.mapped[volume] = client
        host.mount(f"directory {volume}", target)
        await anyio.sleep(WORK_SECONDS)

    async def address(self, volume: str) -> str:
        found = self._host.mapped.get(volume)
        return found.name if found is not None and not self._host.kernel else ""

    async def problem(self, volume: str) -> str:
        found = self._host.mapped.get(volume)
        if found is None:
            return "its client is gone"
        return "Ceph has put its client on the blocklist" if found.name in self._host.storage.files.fenced else ""

    async def release(self, volume: str, *, force: bool) -> None:
        await anyio.sleep(WORK_SECONDS)
        try:
            self._host.let_go(volume, force=force)
        except AwayError as error:
            raise MountError(str(error)) from error


class Healthy:
    """Stands in for `Health`: what a client's state is, its mounter tells."""

    async def of(self, path: str) -> State:
        return State()


class Agent:
    """An agent: a process that may be killed at any moment."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._scope = anyio.CancelScope()
        self.services: dict[str, NodeService] = {}

    def kill(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Until it is killed."""
        host = self._host
        (host.directory / "clients").mkdir(parents=True, exist_ok=True)
        (host.directory / "cephfs").mkdir(parents=True, exist_ok=True)
        clients = Clients(host.directory / "clients", self._report)
        clients.load()
        self._clients = clients
        with self._scope:
            async with anyio.create_task_group() as tasks:
                operations = Operations(tasks)
                records = Records(host.directory / "cephfs")
                health: Any = Healthy()
                files = cephfs_driver(host.name, (Files(host),), clients, records, 0, health=health, runner=host.run)
                for name, driver in ((RBD, Images(host, clients)), (CEPHFS, files)):
                    topology = Topology(host.server.client(), host.name)
                    problems = Problems(self._report)
                    service = NodeService(host.name, name, driver, operations, topology, problems)
                    self.services[name] = service
                    tasks.start_soon(Leftovers(service, self._wanted(name)).run)
                with suppress(TransportError):
                    await self._report()
                await anyio.sleep_forever()

    async def _report(self) -> None:
        await anyio.sleep(WORK_SECONDS / 2)
        if not self._host.alive:
            raise TransportError("the API server cannot be reached")
        clients = [msgspec.to_builtins(client) for client in self._clients.listed()]
        metadata = {"namespace": "rook-ceph", "name": self._host.name}
        self._host.server.put(REPORTS, {"metadata": metadata, "clients": clients})

    def _wanted(self, driver: str) -> Callable[[], Any]:
        async def wanted() -> Wanted:
            found = self._host.server.get(NODE, "", self._host.name)
            return msgspec.convert(found, NodeVolumes).wanted((driver,))

        return wanted


async def keep_agent(host: Host) -> None:
    """Keeps an agent running on a host, as its DaemonSet does."""
    while True:
        if host.alive:
            host.agent = Agent(host)
            await host.agent.run()
            host.agent = None
        await anyio.sleep(1.0)


@dataclass(frozen=True)
class Wish:
    """What the kubelet asks for a volume of a pod."""

    driver: str
    handle: str
    attributes: dict[str, str]
    told: dict[str, str]
    many: bool

    @property
    def name(self) -> str:
        """As the node's status has it."""
        return f"kubernetes.io/csi/{self.driver}^{self.handle}"


def paths(host: Host, wish: Wish, pod: str) -> tuple[str, str]:
    """Where the volume is staged, and where the pod sees it."""
    base = host.directory / "kubelet"
    return str(base / wish.handle / "globalmount"), str(base / "pods" / pod / wish.handle)


async def start(host: Host, wish: Wish, pod: str) -> None:
    """Hands a volume to a pod. Raises what the agent does."""
    service = _service(host, wish)
    staged, path = paths(host, wish, pod)
    modes = csi_pb2.VolumeCapability.AccessMode
    mode = modes.MULTI_NODE_MULTI_WRITER if wish.many else modes.SINGLE_NODE_MULTI_WRITER
    capability = csi_pb2.VolumeCapability(mount=csi_pb2.VolumeCapability.MountVolume(), access_mode=modes(mode=mode))
    request = csi_pb2.NodeStageVolumeRequest(
        volume_id=wish.handle,
        staging_target_path=staged,
        volume_capability=capability,
        volume_context=wish.attributes,
        publish_context=wish.told,
        secrets=SECRETS,
    )
    try:
        await service.NodeStageVolume(request, CONTEXT)
    except VolumeError:
        raise  # by a final error the kubelet knows that nothing is staged
    except Exception:
        host.staged.add(wish.handle)
        raise
    host.staged.add(wish.handle)
    if wish.handle in host.mapped:
        host.storage.uses(host.mapped[wish.handle])
    await service.NodePublishVolume(
        csi_pb2.NodePublishVolumeRequest(
            volume_id=wish.handle, staging_target_path=staged, target_path=path, volume_capability=capability
        ),
        CONTEXT,
    )


async def stop(host: Host, wish: Wish, pod: str, *, last: bool) -> None:
    """Takes a volume from a pod, and from the node if it was the last. Raises what the agent does."""
    staged, path = paths(host, wish, pod)
    if wish.handle not in host.staged:
        return
    service = _service(host, wish)
    await service.NodeUnpublishVolume(
        csi_pb2.NodeUnpublishVolumeRequest(volume_id=wish.handle, target_path=path), CONTEXT
    )
    if last:
        await service.NodeUnstageVolume(
            csi_pb2.NodeUnstageVolumeRequest(volume_id=wish.handle, staging_target_path=staged), CONTEXT
        )
        host.staged.discard(wish.handle)


def _service(host: Host, wish: Wish) -> NodeService:
    if host.agent is None or wish.driver not in host.agent.services:
        raise TransportError("the agent does not answer")
    return host.agent.services[wish.driver]
