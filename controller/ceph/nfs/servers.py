"""NFS servers: made, restarted in turn, and removed where they are too many. Pure.

A server is in the database of grace periods before it starts, and is taken out after it is gone: one that is not in it
does not start, and one that is in it and does not run keeps all others from giving out anything new. A server that
starts begins a grace period for all, so none is restarted or removed before the last one has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.nfs.act import MAX_NAMED, JoinGrace, LeaveGrace, RemoveUser, StopServer
from controller.ceph.nfs.objects import (
    NFS,
    caps,
    config_map,
    daemon_of,
    keyring_name,
    labels,
    server_budget,
    server_deployment,
    service,
)
from controller.ceph.nfs.spec import DISCONNECT, disconnects, entity, member_id, server_ids, server_of
from controller.ceph.pods import VERSION_LABEL, is_kept, kept_by
from controller.framework import disruption
from controller.framework.children import Apply, delete, ensure, explain
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.plan import Step
from controller.framework.rollout import Member, Policy, decide
from controller.framework.text import some
from controller.runtime.kube import CONFIG_MAP, SECRET, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephNFS
    from controller.ceph.access.ganesha import Server
    from controller.ceph.nfs.observe import NfsObservation
    from controller.ceph.pods import Context
    from controller.runtime.kube import Deployment


def analyze(nfs: CephNFS, context: Context, seen: NfsObservation) -> Iterator[Step]:
    """The steps for the servers of a CephNFS.

    Args:
        nfs: The CephNFS.
        context: What servers are given of their cluster.
        seen: What there is.
    """
    yield from _rollout(nfs, context, seen)
    yield from _surplus(nfs, seen)
    yield from disruption.keep(
        seen.live,
        server_budget(context),
        owner=context.owner,
        app=NFS.app,
        subject="NFS servers",
        lane="NFS disruption budget",
        why_gone="budgets are switched off",
    )


def removal(nfs: CephNFS, seen: NfsObservation, lane: str, reason: str) -> Iterator[Step]:
    """The steps that remove all servers, in one lane: whoever has clients goes by consent alone."""
    name, forced = nfs.metadata.name, is_forced(nfs.metadata.annotations)
    known = sorted({*server_ids(nfs), *_known(name, seen)})
    # Nobody is left to be protected from a second grace period.
    for server in known:
        found, clients = seen.deployments.get(server), _clients(name, server, seen)
        if found is None or found.metadata.deletion_timestamp is not None:
            continue
        subject, why = _subject(name, server), reason
        consent = ""
        if clients and not forced:
            why = f"clients have state at it: {some(clients, MAX_NAMED)}"
            consent = f'annotation {FORCE_ANNOTATION}: "true", by which they lose it'
        action = StopServer(server, found.metadata.name, found.metadata.uid)
        yield Step(subject=subject, action=action, reason=why, consent=consent, lane=lane)
    for server in known:
        yield from _ended(name, server, seen, reason, lane)


def _known(name: str, seen: NfsObservation) -> set[str]:
    """The letters of the servers of which anything is left."""
    found = set(seen.deployments) | set(seen.pods)
    if seen.shared.grace is not None:
        found.update(server_of(name, member) for member in seen.shared.grace.servers)
    return (found | NFS.secrets(seen.live, name)) - {""}


def _subject(name: str, server: str) -> str:
    return f"server {name}-{server}"


def _entry(name: str, server: str, seen: NfsObservation) -> Server | None:
    """A server in the database of grace periods."""
    grace = seen.shared.grace
    return grace.servers.get(member_id(name, server)) if grace is not None else None


def _clients(name: str, server: str, seen: NfsObservation) -> tuple[str, ...]:
    entry = _entry(name, server, seen)
    return entry.clients if entry is not None else ()


def _rollout(nfs: CephNFS, context: Context, seen: NfsObservation) -> Iterator[Step]:
    """Servers that are missing are made at once; those that differ are restarted one at a time."""
    name, order = nfs.metadata.name, server_ids(nfs)
    wanted = {server: server_deployment(nfs, context, server) for server in order}
    why = {s: explain(obj, seen.live.get(("Deployment", obj["metadata"]["name"]))) for s, obj in wanted.items()}
    members = [_member(name, server, bool(why[server]), seen) for server in order]
    waits = decide([*members, *_grace(seen)], Policy())
    for server in order:
        subject, daemon, found = _subject(name, server), daemon_of(name, server), seen.deployments.get(server)
        kept = is_kept(found)
        yield from _before(nfs, context, server, seen)
        if not kept:
            # A pod that starts reads it, whenever that is.
            yield from ensure(seen.live, config_map(nfs, context, server), subject=subject)
            yield from ensure(seen.live, service(nfs, context, server), subject=subject)
        if kept and why[server]:
            yield Step(subject=subject, reason=why[server], waits_for=kept_by(daemon))
        elif why[server]:
            late = found is not None and _is_late(found, context)
            waits_for = (seen.hold_upgrade if late else "") or waits.get(subject, "")
            yield Step(subject=subject, action=Apply(wanted[server]), reason=why[server], waits_for=waits_for)
        elif found is not None and not found.rolled_out:
            waits_for = trouble(seen.pods.get(server, ()), found) or "it to answer"
            yield Step(subject=subject, reason="it does not serve", waits_for=waits_for)


def _is_late(found: Deployment, context: Context) -> bool:
    """Whether a server runs another release than the cluster; one with an image of its own runs none."""
    release = found.metadata.labels.get(VERSION_LABEL, "")
    return release not in ("", str(context.release.version))


def _before(nfs: CephNFS, context: Context, server: str, seen: NfsObservation) -> Iterator[Step]:
    """What a server needs before its pod starts, in its lane before that."""
    name = nfs.metadata.name
    subject, secret, allowed = _subject(name, server), keyring_name(name, server), caps(name)
    short = users.shortfall(seen.live, secret, allowed)
    if short:
        action = CreateKeyring(entity(name, server), allowed, secret, labels(context, server))
        yield Step(subject=subject, action=action, reason=short)
    if _entry(name, server, seen) is None:
        member = member_id(name, server)
        reason = "it does not start unless it is in the database of grace periods"
        yield Step(subject=subject, action=JoinGrace(member), reason=reason)


def _member(name: str, server: str, differs: bool, seen: NfsObservation) -> Member:
    """A server as one that is restarted in turn."""
    found, entry = seen.deployments.get(server), _entry(name, server, seen)
    serves = found is not None and found.rolled_out
    awaited = ""
    if not serves:
        awaited = "to be restarted"
    elif entry is not None and entry.needs_grace:
        awaited = "to have its clients back"
    return Member(
        name=_subject(name, server),
        outdated=differs and found is not None and not is_kept(found),
        serves=serves,
        awaited=awaited,
    )


def _grace(seen: NfsObservation) -> Iterator[Member]:
    """A grace period that is in effect, as one whom all wait for that serve."""
    grace = seen.shared.grace
    if grace is not None and grace.in_effect:
        yield Member(name="the grace period", serves=False, awaited="to end")


def _surplus(nfs: CephNFS, seen: NfsObservation) -> Iterator[Step]:
    """Servers too many, the last letter first, one in each grace period."""
    name, wanted = nfs.metadata.name, server_ids(nfs)
    surplus = sorted(_known(name, seen) - set(wanted), key=lambda server: (len(server), server), reverse=True)
    reason = f"{len(wanted)} NFS servers are wanted"
    for server in surplus:
        found, subject = seen.deployments.get(server), _subject(name, server)
        if found is not None and is_kept(found):
            yield Step(subject=subject, reason=reason, waits_for=kept_by(daemon_of(name, server)))
            continue
        if found is not None and found.metadata.deletion_timestamp is None:
            yield _stop(nfs, server, seen, surplus[0], reason)
            continue
        yield from _ended(name, server, seen, reason, subject)


def _stop(nfs: CephNFS, server: str, seen: NfsObservation, first: str, reason: str) -> Step:
    name, found = nfs.metadata.name, seen.deployments[server]
    clients, grace = _clients(name, server, seen), seen.shared.grace
    consent = waits_for = ""
    if clients and not disconnects(nfs.metadata.annotations):
        reason = f"{reason}, and clients have state at it: {some(clients, MAX_NAMED)}"
        consent = f'annotation {DISCONNECT}: "true", by which they lose it; or that they unmount'
    if server != first:
        waits_for = f"{_subject(name, first)} to be gone"
    elif grace is not None and grace.in_effect and found.rolled_out:
        waits_for = "the grace period to end"
    action = StopServer(server, found.metadata.name, found.metadata.uid)
    return Step(subject=_subject(name, server), action=action, reason=reason, consent=consent, waits_for=waits_for)


def _ended(name: str, server: str, seen: NfsObservation, reason: str, lane: str) -> Iterator[Step]:
    """What is left of a server whose Deployment is gone. The key goes last: by it, what is half done is found."""
    subject, daemon, pods = _subject(name, server), daemon_of(name, server), seen.pods.get(server, ())
    for resource in (SERVICE, CONFIG_MAP):
        live = seen.live.get((resource.kind, daemon.name))
        if live is not None and NFS.is_left(live, name):
            yield delete(resource, live, subject=subject, reason=reason, lane=lane)
    if pods:
        waits_for = f"pod {pods[0].metadata.name} to be gone"
        yield Step(subject=subject, reason=reason, waits_for=waits_for, lane=lane)
    if _entry(name, server, seen) is not None:
        action = LeaveGrace(server, member_id(name, server))
        yield Step(subject=subject, action=action, reason=reason, lane=lane)
    secret = seen.live.get((SECRET.kind, keyring_name(name, server)))
    if secret is not None and NFS.is_left(secret, name):
        yield Step(subject=subject, action=RemoveUser(entity(name, server)), reason=reason, lane=lane)
        yield delete(SECRET, secret, subject=subject, reason=reason, lane=lane)
