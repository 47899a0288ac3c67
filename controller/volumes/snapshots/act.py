"""The reconciler of VolumeSnapshotContents: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.text import brief
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, GoneError, ParameterError, Volume, volume_from
from controller.volumes.caches import BY_HANDLE, BY_MEMBER, BY_SNAPSHOT, handle_key
from controller.volumes.checked import read_anew, see_all
from controller.volumes.groups.analyze import is_doomed as is_group_doomed
from controller.volumes.snapshots.analyze import (
    ContentObservation,
    DestroySnapshot,
    FindSnapshot,
    TakeSnapshot,
    analyze,
    is_doomed,
    reprieve,
)
from controller.volumes.snapshots.classes import class_problem, without_effect
from controller.volumes.snapshots.flow import MarkContent, RefuseContent, ReleaseContent, UnmarkContent
from controller.volumes.snapshots.kinds import (
    BEING_CREATED,
    CONTENT_FINALIZER,
    CONTENTS,
    SNAPSHOT_CLASSES,
    VolumeSnapshotClass,
    VolumeSnapshotContent,
)
from controller.volumes.snapshots.shown import refuse_known, refuse_shown
from controller.volumes.snapshots.writes import Writes

if TYPE_CHECKING:
    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.volumes.caches import Caches, SnapshotCaches
    from controller.volumes.drivers import Drivers
    from controller.volumes.features import Snapshot, Snapshots
    from informers import Client

CREATION_FAILED, DELETION_FAILED = "SnapshotCreationFailed", "SnapshotDeleteError"


@dataclass(slots=True)
class Contents:
    """The reconciler of VolumeSnapshotContents.

    Attributes:
        client: Writes.
        events: Tells users.
        caches: What there is of volumes.
        snapshots: What there is of snapshots.
        drivers: The storage systems.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    caches: Caches
    snapshots: SnapshotCaches
    drivers: Drivers
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        content = self.snapshots.contents.get("", request.name)
        if content is None or self.drivers.serving(content.spec.driver) is None:
            self.backoffs.forget(request)
            return Result()
        plan, writes = analyze(content, self.observe(content)), self._writes
        outcome = await carry_out(
            plan,
            {
                MarkContent: lambda _: writes.mark(content),
                TakeSnapshot: lambda action: self._take(content, action),
                UnmarkContent: lambda _: writes.unmark(content),
                FindSnapshot: lambda action: self._find(content, action),
                RefuseContent: lambda action: self._refuse(content, action.problem),
                DestroySnapshot: lambda action: self._destroy(content, action),
                ReleaseContent: lambda _: writes.release(content),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(content, result),
        )
        return conclude(outcome, plan.look_again)

    def observe(self, content: VolumeSnapshotContent) -> ContentObservation:
        """What the caches have about a content of a driver that is served."""
        source, driver = content.spec.source, content.spec.driver
        snapshots = self.drivers.snapshots_of(driver)
        if snapshots is None:
            problem = f"no snapshots are taken of volumes of CSI driver {driver}: expected a driver that can"
            return ContentObservation(problem=problem)
        if source.snapshot_handle:
            handle = content.status.snapshot_handle or ""
            return ContentObservation(handle=handle, others=self._others(content, handle))
        found = self.caches.volumes.by_index(BY_HANDLE, handle_key(driver, source.volume_handle))
        csi = found[0].spec.csi if found else None
        volume = volume_from(csi) if csi is not None else None
        problem = self._class_problem(content)
        if volume is None:
            problem = problem or f"spec.source.volumeHandle is {source.volume_handle}: no PersistentVolume has it"
        handle = content.status.snapshot_handle or ""
        try:
            named = volume or Volume(driver=driver, attributes={}, handle=source.volume_handle)
            handle = handle or snapshots.handle(named, content.spec.volume_snapshot_ref.uid)
        except ParameterError as error:
            problem = problem or str(error)
        return ContentObservation(volume=volume, handle=handle, problem=problem, others=self._others(content, handle))

    def _class_problem(self, content: VolumeSnapshotContent) -> str:
        name = content.spec.volume_snapshot_class_name
        return class_problem(SNAPSHOT_CLASSES.kind, name, self._class(content), content.spec.driver)

    def _class(self, content: VolumeSnapshotContent) -> VolumeSnapshotClass | None:
        return self.snapshots.classes.get("", content.spec.volume_snapshot_class_name or "")

    def _others(self, content: VolumeSnapshotContent, handle: str) -> tuple[str, ...]:
        if not handle:
            return ()
        found = self.snapshots.contents.by_index(BY_SNAPSHOT, handle)
        names = (other.metadata.name for other in found if not is_doomed(other))
        return (*sorted(name for name in names if name != content.metadata.name), *self._groups_of(handle))

    def _groups_of(self, handle: str) -> tuple[str, ...]:
        """Group snapshots that have the snapshot, and that are not about to destroy it.

        The snapshot-controller makes a content of each of their snapshots, by which the check is made to be sure.
        """
        groups = self.caches.groups
        found = groups.contents.by_index(BY_MEMBER, handle) if groups is not None else []
        names = sorted(group.metadata.name for group in found if not is_group_doomed(group))
        return tuple(f"{name} (a VolumeGroupSnapshotContent)" for name in names)

    def _snapshots(self, content: VolumeSnapshotContent) -> Snapshots:
        snapshots = self.drivers.snapshots_of(content.spec.driver)
        if snapshots is None:
            raise BackendError(f"CSI driver {content.spec.driver} is not served any more")
        return snapshots

    @property
    def _writes(self) -> Writes:
        return Writes(self.client, CONTENTS, VolumeSnapshotContent, BEING_CREATED, CONTENT_FINALIZER)

    async def _take(self, content: VolumeSnapshotContent, action: TakeSnapshot) -> None:
        try:
            taken = await self._snapshots(content).take(action.volume, action.handle)
        except BackendError as error:
            await self._writes.not_taken(content, error)
            raise
        await self._tell(content, action.handle, taken)

    async def _find(self, content: VolumeSnapshotContent, action: FindSnapshot) -> None:
        try:
            found = await self._snapshots(content).find(content.spec.driver, action.handle)
        except BackendError as error:
            await self._writes.fail(content, str(error))
            raise
        if found is None:
            where = "spec.source" if content.spec.source.snapshot_handle else "status"
            missing = f"{where}.snapshotHandle is {action.handle}: there is no such snapshot"
            await self._writes.fail(content, missing)
            raise BackendError(missing)
        await self._tell(content, action.handle, found)

    async def _tell(self, content: VolumeSnapshotContent, handle: str, snapshot: Snapshot) -> None:
        status = {
            "snapshotHandle": handle,
            "creationTime": snapshot.created,
            "restoreSize": snapshot.size or None,
            "readyToUse": True,
            "error": None,
        }
        await self._writes.tell(content, status)

    async def _refuse(self, content: VolumeSnapshotContent, problem: str) -> None:
        if await self._writes.refuse(content, problem):
            self._event(content, "Warning", CREATION_FAILED, problem)

    async def _destroy(self, content: VolumeSnapshotContent, action: DestroySnapshot) -> None:
        refuse_known(self.caches, action.handle)
        await self._check(content, action.handle)
        try:
            await self._snapshots(content).destroy(content.spec.driver, action.handle, action.volume)
        except GoneError:
            if content.status.ready_to_use:
                raise
        gone = {"snapshotHandle": None, "creationTime": None, "restoreSize": None, "readyToUse": False}
        await self._writes.tell(content, gone)

    async def _check(self, planned: VolumeSnapshotContent, handle: str) -> None:
        """Makes sure that nobody needs the snapshot, by what the API server has: the last thing before it is destroyed.

        As for PersistentVolumes: those of the same snapshot are read anew, once the cache has all that were made
        before.

        Raises:
            BackendError: Somebody needs it, or the cache does not follow.
            UnderWayError: The content was changed or has gone a moment ago, which the cache does not show yet.
            ApiError: The API server does not answer, or refuses.
            IncompleteIndexError: A content cannot be read: it may be of this snapshot.
        """
        name = planned.metadata.name
        subject = f"VolumeSnapshotContent {name}"
        now = await read_anew(self.client, CONTENTS, name, VolumeSnapshotContent)
        if why := reprieve(planned, now, ()):
            raise BackendError(f"{subject} {why}: it is not destroyed")
        await see_all(self.client, CONTENTS, now.metadata, self.snapshots.contents)
        same = self.snapshots.contents.keys_by_index(BY_SNAPSHOT, handle, complete=True)
        others = [await self.client.find(CONTENTS, "", other) for _, other in sorted(same) if other != name]
        fresh = msgspec.convert([other for other in others if other is not None], list[VolumeSnapshotContent])
        users = tuple(other.metadata.name for other in fresh if not is_doomed(other))
        if why := reprieve(planned, now, (*users, *self._groups_of(handle))):
            raise BackendError(f"{subject} {why}: it is not destroyed")
        backend = self.drivers.serving(planned.spec.driver)
        if backend is not None and backend.capabilities.shows_snapshots:
            await refuse_shown(self.client, self.caches, planned.spec.driver, handle)

    def _record(self, content: VolumeSnapshotContent, result: StepResult) -> None:
        match result.step.action:
            case TakeSnapshot() if result.state is StepState.DONE:
                found, snapshots = self._class(content), self._snapshots(content)
                for note in without_effect(SNAPSHOT_CLASSES.kind, found, snapshots):
                    self._event(content, "Warning", "ParameterNotServed", note)
            case ReleaseContent(shared) if shared and result.state is StepState.DONE:
                note = f"The snapshot stays: it is also that of VolumeSnapshotContent {', '.join(shared)}"
                self._event(content, "Normal", "HandleShared", note)
            case DestroySnapshot() | ReleaseContent() if result.state is StepState.FAILED:
                self._event(content, "Warning", DELETION_FAILED, brief(result.error))
            case _ if result.state is StepState.FAILED:
                self._event(content, "Warning", CREATION_FAILED, brief(result.error))

    def _event(self, content: VolumeSnapshotContent, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(content, CONTENTS), kind, reason, note)
