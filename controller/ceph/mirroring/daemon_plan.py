"""The steps for daemons that mirror: made, restarted where they differ, and removed with their object. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.mirroring.daemon import deployment_of
from controller.ceph.pods import SKIP_LABEL, is_kept
from controller.framework.children import Apply, delete, explain
from controller.framework.kind import LetGo
from controller.framework.plan import Step
from controller.runtime.kube import DEPLOYMENT, SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.access.rados import Cluster
    from controller.ceph.mirroring.daemon import MirrorDaemon
    from controller.ceph.mirroring.daemon_state import DaemonObservation
    from controller.framework.plan import Handler

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at daemons that run, and at such as wait for something."""


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove the user of daemons that are gone."""

    entity: str


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How the actions of this module are carried out, beside those of objects and keyrings."""

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {RemoveUser: remove_user}


def steps(daemon: MirrorDaemon, kind: str, seen: DaemonObservation, count: int) -> Iterator[Step]:
    """The steps for daemons that are to be there.

    Args:
        daemon: The kind of daemons.
        kind: The kind of their object.
        seen: What there is.
        count: How many there are to be.
    """
    subject = daemon.daemon.type
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    if seen.elder:
        reason = f"{kind} {seen.elder} has the daemons of this namespace"
        yield Step(subject=subject, reason=reason, waits_for="one of the two to be deleted")
        return
    short = users.shortfall(seen.live, daemon.keyring, daemon.caps)
    if short:
        labels = daemon.daemon.labels(seen.context.owner)
        yield Step(
            subject=subject, action=CreateKeyring(daemon.user, daemon.caps, daemon.keyring, labels), reason=short
        )
    wanted, found = deployment_of(daemon, seen.context, count), seen.deployment
    why = explain(wanted, seen.live.get((DEPLOYMENT.kind, daemon.name)))
    if why and is_kept(found):
        yield Step(
            subject=subject, reason=why, waits_for=f"label {SKIP_LABEL} to be taken off Deployment {daemon.name}"
        )
    elif why:
        yield Step(subject=subject, action=Apply(wanted), reason=why, waits_for=seen.hold)
    elif found is not None and not found.rolled_out:
        waits_for = trouble(seen.pods, found) or "its pods to be available"
        yield Step(subject=subject, reason="it was started", waits_for=waits_for)


def deletion(daemon: MirrorDaemon, kind: str, seen: DaemonObservation) -> Iterator[Step]:
    """The steps for daemons whose object is being deleted. What is mirrored stays as it is, in both clusters."""
    subject, reason = daemon.daemon.type, f"the {kind} is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.cluster_gone or seen.elder:
        yield release
        return
    if seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    for resource, name in ((DEPLOYMENT, daemon.name), (SECRET, daemon.keyring)):
        live = seen.live.get((resource.kind, name))
        if live is not None and live["metadata"].get("deletionTimestamp") is None:
            yield delete(resource, live, subject=subject, reason=reason)
    yield Step(subject=subject, action=RemoveUser(daemon.user), reason=reason)
    yield release
