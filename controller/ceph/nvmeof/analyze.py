"""What a CephNVMeOFGateway asks for against what there is: the plan that brings one to the other. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.nvmeof import IMAGE_OPTION, POOL
from controller.ceph.nvmeof import gateways
from controller.ceph.nvmeof.objects import Gateways
from controller.ceph.nvmeof.spec import APPLICATION, problems
from controller.framework.kind import LetGo
from controller.framework.plan import Step, polled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephNVMeOFGateway
    from controller.ceph.nvmeof.observe import GatewayObservation
    from controller.framework.plan import Plan


def analyze(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Plan:
    """The plan for gateways."""
    deleting = gateway.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(gateway, seen) if deleting else _steps(gateway, seen))
    return polled(steps)


def _steps(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Iterator[Step]:
    subject = f"gateways {gateway.metadata.name}"
    invalid = problems(gateway, seen.base)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    if seen.waits_for or seen.context is None:
        waits_for = seen.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    if not seen.group.known:
        reason = f"the mons run Ceph {seen.context.release.version}, and know no NVMe-oF gateways"
        waits_for = "a cephVersion.image of the CephCluster with Ceph 20.2 or later"
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
        return
    missing = tuple(_missing(seen))
    for reason, waits_for in missing:
        yield Step(subject=subject, reason=reason, waits_for=waits_for)
    if not missing:
        made = Gateways(gateway, seen.context, group=seen.group_name, image=seen.image, base=seen.base)
        yield from gateways.analyze(gateway, seen, made)


def _missing(seen: GatewayObservation) -> Iterator[tuple[str, str]]:
    """What gateways cannot be made without, and what that waits for."""
    pool = seen.pool
    if pool is None:
        waits_for = f"CephBlockPool {seen.pool_of}" if seen.pool_of else f"a CephBlockPool with spec.name {POOL}"
        yield f"there is no pool {POOL}, in which they keep what they show", waits_for
    elif pool.erasure:
        yield f"pool {POOL} is erasure-coded, and holds no keys of objects", "a replicated pool of this name"
    elif APPLICATION not in pool.applications:
        told = ", ".join(sorted(pool.applications)) or "nothing"
        yield f"pool {POOL} is for {told}", f"it to be for {APPLICATION}: ceph osd pool application enable"
    if seen.config_missing:
        yield "their configuration is not there", seen.config_missing
    if not seen.image:
        reason = f"no image of gateways is known: Ceph's own configuration has no {IMAGE_OPTION}"
        yield reason, "spec.image, an image of ceph-nvmeof"


def _deletion(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Iterator[Step]:
    subject, reason = f"gateways {gateway.metadata.name}", "the CephNVMeOFGateway is being deleted"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.cluster_gone:
        yield release
        return
    if seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
        return
    yield from gateways.removal(gateway, seen, subject, reason)
    yield release
