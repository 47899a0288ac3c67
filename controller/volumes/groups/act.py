"""The reconciler of VolumeGroupSnapshotContents: looks into the caches, and carries out what is to be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.framework.backoff import Backoffs
from controller.framework.plan import StepState, carry_out, conclude
from controller.framework.status import timestamp
from controller.framework.text import brief
from controller.runtime.reconciler import Request, Result
from controller.runtime.references import object_reference
from controller.volumes.backend import BackendError, GoneError, ParameterError, Volume, volume_from
from controller.volumes.caches import BY_GROUP, BY_HANDLE, BY_MEMBER, handle_key
from controller.volumes.checked import read_anew, see_all
from controller.volumes.features import Member
from controller.volumes.groups.analyze import (
    DestroyGroup,
    FindGroup,
    GroupObservation,
    TakeGroup,
    analyze,
    is_doomed,
    reprieve,
    users_of,
)
from controller.volumes.groups.kinds import (
    BEING_CREATED,
    CLASS_KIND,
    CONTENT_FINALIZER,
    VolumeGroupSnapshotClass,
    VolumeGroupSnapshotContent,
    given_handle,
    list_of,
    listed,
    member_uid,
)
from controller.volumes.snapshots.classes import class_problem, without_effect
from controller.volumes.snapshots.flow import MarkContent, RefuseContent, ReleaseContent, UnmarkContent
from controller.volumes.snapshots.kinds import CONTENTS, VolumeSnapshotContent
from controller.volumes.snapshots.writes import Writes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.framework.plan import StepResult
    from controller.runtime.events import EventRecorder
    from controller.volumes.caches import Caches, GroupCaches
    from controller.volumes.drivers import Drivers
    from controller.volumes.features import Groups, Snapshot, Snapshots
    from informers import Client

CREATION_FAILED, DELETION_FAILED = "GroupSnapshotCreationFailed", "GroupSnapshotDeleteError"


@dataclass(slots=True)
class GroupContents:
    """The reconciler of VolumeGroupSnapshotContents.

    Attributes:
        client: Writes.
        events: Tells users.
        caches: What there is of volumes.
        groups: What there is of group snapshots.
        drivers: The storage systems.
        backoffs: Which lanes failed.
    """

    client: Client
    events: EventRecorder
    caches: Caches
    groups: GroupCaches
    drivers: Drivers
    backoffs: Backoffs = field(default_factory=Backoffs)

    async def reconcile(self, request: Request) -> Result:
        """See `controller.runtime.Reconciler`."""
        content = self.groups.contents.get("", request.name)
        if content is None or self.drivers.serving(content.spec.driver) is None:
            self.backoffs.forget(request)
            return Result()
        plan, writes = analyze(content, self.observe(content)), self._writes
        outcome = await carry_out(
            plan,
            {
                MarkContent: lambda _: writes.mark(content),
                TakeGroup: lambda action: self._take(content, action),
                UnmarkContent: lambda _: writes.unmark(content),
                FindGroup: lambda action: self._find(content, action),
                RefuseContent: lambda action: self._refuse(content, action.problem),
                DestroyGroup: lambda action: self._destroy(content, action),
                ReleaseContent: lambda _: writes.release(content),
            },
            request,
            self.backoffs,
            record=lambda result: self._record(content, result),
        )
        return conclude(outcome, plan.look_again)

    def observe(self, content: VolumeGroupSnapshotContent) -> GroupObservation:
        """What the caches have about a content of a driver that is served."""
        driver, there = content.spec.driver, listed(content)
        snapshots, groups = self.drivers.snapshots_of(driver), self.drivers.groups_of(driver)
        if snapshots is None or groups is None:
            problem = f"no group snapshots are taken of volumes of CSI driver {driver}: expected a driver that can"
            return GroupObservation(problem=problem)
        if there:
            members = tuple(
                Member(handle=one.snapshot_handle, volume=self._volume(driver, one.volume_handle)) for one in there
            )
            handle = content.status.volume_group_snapshot_handle or given_handle(content)
            handle = handle or self._expected(content, snapshots, groups)[0]
            return GroupObservation(handle=handle, members=members, others=self._others(content, handle))
        handle, members, problem = self._expected(content, snapshots, groups)
        problem = problem or self._class_problem(content)
        return GroupObservation(handle=handle, members=members, problem=problem, others=self._others(content, handle))

    def _expected(
        self, content: VolumeGroupSnapshotContent, snapshots: Snapshots, groups: Groups
    ) -> tuple[str, tuple[Member, ...], str]:
        """The handle and members of a group snapshot that is to be taken, and what is wrong with it."""
        driver, uid = content.spec.driver, content.spec.volume_group_snapshot_ref.uid
        wanted = {handle: self._volume(driver, handle) for handle in content.spec.source.volume_handles}
        if not wanted:
            return "", (), "spec.source has no volumeHandles: expected volumes, or groupSnapshotHandles"
        missing = [handle for handle, volume in wanted.items() if volume is None]
        try:
            volumes = [
                volume or Volume(driver=driver, attributes={}, handle=handle) for handle, volume in wanted.items()
            ]
            members = tuple(
                Member(handle=snapshots.handle(named, member_uid(uid, named.handle)), volume=wanted[named.handle])
                for named in volumes
            )
            handle = groups.handle(volumes, uid)
        except ParameterError as error:
            return "", (), str(error)
        problem = (
            f"spec.source.volumeHandles has {', '.join(missing)}: no PersistentVolume of CSI driver {driver} has it"
        )
        return handle, members, problem if missing else ""

    def _volume(self, driver: str, handle: str) -> Volume | None:
        found = self.caches.volumes.by_index(BY_HANDLE, handle_key(driver, handle)) if handle else []
        csi = found[0].spec.csi if found else None
        return volume_from(csi) if csi is not None else None

    def _class_problem(self, content: VolumeGroupSnapshotContent) -> str:
        name = content.spec.volume_group_snapshot_class_name
        return class_problem(CLASS_KIND, name, self._class(content), content.spec.driver)

    def _class(self, content: VolumeGroupSnapshotContent) -> VolumeGroupSnapshotClass | None:
        return self.groups.classes.get("", content.spec.volume_group_snapshot_class_name or "")

    def _others(self, content: VolumeGroupSnapshotContent, handle: str) -> tuple[str, ...]:
        found = self.groups.contents.by_index(BY_GROUP, handle) if handle else []
        names = (other.metadata.name for other in found if not is_doomed(other))
        return tuple(sorted(name for name in names if name != content.metadata.name))

    @property
    def _writes(self) -> Writes:
        view = VolumeGroupSnapshotContent
        return Writes(self.client, self.groups.resource, view, BEING_CREATED, CONTENT_FINALIZER)

    def _groups(self, content: VolumeGroupSnapshotContent) -> tuple[Snapshots, Groups]:
        driver = content.spec.driver
        snapshots, groups = self.drivers.snapshots_of(driver), self.drivers.groups_of(driver)
        if snapshots is None or groups is None:
            raise BackendError(f"CSI driver {driver} is not served any more")
        return snapshots, groups

    async def _take(self, content: VolumeGroupSnapshotContent, action: TakeGroup) -> None:
        try:
            _, groups = self._groups(content)
            taken = await groups.take(action.handle, action.members)
        except BackendError as error:
            await self._writes.not_taken(content, error)
            raise
        await self._tell(content, action.handle, action.members, taken)

    async def _find(self, content: VolumeGroupSnapshotContent, action: FindGroup) -> None:
        try:
            snapshots, _ = self._groups(content)
            found = [await snapshots.find(content.spec.driver, member.handle) for member in action.members]
            there = [snapshot for snapshot in found if snapshot is not None]
            if len(there) < len(found):
                missing = [m.handle for m, snapshot in zip(action.members, found, strict=True) if snapshot is None]
                where = "spec.source.groupSnapshotHandles.volumeSnapshotHandles"
                raise BackendError(f"{where} has {', '.join(missing)}: there is no such snapshot")  # noqa: TRY301
        except BackendError as error:
            await self._writes.fail(content, str(error))
            raise
        await self._tell(content, action.handle, action.members, there)

    async def _tell(
        self, content: VolumeGroupSnapshotContent, handle: str, members: Sequence[Member], taken: Sequence[Snapshot]
    ) -> None:
        status = {
            "volumeGroupSnapshotHandle": handle,
            "creationTime": timestamp(min(snapshot.created for snapshot in taken) / 1e9),
            "readyToUse": True,
            "error": None,
            **list_of(self.groups.resource.version, members, taken),
        }
        await self._writes.tell(content, status)

    async def _refuse(self, content: VolumeGroupSnapshotContent, problem: str) -> None:
        if await self._writes.refuse(content, problem):
            self._event(content, "Warning", CREATION_FAILED, problem)

    async def _destroy(self, content: VolumeGroupSnapshotContent, action: DestroyGroup) -> None:
        users = await self._check(content, action)
        _, groups = self._groups(content)
        destroyed = [member for member in action.members if member.handle not in users]
        try:
            await groups.destroy(content.spec.driver, action.handle, destroyed)
        except GoneError:
            if content.status.ready_to_use:
                raise
        if users:
            named = ", ".join(sorted({name for names in users.values() for name in names}))
            note = f"Snapshots stay that {named} has, too"
            self._event(content, "Normal", "HandleShared", note)
        gone = {"volumeGroupSnapshotHandle": None, "creationTime": None, "readyToUse": False}
        await self._writes.tell(content, gone)

    async def _check(self, planned: VolumeGroupSnapshotContent, action: DestroyGroup) -> dict[str, tuple[str, ...]]:
        """Makes sure that nobody needs the group snapshot, by what the API server has: the last thing before the end.

        Returns:
            Which of its snapshots others need: by their handles, the contents' names.

        Raises:
            BackendError: Somebody needs all of it, or the cache does not follow.
            UnderWayError: The content was changed or has gone a moment ago, which the cache does not show yet.
            ApiError: The API server does not answer, or refuses.
            IncompleteIndexError: A content cannot be read: it may be of this group snapshot.
        """
        name, resource = planned.metadata.name, self.groups.resource
        subject = f"{resource.kind} {name}"
        now = await read_anew(self.client, resource, name, VolumeGroupSnapshotContent)
        if why := reprieve(planned, now, ()):
            raise BackendError(f"{subject} {why}: its snapshots are not destroyed")
        await see_all(self.client, resource, now.metadata, self.groups.contents)
        others = await self._fresh(BY_GROUP, action.handle, name)
        if why := reprieve(planned, now, others):
            raise BackendError(f"{subject} {why}: its snapshots are not destroyed")
        # No note to one object makes sure of the cache of another resource; groups are few, so all are asked for.
        contents = msgspec.convert(await self.client.list(CONTENTS), list[VolumeSnapshotContent])
        users = users_of({member.handle for member in action.members}, action.handle, contents)
        for member in action.members:
            if groups := await self._fresh(BY_MEMBER, member.handle, name):
                users[member.handle] = (*users.get(member.handle, ()), *groups)
        return users

    async def _fresh(self, index: str, value: str, but: str) -> tuple[str, ...]:
        """Other group contents that an index has, and that are not about to destroy what they have, read anew."""
        keys = self.groups.contents.keys_by_index(index, value, complete=True)
        found = [await self.client.find(self.groups.resource, "", name) for _, name in sorted(keys) if name != but]
        fresh = msgspec.convert([other for other in found if other is not None], list[VolumeGroupSnapshotContent])
        return tuple(other.metadata.name for other in fresh if not is_doomed(other))

    def _record(self, content: VolumeGroupSnapshotContent, result: StepResult) -> None:
        match result.step.action:
            case TakeGroup() if result.state is StepState.DONE:
                snapshots, _ = self._groups(content)
                for note in without_effect(CLASS_KIND, self._class(content), snapshots):
                    self._event(content, "Warning", "ParameterNotServed", note)
            case ReleaseContent(shared) if shared and result.state is StepState.DONE:
                note = f"The snapshots stay: they are also those of VolumeGroupSnapshotContent {', '.join(shared)}"
                self._event(content, "Normal", "HandleShared", note)
            case DestroyGroup() | ReleaseContent() if result.state is StepState.FAILED:
                self._event(content, "Warning", DELETION_FAILED, brief(result.error))
            case _ if result.state is StepState.FAILED:
                self._event(content, "Warning", CREATION_FAILED, brief(result.error))

    def _event(self, content: VolumeGroupSnapshotContent, kind: Any, reason: str, note: str) -> None:
        self.events.event(object_reference(content, self.groups.resource), kind, reason, note)
