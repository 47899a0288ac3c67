"""`status` of a CephNVMeOFGateway: what all kinds show, and gateways as the mons have them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.nvmeof import NvmeofGatewayState
from controller.ceph.nvmeof.act import own_ids
from controller.ceph.nvmeof.spec import problems, unserved
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, is_settled, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephNVMeOFGateway, CephNVMeOFGatewayStatus
    from controller.ceph.nvmeof.observe import GatewayObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(
    well="The gateways are as the spec has them (this operator was tested against mons, and never with a gateway)",
    leaving="The CephNVMeOFGateway is being deleted",
)


def show(look: Look[CephNVMeOFGateway], seen: GatewayObservation, outcome: Outcome) -> CephNVMeOFGatewayStatus:
    """See `controller.framework.kind.ControlLoop`."""
    gateway, present = look.obj, look.obj.status
    if is_settled(present, look, outcome):
        return present
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(gateway, seen.base)))
    other = unserved(look.spec, gateway.spec, seen.base)
    told = honoured.differing(_kept(gateway, seen), other, gateway.metadata.generation)
    found = (*conditions(stage, WORDS, blocked=_blocked(outcome)), told)
    shown = msgspec.structs.replace(present, **fields(present, look, outcome, stage, found))
    if seen.waits_for:
        return shown
    group = seen.group
    return msgspec.structs.replace(
        shown,
        gateways=tuple(_state(name, seen) for name in sorted(own_ids(gateway.metadata.name, group))),
        subsystems=len(group.subsystems),
        namespaces=sum(len(found.images) for found in group.subsystems.values()),
    )


def _kept(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> tuple[str, ...]:
    wanted, kept = gateway.spec.group, seen.group_name
    if kept in ("", wanted):
        return ()
    return (f"group is {wanted}, and the gateways stay in {kept}: make another CephNVMeOFGateway for {wanted}",)


def _state(name: str, seen: GatewayObservation) -> NvmeofGatewayState:
    found = seen.group.gateways[name]
    return NvmeofGatewayState(
        id=name, availability=found.availability, ana_group=found.ana_group, listeners=found.listeners
    )


def _blocked(outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    held = next((r.step for r in outcome.results if r.state is StepState.NEEDS_CONSENT), None)
    return f"{held.subject}: {held.reason}; or set {held.consent}" if held is not None else ""
