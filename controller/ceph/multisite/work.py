"""How what an object asks for is brought about in Ceph: by a Job, which has a user of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.ceph.access import users
from controller.ceph.multisite.names import APP, entity, job_name, keyring_name
from controller.ceph.pods import cluster_labels
from controller.ceph.rgw import tool
from controller.ceph.rgw.names import CAPS
from controller.ceph.rgw.tool import Work
from controller.framework import children, jobs
from controller.framework.kind import LetGo
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from controller.ceph.access.rados import Cluster
    from controller.ceph.multisite.ground import Caches, Ground
    from controller.ceph.pods import Context
    from controller.ceph.rgw.names import Place
    from controller.framework.plan import Handler
    from controller.runtime import Manager

REALM, ZONE_GROUP, ZONE, PROMOTE = "realm", "zonegroup", "zone", "promote"
REMOVE_REALM, REMOVE_ZONE_GROUP, REMOVE_ZONE = "remove-realm", "remove-zonegroup", "remove-zone"
"""What Jobs do; see `controller.ceph.rgw.pod.multisite`."""
BEING_DELETED = "it is being deleted"
MAX_NAMED = 10
"""Users of an object that are named."""


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete the cephx user of an object's Jobs."""

    entity: str


def work_of(
    context: Context, what: str, place: Place, wanted: Mapping[str, Any], *, credentials: str = "", act: str = ""
) -> Work:
    """What a Job of an object is to do.

    Args:
        context: The cluster, and the object.
        what: `REALM`, `ZONE` and so on.
        place: Names that each call of `radosgw-admin` gives.
        wanted: What is wanted, for the program.
        credentials: The Secret with the keys of the realm's system user; empty: they are not needed.
        act: Tells the Job from the object's first one.
    """
    owner = context.owner
    return Work(
        name=job_name(owner.kind, owner.name, act),
        what=what,
        place=place,
        wanted=wanted,
        entity=entity(owner.kind, owner.name),
        keyring=keyring_name(owner.kind, owner.name),
        credentials=credentials,
        labels=cluster_labels(owner, APP),
        uid=owner.uid,
    )


def bring_about(
    ground: Ground, work: Work, image: str, *, subject: str, reason: str, undone: str = ""
) -> Iterator[Step]:
    """The steps by which work is done; none when it is.

    Args:
        ground: What there is.
        work: What is to be done.
        image: The operator's.
        subject: As `Step.subject`.
        reason: Why it is to be done.
        undone: How what was done was undone by somebody else, in words; empty: it was not.
    """
    context = ground.context
    if context is None:
        return
    why = users.shortfall(ground.live, work.keyring, CAPS)
    if why:
        action = users.CreateKeyring(work.entity, CAPS, work.keyring, work.labels)
        yield Step(subject=subject, action=action, reason=why)
        # The Job's pod would wait for its Secret longer than it takes to look again.
        return
    if undone and tool.is_done(ground.run, work):
        afresh = jobs.RunJob(tool.tool_job(context, work, image), ground.run.afresh)
        yield Step(subject=subject, action=afresh, reason=undone)
        return
    yield from tool.ensure(ground.run, context, work, image, subject=subject, reason=reason)


def removal(
    ground: Ground, users: Sequence[str], work: Callable[[Context], Work], image: str, *, subject: str
) -> Iterator[Step]:
    """The steps of the deletion of an object that nothing but configuration goes with.

    Args:
        ground: What there is.
        users: What uses it, in words.
        work: What takes it out of Ceph. Once that is done it is let go, whatever Ceph still has for the sake of others.
        image: The operator's.
        subject: As `Step.subject`.
    """
    yield from held_back(ground, users, subject=subject)
    context = ground.context
    if users or (context is None and not ground.cluster_gone):
        return
    if context is not None and ground.exists:
        steps = tuple(bring_about(ground, work(context), image, subject=subject, reason=BEING_DELETED))
        yield from steps
        if steps:
            return
    yield from letting_go(ground, subject=subject)


def held_back(ground: Ground, users: Sequence[str], *, subject: str) -> Iterator[Step]:
    """What a deletion waits for before anything is removed."""
    if ground.cluster_gone:
        return
    if ground.waits_for or ground.context is None:
        yield Step(subject=subject, reason=BEING_DELETED, waits_for=ground.waits_for or "the cluster to answer")
    elif users:
        yield Step(subject=subject, reason=BEING_DELETED, waits_for=f"{some(users, MAX_NAMED)} to be deleted")


def letting_go(ground: Ground, *, subject: str) -> Iterator[Step]:
    """The last steps of a deletion."""
    if ground.context is not None:
        owner = ground.context.owner
        yield Step(subject=subject, action=RemoveUser(entity(owner.kind, owner.name)), reason=BEING_DELETED)
    yield Step(subject=subject, action=LetGo(), reason=BEING_DELETED)


def handlers(manager: Manager, caches: Caches, ground: Ground, ceph: Cluster | None) -> dict[type, Handler]:
    """How the actions of this module are carried out. Without a way to the cluster, none of them is planned."""
    own = children.handlers(manager.applier, manager.client, caches.children) | jobs.handlers(manager.client)
    if ceph is None or ground.context is None:
        return own

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return own | users.handlers(ground.context.owner, manager.applier, ceph) | {RemoveUser: remove_user}
