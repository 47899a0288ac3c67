"""What a CephBlockPoolRadosNamespace asks for against what the cluster has: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.rados_namespaces import NAME, cluster_id, name_of
from controller.ceph.mirroring import analyze as mirroring
from controller.ceph.mirroring.wanted import of_namespace, place_of_namespace, problems_of_namespace
from controller.ceph.radosnamespace.act import CreateNamespace, RemoveNamespace
from controller.ceph.radosnamespace.spec import shown_name
from controller.framework.kind import LetGo
from controller.framework.plan import Plan, Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.ceph.radosnamespace.observe import NamespaceObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a namespace that is as it should be, and at one that waits for something."""
MAX_NAMED = 10
"""Volumes and images that are named."""


def analyze(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> Plan:
    """The plan for a namespace."""
    deleting = namespace.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(namespace, seen) if deleting else _steps(namespace, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def problems(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    name, pool = name_of(namespace), namespace.spec.block_pool_name
    found = []
    if not pool:
        found.append("blockPoolName is empty: expected the name of a CephBlockPool")
    if name and not NAME.fullmatch(name):
        found.append(f"name is {name!r}: expected a name without spaces, commas, slashes and @")
    if seen.taken_by:
        how = "clusterID" if namespace.spec.cluster_id else "the clusterID that belongs to this place"
        found.append(f"{how} is {cluster_id(namespace)}: expected another than that of {seen.taken_by}")
    return (*found, *problems_of_namespace(namespace))


def blocked(seen: NamespaceObservation) -> str:
    """What the deletion is held back by, in words; empty: by nothing."""
    if seen.volumes:
        return some([f"PersistentVolume {name}" for name in seen.volumes], MAX_NAMED)
    return some(seen.images, MAX_NAMED)


def _steps(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> Iterator[Step]:
    subject = f"RADOS namespace {shown_name(namespace)}"
    invalid = problems(namespace, seen)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
    elif seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
    elif not seen.present:
        action = CreateNamespace(namespace.spec.block_pool_name, name_of(namespace))
        yield Step(subject=subject, action=action, reason="it does not exist")
    elif seen.mirror_hold:
        yield Step(subject=f"mirroring of {subject}", reason="the spec asks for it", waits_for=seen.mirror_hold)
    elif name_of(namespace):
        yield from mirroring.steps(place_of_namespace(namespace), of_namespace(namespace), seen.mirror)


def _deletion(namespace: CephBlockPoolRadosNamespace, seen: NamespaceObservation) -> Iterator[Step]:
    subject = f"RADOS namespace {shown_name(namespace)}"
    reason = "the CephBlockPoolRadosNamespace is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.gone or problems(namespace, seen):
        # Without a cluster or pool there is nothing to remove; and what another one has is not this one's to remove.
        yield release
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
    elif held := blocked(seen):
        yield Step(subject=subject, reason=reason, waits_for=f"what uses it to be deleted: {held}")
    else:
        if seen.present and name_of(namespace):
            yield from mirroring.ending(place_of_namespace(namespace), seen.mirror, reason, lane=subject)
            action = RemoveNamespace(namespace.spec.block_pool_name, name_of(namespace))
            yield Step(subject=subject, action=action, reason=reason)
        yield release
