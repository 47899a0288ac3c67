"""The reconciler of VolumeSnapshotContents: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.runtime.finalizers import remove_finalizer
from controller.runtime.log import redact_text
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, GoneError, ParameterError, Volume, volume_from
from controller.volumes.caches import BY_HANDLE, BY_SNAPSHOT, handle_key
from controller.volumes.checked import see_all
from controller.volumes.claims.objects import CSI
from controller.volumes.snapshots.analyze import (
    ContentObservation,
    DestroySnapshot,
    FindSnapshot,
    MarkContent,
    RefuseSnapshot,
    ReleaseContent,
    TakeSnapshot,
    UnmarkContent,
    analyze,
    is_doomed,
    reprieve,
)
from controller.volumes.snapshots.kinds import (
    BEING_CREATED,
    CONTENT_FINALIZER,
    CONTENTS,
    VolumeSnapshotContent,
)
from controller.volumes.snapshots.shown import refuse_known, refuse_shown
from informers import ApiError

if TYPE_CHECKING:
    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.volumes.backend import Snapshot, Snapshots
    from controller.volumes.caches import Caches, SnapshotCaches
    from controller.volumes.drivers import Drivers
    from informers import Client, JsonObject

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
        plan = analyze(content, self.observe(content))
        outcome = await carry_out(
            plan,
            {
                MarkContent: lambda _: self._mark(content),
                TakeSnapshot: lambda action: self._take(content, action),
                UnmarkContent: lambda _: self._unmark(content),
                FindSnapshot: lambda action: self._find(content, action),
                RefuseSnapshot: lambda action: self._refuse(content, action.problem),
                DestroySnapshot: lambda action: self._destroy(content, action),
                ReleaseContent: lambda _: self._release(content),
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
        if not name:
            return "spec.volumeSnapshotClassName is empty: expected a VolumeSnapshotClass"
        found = self.snapshots.classes.get("", name)
        if found is None:
            return f"VolumeSnapshotClass {name} does not exist"
        if found.driver != content.spec.driver:
            return f"VolumeSnapshotClass {name}: driver is {found.driver!r}: expected {content.spec.driver}"
        return ""

    def _others(self, content: VolumeSnapshotContent, handle: str) -> tuple[str, ...]:
        if not handle:
            return ()
        found = self.snapshots.contents.by_index(BY_SNAPSHOT, handle)
        return tuple(
            sorted(
                other.metadata.name
                for other in found
                if other.metadata.name != content.metadata.name and not is_doomed(other)
            )
        )

    def _snapshots(self, content: VolumeSnapshotContent) -> Snapshots:
        snapshots = self.drivers.snapshots_of(content.spec.driver)
        if snapshots is None:
            raise BackendError(f"CSI driver {content.spec.driver} is not served any more")
        return snapshots

    async def _mark(self, content: VolumeSnapshotContent) -> None:
        finalizers = dict.fromkeys((*content.metadata.finalizers, CONTENT_FINALIZER))
        await self._patch(
            content, resourceVersion=content.metadata.resource_version, finalizers=[*finalizers], note="yes"
        )

    async def _unmark(self, content: VolumeSnapshotContent) -> None:
        await self._patch(content, note=None)

    async def _patch(self, content: VolumeSnapshotContent, *, note: str | None, **more: Any) -> None:
        metadata = {"uid": content.metadata.uid, "annotations": {BEING_CREATED: note}, **more}
        await self.client.patch(
            CONTENTS,
            "",
            content.metadata.name,
            {"metadata": metadata},
            content_type="application/merge-patch+json",
        )

    async def _patch_status(self, content: VolumeSnapshotContent, status: JsonObject) -> None:
        await self.client.patch(
            CONTENTS,
            "",
            content.metadata.name,
            {"metadata": {"uid": content.metadata.uid}, "status": status},
            content_type="application/merge-patch+json",
            subresource="status",
        )

    async def _take(self, content: VolumeSnapshotContent, action: TakeSnapshot) -> None:
        try:
            taken = await self._snapshots(content).take(action.volume, action.handle)
        except GoneError as error:  # with the cluster, nothing is left that was begun
            await self._unmark(content)
            await self._fail(content, str(error))
            raise
        except BackendError as error:
            await self._fail(content, str(error))
            raise
        await self._tell(content, action.handle, taken)

    async def _find(self, content: VolumeSnapshotContent, action: FindSnapshot) -> None:
        try:
            found = await self._snapshots(content).find(content.spec.driver, action.handle)
        except BackendError as error:
            await self._fail(content, str(error))
            raise
        if found is None:
            missing = f"spec.source.snapshotHandle is {action.handle}: there is no such snapshot"
            await self._fail(content, missing)
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
        await self._patch_status(content, status)

    async def _refuse(self, content: VolumeSnapshotContent, problem: str) -> None:
        if BEING_CREATED in content.metadata.annotations:
            await self._unmark(content)
        if await self._fail(content, problem):
            self._event(content, "Warning", CREATION_FAILED, problem)

    async def _fail(self, content: VolumeSnapshotContent, message: str) -> bool:
        """Tells in the status what is wrong, unless it says so already; returns whether it did not."""
        message = brief(redact_text(message))
        if content.status.error is not None and content.status.error.message == message:
            return False
        error = {"time": timestamp(time.time()), "message": message}
        await self._patch_status(content, {"readyToUse": False, "error": error})
        return True

    async def _destroy(self, content: VolumeSnapshotContent, action: DestroySnapshot) -> None:
        refuse_known(self.caches, action.handle)
        await self._check(content, action.handle)
        try:
            await self._snapshots(content).destroy(content.spec.driver, action.handle, action.volume)
        except GoneError:
            if content.status.ready_to_use:
                raise
        gone = {"snapshotHandle": None, "creationTime": None, "restoreSize": None, "readyToUse": False}
        await self._patch_status(content, gone)

    async def _check(self, planned: VolumeSnapshotContent, handle: str) -> None:
        """Makes sure that nobody needs the snapshot, by what the API server has: the last thing before it is destroyed.

        As for PersistentVolumes: those of the same snapshot are read anew, once the cache has all that were made
        before.

        Raises:
            BackendError: Somebody needs it, or the cache is behind.
            ApiError: Among others a conflict, when the content was changed meanwhile.
            IncompleteIndexError: A content cannot be read: it may be of this snapshot.
        """
        name = planned.metadata.name
        subject = f"VolumeSnapshotContent {name}"
        found = await self.client.find(CONTENTS, "", name)
        if found is None:
            raise BackendError(f"{subject} is gone: its snapshot is not destroyed")
        now = msgspec.convert(found, VolumeSnapshotContent)
        if why := reprieve(planned, now, ()):
            raise BackendError(f"{subject} {why}: it is not destroyed")
        await see_all(self.client, CONTENTS, now.metadata, self.snapshots.contents)
        same = self.snapshots.contents.keys_by_index(BY_SNAPSHOT, handle, complete=True)
        others = [await self.client.find(CONTENTS, "", other) for _, other in sorted(same) if other != name]
        fresh = msgspec.convert([other for other in others if other is not None], list[VolumeSnapshotContent])
        users = tuple(other.metadata.name for other in fresh if not is_doomed(other))
        if why := reprieve(planned, now, users):
            raise BackendError(f"{subject} {why}: it is not destroyed")
        backend = self.drivers.serving(planned.spec.driver)
        if backend is not None and backend.capabilities.shows_snapshots:
            await refuse_shown(self.client, self.caches, planned.spec.driver, handle)

    async def _release(self, content: VolumeSnapshotContent) -> None:
        # Read anew: the notes that came before are ours.
        found = await self.client.find(CONTENTS, "", content.metadata.name)
        if found is None or found["metadata"]["uid"] != content.metadata.uid:
            return
        try:
            now = msgspec.convert(found, VolumeSnapshotContent)
            await remove_finalizer(self.client, CONTENTS, now, CONTENT_FINALIZER)
        except ApiError as error:
            # The snapshot-controller takes its own away at the same time; the change that we have not seen wakes us.
            if not error.is_conflict:
                raise

    def _record(self, content: VolumeSnapshotContent, result: StepResult) -> None:
        match result.step.action:
            case TakeSnapshot() if result.state is StepState.DONE:
                found = self.snapshots.classes.get("", content.spec.volume_snapshot_class_name or "")
                parameters = found.parameters if found is not None else {}
                own = {name: value for name, value in parameters.items() if not name.startswith(CSI)}
                for name in self._snapshots(content).unserved(own):
                    note = f"VolumeSnapshotClass {content.spec.volume_snapshot_class_name}: parameter {name!r}"
                    self._event(content, "Warning", "ParameterNotServed", f"{note} has no effect here")
            case ReleaseContent(shared) if shared and result.state is StepState.DONE:
                note = f"The snapshot stays: it is also that of VolumeSnapshotContent {', '.join(shared)}"
                self._event(content, "Normal", "HandleShared", note)
            case DestroySnapshot() | ReleaseContent() if result.state is StepState.FAILED:
                self._event(content, "Warning", DELETION_FAILED, brief(result.error))
            case _ if result.state is StepState.FAILED:
                self._event(content, "Warning", CREATION_FAILED, brief(result.error))

    def _event(self, content: VolumeSnapshotContent, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(content, CONTENTS), kind, reason, note)
