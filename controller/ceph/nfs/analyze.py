"""What a CephNFS asks for against what there is: the plan that brings one to the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.ganesha import POOL
from controller.ceph.access.modules import EnableModule
from controller.ceph.nfs import servers
from controller.ceph.nfs.act import MAX_NAMED, CreateConfiguration, CreatePool, EnableApplication
from controller.ceph.nfs.spec import APPLICATION, problems
from controller.framework.kind import LetGo
from controller.framework.plan import AT_REST, WHILE_WAITING, Step, polled
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephNFS
    from controller.ceph.nfs.observe import NfsObservation
    from controller.framework.plan import Plan


def analyze(nfs: CephNFS, seen: NfsObservation) -> Plan:
    """The plan for NFS servers."""
    deleting = nfs.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(nfs, seen) if deleting else _steps(nfs, seen))
    grace = seen.shared.grace
    return polled(steps, at_rest=AT_REST if grace is None or not grace.in_effect else WHILE_WAITING)


def _steps(nfs: CephNFS, seen: NfsObservation) -> Iterator[Step]:
    subject = f"NFS servers {nfs.metadata.name}"
    invalid = problems(nfs)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    if not seen.module:
        reason = "exports are kept by it"
        yield Step(subject=f"mgr module {APPLICATION}", action=EnableModule(APPLICATION), reason=reason)
    yield from _pool(seen)
    if seen.pool is None or seen.pool.erasure:
        return
    if not seen.shared.configured:
        reason = "servers do not start without the object that names their exports"
        yield Step(subject=subject, action=CreateConfiguration(), reason=reason)
        return
    yield from servers.analyze(nfs, seen.context, seen)


def _pool(seen: NfsObservation) -> Iterator[Step]:
    subject, pool = f"pool {POOL}", seen.pool
    if pool is None:
        waits_for = f"CephBlockPool {seen.pool_of}, which describes it" if seen.pool_of else seen.hold
        yield Step(subject=subject, action=CreatePool(), reason="it does not exist", waits_for=waits_for)
    elif pool.erasure:
        reason = "it is erasure-coded, and what servers share can only be in a replicated pool"
        yield Step(subject=subject, reason=reason, waits_for="a replicated pool of this name in its place")
    elif APPLICATION not in pool.applications and not seen.pool_of:
        reason = f"Ceph is to know that it is for {APPLICATION}"
        yield Step(subject=subject, action=EnableApplication(), reason=reason)


def _deletion(nfs: CephNFS, seen: NfsObservation) -> Iterator[Step]:
    subject, reason = f"NFS servers {nfs.metadata.name}", "the CephNFS is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.cluster_gone:
        yield release
        return
    if seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    if seen.users:
        yield Step(subject=subject, reason=reason, waits_for=f"{some(seen.users, MAX_NAMED)} to be deleted")
        return
    yield from servers.removal(nfs, seen, subject, reason)
    yield release
