"""Volumes that are directories of a file system elsewhere, mounted once on the node and bound to where pods see them.

Each call looks at what is there (the kernel's mount table, what mounts, a record for each volume) and does what is
missing. A record is written before a volume is mounted, so that an agent that starts finds what an earlier one left.
A kind of storage says what a stage asks for, and mounts it (`Mounter`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import anyio
import anyio.to_thread
import grpc
import structlog

from controller.agent.node.calls import CsiError
from controller.agent.node.driver import UnavailableError, VolumeError
from controller.agent.node.publish import not_staged, publish_directory, unmount, unpublish
from controller.agent.node.records import Record, Records
from controller.agent.system import mounts
from controller.agent.system.command import run
from controller.agent.system.health import Health, State
from controller.agent.system.task_limit import room_for
from controller.apis.rook.node_report import VolumeClient
from controller.framework.text import brief

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from controller.agent.node.clients import Clients
    from controller.agent.node.driver import Publish, Stage
    from controller.agent.system.command import Runner

    type Within = Callable[[Publish, str], Awaitable[str]]
    """Finds the directory below what is staged that pods see of a snapshot; it gets the snapshot's name."""

_log = structlog.get_logger(__name__)


class MountError(VolumeError):
    """A directory cannot be mounted or released; the message says which one and why."""


class Asked(Protocol):
    """What a stage asks for."""

    @property
    def directory(self) -> object:
        """What is to be mounted; as text, it tells it from all others."""
        ...

    @property
    def mounter(self) -> str:
        """The one mounter that it wants; empty: any."""
        ...

    @property
    def snapshot(self) -> str:
        """The snapshot of the directory that pods see, read-only; empty: they see the directory itself."""
        ...

    def read_only(self, mounter: str) -> bool:
        """Whether a mounter mounts it so that nobody writes."""
        ...


class Mounter[A: Asked](Protocol):
    """Mounts directories. All methods may be repeated; those that change something raise `MountError`.

    Attributes:
        name: As records and messages have it.
        threads: That each volume takes on the node; 0: none that count.
    """

    name: str
    threads: int

    async def usable(self) -> str:
        """Why it cannot be used on this node now; empty when it can."""
        ...

    async def unsuitable(self, asked: A) -> str:
        """Why it cannot serve this volume; empty when it can."""
        ...

    async def mount(self, volume: str, asked: A, target: str) -> None:
        """Mounts a volume's directory at `target`, which is there, and where nothing is mounted yet."""
        ...

    async def address(self, volume: str) -> str:
        """The client by which a volume is mounted, as its storage system knows it; empty: not known."""
        ...

    async def problem(self, volume: str) -> str:
        """Why a volume that is mounted is dead; empty: it is not, as far as the mounter knows."""
        ...

    async def release(self, volume: str, *, force: bool) -> None:
        """Ends what serves a volume that is unmounted; `force`: it is dead, nothing is flushed."""
        ...


