"""What a CephFilesystem asks for against what there is: the plan that brings one to the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.filesystems import DEFAULT_GROUP
from controller.ceph.filesystem import mds
from controller.ceph.filesystem.act import (
    MAX_NAMED,
    AddDataPool,
    CreateFilesystem,
    CreateGroup,
    RemoveFilesystem,
    RemoveUser,
)
from controller.ceph.filesystem.mirroring import analyze as mirroring
from controller.ceph.filesystem.mirroring.wanted import of
from controller.ceph.filesystem.objects import daemon_of
from controller.ceph.filesystem.spec import (
    APPLICATION,
    mds_ids,
    pools_of,
    problems,
    unserved_placement,
)
from controller.ceph.pools import analyze as pools
from controller.ceph.pools.spec import is_erasure_coded
from controller.framework.children import delete
from controller.framework.consent import FORCE_ANNOTATION, is_forced, is_stale
from controller.framework.kind import LetGo
from controller.framework.plan import AT_REST, Step, polled
from controller.framework.text import some
from controller.runtime.kube import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephFilesystem
    from controller.ceph.access.filesystems import FilesystemState
    from controller.ceph.filesystem.observe import FilesystemObservation
    from controller.ceph.filesystem.spec import FilesystemPool
    from controller.ceph.pools.act import DeletePool
    from controller.ceph.pools.observe import PoolObservation
    from controller.framework.plan import Plan


def analyze(filesystem: CephFilesystem, seen: FilesystemObservation) -> Plan:
    """The plan for a file system."""
    deleting = filesystem.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(filesystem, seen) if deleting else _steps(filesystem, seen))
    wanted = of(filesystem)
    return polled(steps, at_rest=min(AT_REST, wanted.interval) if wanted.enabled and wanted.watched else AT_REST)


def kept(filesystem: CephFilesystem, seen: FilesystemObservation) -> tuple[str, ...]:
    """What the file system has otherwise than the spec asks, and cannot or must not be changed, in words."""
    return tuple(_kept(filesystem, seen))


def _kept(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[str]:
    wanted, state = pools_of(filesystem), seen.state
    for pool in wanted:
        found = seen.pools.get(pool.name)
        if found is not None:
            yield from (f"{pool.path}: {difference}" for difference in pools.kept(pool.spec, found))
    if state is None:
        return
    numbers = {pool.name: seen.pools[pool.name].state for pool in wanted if pool.name in seen.pools}
    ids = {name: found.pool_id for name, found in numbers.items() if found is not None}
    if ids.get(wanted[0].name) != state.metadata_pool:
        yield f"metadataPool: the file system's is not {wanted[0].name}, and cannot be changed"
    data = [pool.name for pool in wanted[1:]]
    if data and state.data_pools and ids.get(data[0]) != state.data_pools[0]:
        yield f"dataPools[0]: the file system's first pool of data is not {data[0]}, and cannot be changed"
    more = sorted(set(state.data_pools) - set(ids.values()))
    if more:
        yield (
            f"dataPools: the file system has further ones, number {some([str(n) for n in more], MAX_NAMED)} in Ceph, "
            "that are left alone: files may have their data there"
        )


def _steps(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    subject = f"file system {filesystem.metadata.name}"
    invalid = problems(filesystem)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    for path in unserved_placement(filesystem):
        reason = "this operator does not serve it, and without it the file system is not what the spec asks for"
        yield Step(subject=f"spec.{path}", reason=reason, waits_for="it to be taken out of the spec")
    if seen.state is None and unserved_placement(filesystem):
        return
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    for pool in pools_of(filesystem):
        yield from _pool(pool, seen)
    if seen.state is None:
        yield from _creation(filesystem, seen)
    else:
        yield from _data_pools(filesystem, seen, seen.state)
    yield from mds.analyze(filesystem, seen.context, seen)
    if seen.state is not None and seen.state.active:
        yield from _group(filesystem, seen)
        meta, wanted = filesystem.metadata, of(filesystem)
        yield from mirroring.steps(meta, wanted, seen.state, seen.mirroring, key_type=seen.key_type)


def _pool(pool: FilesystemPool, seen: FilesystemObservation) -> Iterator[Step]:
    found = seen.pools[pool.name]
    strangers = _strangers(found, seen)
    if strangers:
        waits_for = f"spec.{pool.path} to get a name that no other pool has"
        yield Step(subject=f"pool {pool.name}", reason=f"there is one for {strangers}", waits_for=waits_for)
    else:
        yield from pools.steps(pool.name, pool.spec, found, APPLICATION)


def _strangers(found: PoolObservation, seen: FilesystemObservation) -> str:
    """What a pool that is not the file system's is for; empty: it may become the file system's, or is it."""
    state = found.state
    if state is None or not state.applications or APPLICATION in state.applications:
        return ""
    ours = seen.state is not None and state.pool_id in (seen.state.metadata_pool, *seen.state.data_pools)
    return "" if ours else " and ".join(sorted(state.applications))


def _creation(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    name, wanted = filesystem.metadata.name, pools_of(filesystem)
    subject, reason = f"file system {name}", "it does not exist"
    for pool in wanted:
        found = seen.pools[pool.name]
        if found.contents:
            has = f"pool {pool.name} to be empty: it has {', '.join(found.contents)}"
            cure = "a file system that is made of it anew would lose them"
            yield Step(subject=subject, reason=reason, waits_for=f"{has}, and {cure}")
            return
        if found.state is None or _strangers(found, seen):
            yield Step(subject=subject, reason=reason, waits_for=f"pool {pool.name}")
            return
    metadata, data = wanted[:2]
    action = CreateFilesystem(name, metadata.name, data.name, coded=is_erasure_coded(data.spec))
    coded = ", and its first pool of data is erasure-coded, which Ceph advises against" if action.coded else ""
    yield Step(subject=subject, action=action, reason=reason + coded, waits_for=seen.hold)


def _data_pools(filesystem: CephFilesystem, seen: FilesystemObservation, state: FilesystemState) -> Iterator[Step]:
    name = filesystem.metadata.name
    for pool in pools_of(filesystem)[1:]:
        found = seen.pools[pool.name].state
        if found is not None and found.pool_id not in state.data_pools and not _strangers(seen.pools[pool.name], seen):
            reason = f"pool {pool.name} is not among its pools of data"
            action = AddDataPool(name, pool.name)
            yield Step(subject=f"file system {name}", action=action, reason=reason, lane=f"pool {pool.name}")


def _group(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    name = filesystem.metadata.name
    subject, reason = f"subvolume group {DEFAULT_GROUP}", "volumes are in it"
    if seen.groups is None:
        waits_for = "mgr module volumes to list the groups"
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
    elif DEFAULT_GROUP not in seen.groups:
        yield Step(subject=subject, action=CreateGroup(name, DEFAULT_GROUP), reason=reason)


def _deletion(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    name, spec = filesystem.metadata.name, filesystem.spec
    subject, reason = f"file system {name}", "the CephFilesystem is being deleted"
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
    if not spec.preserve_filesystem_on_delete:
        yield from _removal(filesystem, seen)
    # What serves goes after what it serves, and the keys go last: by those, an operator that died finds the rest.
    for mds_id, found in sorted(seen.deployments.items()):
        live = seen.live.get((DEPLOYMENT.kind, found.metadata.name))
        if live is not None and live["metadata"].get("deletionTimestamp") is None:
            yield delete(DEPLOYMENT, live, subject=f"mds {mds_id}", reason=reason, lane=subject)
    for mds_id in sorted({*mds_ids(filesystem), *seen.deployments}):
        entity = daemon_of(mds_id).entity
        yield Step(subject=f"mds {mds_id}", action=RemoveUser(entity), reason=reason, lane=subject)
    yield release


def _removal(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[Step]:
    """The step that removes the file system and its pools, where there is one of these."""
    name = filesystem.metadata.name
    going = () if filesystem.spec.preserve_pools_on_delete else tuple(_going(filesystem, seen))
    if seen.state is None and not going:
        return
    contents = seen.contents
    if seen.state is None:
        # Its pools are all that is left: who knows whose objects those are.
        left = (seen.pools[pool.pool].contents for pool in going)
        contents = tuple(f"{found} in its pools" for each in left for found in each)
    old = is_stale(filesystem.metadata, seen.now)
    forced = is_forced(filesystem.metadata.annotations)
    needs = bool(contents) or old
    reason = f"it has {some(contents, MAX_NAMED)}" if contents else "the CephFilesystem is being deleted"
    if old and not contents:
        reason = "it was asked for more than a day ago, and something was in the way until now"
    consent = f'annotation {FORCE_ANNOTATION}: "true", which destroys all that is in it' if needs and not forced else ""
    action = RemoveFilesystem(name, seen.state is not None, going, forced=needs)
    subject = f"file system {name}"
    if seen.state is not None:
        yield from mirroring.leaving(name, seen.state, seen.mirroring, lane=subject, consent=consent)
    yield Step(subject=subject, action=action, reason=reason, consent=consent, deadline=120.0)


def _going(filesystem: CephFilesystem, seen: FilesystemObservation) -> Iterator[DeletePool]:
    """The pools that are the file system's by the mons' word; where it is gone, those that can be nobody else's."""
    for pool in pools_of(filesystem):
        found = seen.pools.get(pool.name)
        if found is None or found.state is None:
            continue
        if seen.state is not None:
            ours = found.state.pool_id in (seen.state.metadata_pool, *seen.state.data_pools)
        else:
            ours = found.state.applications <= {APPLICATION}
        if ours:
            yield pools.deletion(pool.name, found.state)