class DirectoryDriver[A: Asked]:
    """Serves such volumes of one kind. Implements `controller.agent.node.driver.Driver`.

    Args:
        suffix: What the names of the kind's drivers end in.
        asked: What a stage asks for; it raises CsiError where something is missing or wrong.
        node: The node's name.
        mounters: What mounts; the first that can serve a volume does.
        clients: Tells the operator by which client a volume is used.
        records: Outlive this process.
        most: How many volumes the scheduler may send to the node, 0: any number; None: as many as it has threads for.
        within: Finds what a snapshot has, for volumes that may show one.
        health: Asks file systems how they are.
        runner: Runs the system's tools.
    """

    def __init__(
        self,
        suffix: str,
        asked: Callable[[Stage], A],
        node: str,
        mounters: Sequence[Mounter[A]],
        clients: Clients,
        records: Records,
        most: int | None,
        *,
        within: Within | None = None,
        health: Health | None = None,
        runner: Runner = run,
    ) -> None:
        self.suffix = suffix
        self._asked = asked
        self._within = within
        self._node = node
        self._mounters = {mounter.name: mounter for mounter in mounters}
        self._clients = clients
        self._records = records
        self._most = most
        self._health = health or Health()
        self._run = runner

    async def usable(self) -> str:
        """One mounter suffices."""
        problems: list[str] = []
        for mounter in self._mounters.values():
            if not (problem := await mounter.usable()):
                return ""
            problems.append(f"{mounter.name}: {problem}")
        return "; ".join(problems)

    async def max_volumes(self) -> int:
        """As many as the first mounter that can be used has threads for."""
        if self._most is not None:
            return self._most
        each = 0
        for mounter in self._mounters.values():
            each = mounter.threads
            if not await mounter.usable():
                break
        return await anyio.to_thread.run_sync(room_for, each) if each else 0

    async def stage(self, stage: Stage) -> None:
        """Mounts the volume's directory at the staging path."""
        asked = self._asked(stage)
        record = await self._records.find(stage.volume)
        mount = mounts.at(stage.path, await mounts.table())
        if record is not None:
            await self._refuse_another(stage, asked, record)
        if mount is not None and record is not None and await self._is_as_asked(asked, record, mount):
            await self._tell(stage, asked, self._mounters[record.mounter])
            return
        dead = (await self._state(record, stage.path)).dead
        await unmount(self._run, stage.path, force=dead)
        if record is not None:
            await self._take_away(record, force=dead)
        mounter = await self._choose(asked)
        record = Record(
            volume=stage.volume,
            target=stage.path,
            directory=str(asked.directory),
            mounter=mounter.name,
            snapshot=asked.snapshot,
        )
        await self._records.put(record)
        try:
            await anyio.Path(stage.path).mkdir(parents=True, exist_ok=True, mode=0o750)
            await mounter.mount(stage.volume, asked, stage.path)
            await self._tell(stage, asked, mounter)
        except Exception:
            # The kubelet may give up: it does not unstage what was never staged.
            await self._give_up(record)
            raise

    async def unstage(self, volume: str, path: str) -> None:
        """Unmounts the staging path, after everything is flushed, and ends what served it."""
        record = await self._records.find(volume)
        dead = (await self._state(record, path)).dead
        await unmount(self._run, path, force=dead)
        if record is not None:
            await self._take_away(record, force=dead)

    async def publish(self, publish: Publish) -> None:
        """Binds what is staged, or what it was at a snapshot."""
        problem = await self.problem(publish.volume)
        if problem is None:
            raise not_staged(publish)
        if problem:
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"I/O on volume {publish.volume} fails on node {self._node}: {problem}; "
                "one that is dead is mounted anew once no pod of this node uses it",
            )
        record = await self._records.find(publish.volume)
        within = ""
        if record is not None and record.snapshot and self._within is not None:
            within = await self._within(publish, record.snapshot)
        await publish_directory(self._run, publish, within)

    async def unpublish(self, volume: str, path: str) -> None:
        """Takes the bind mount away. What is staged stays, so nothing is lost by not waiting for it."""
        state = State()
        if mounts.at(path, await mounts.table()) is not None:
            state = await self._health.of(path)
        await unpublish(self._run, path, force=bool(state.problem))

    async def problem(self, volume: str) -> str | None:
        """As the mounter and the file system tell."""
        record = await self._records.find(volume)
        if record is None or mounts.at(record.target, await mounts.table()) is None:
            return None
        return (await self._state(record, record.target)).problem

    async def expand(self, volume: str, size: int) -> int:
        """A volume's size is a quota in the cluster, which clients follow."""
        if await self._records.find(volume) is None:
            raise CsiError(grpc.StatusCode.NOT_FOUND, f"volume {volume} is not on node {self._node}")
        return size

    async def trim(self, volume: str) -> int | None:
        """Nothing to do: the storage system removes what files had by itself."""
        raise VolumeError(f"volume {volume} is a directory, and gives back the space of deleted files by itself")

    async def volumes(self) -> Sequence[str]:
        """Those that have a record, and those of which the operator was told."""
        told = {found.volume_handle for found in self._clients.listed() if found.driver.endswith(self.suffix)}
        return sorted(told.union(record.volume for record in await self._records.listed()))

    async def abandoned(self, volume: str) -> bool:
        """By the record."""
        record = await self._records.find(volume)
        return record is not None and record.abandoned

    async def let_go(self, volume: str) -> bool:
        """Ends what serves a volume that is mounted nowhere."""
        record = await self._records.find(volume)
        if record is None:
            await self._clients.remove(volume)
            return True
        table = await mounts.table()
        staged = mounts.at(record.target, table)
        if staged is not None:
            if not record.abandoned or any(m.device == staged.device and m.target != record.target for m in table):
                return False
            await unmount(self._run, record.target, force=True)
        await self._take_away(record, force=False)
        return True

    async def _refuse_another(self, stage: Stage, asked: A, record: Record) -> None:
        """Two volumes of one handle cannot be told apart: the second waits for the end of the first."""
        if mounts.at(record.target, await mounts.table()) is None:
            return
        is_same = (record.directory, record.snapshot) == (str(asked.directory), asked.snapshot)
        if not is_same or record.target != stage.path:
            raise CsiError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"volume {stage.volume} is {asked.directory}, to be staged at {stage.path}, and another volume of the "
                f"same handle, {record.directory}, is staged at {record.target}: that one has to be unstaged first",
            )

    async def _is_as_asked(self, asked: A, record: Record, mount: mounts.Mount) -> bool:
        """Whether what is mounted can stay; one that is dead, or writable and asked for read-only, cannot.

        Raises:
            UnavailableError: It does not answer, and may yet.
        """
        state = await self._state(record, record.target)
        if state.problem and not state.dead:
            raise UnavailableError(f"volume {record.volume} is mounted at {record.target}, but {state.problem}")
        return not state.dead and mount.read_only == asked.read_only(record.mounter)

    async def _state(self, record: Record | None, path: str) -> State:
        """How what is mounted at a path is; one that is not mounted has no problem."""
        if mounts.at(path, await mounts.table()) is None:
            return State()
        state = await self._health.of(path)
        if state.dead or record is None:
            return state
        problem = await self._mounters[record.mounter].problem(record.volume)
        return State(problem, dead=True) if problem else state

    async def _choose(self, asked: A) -> Mounter[A]:
        reasons: list[str] = []
        for mounter in self._mounters.values():
            if asked.mounter not in ("", mounter.name):
                reasons.append(f"{mounter.name}: the StorageClass parameter 'mounter' asks for {asked.mounter}")
            elif problem := await mounter.unsuitable(asked):
                reasons.append(f"{mounter.name}: {problem}")
            else:
                return mounter
        raise UnavailableError(f"{asked.directory} cannot be mounted on node {self._node}: {'; '.join(reasons)}")

    async def _tell(self, stage: Stage, asked: A, mounter: Mounter[A]) -> None:
        client = VolumeClient(
            driver=stage.driver,
            volume_handle=stage.volume,
            image=str(asked.directory),
            address=await mounter.address(stage.volume),
        )
        await self._clients.add(client)

    async def _take_away(self, record: Record, *, force: bool) -> None:
        await self._mounters[record.mounter].release(record.volume, force=force)
        await self._records.remove(record.volume)
        await self._clients.remove(record.volume)

    async def _give_up(self, record: Record) -> None:
        try:
            await unmount(self._run, record.target, force=True)
            await self._take_away(record, force=True)
        except Exception as error:
            # The error of the stage is the one to tell. What is left is let go once the volume is detached.
            _log.warning("volume stays mounted", volume=record.volume, error=brief(error))
            await self._records.put(record.as_abandoned())
