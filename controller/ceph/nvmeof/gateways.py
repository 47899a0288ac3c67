"""Gateways: made, restarted in turn, and removed where they are too many. Pure.

A gateway is in the mons' map before it starts, and is taken out after it is gone. When one stops, another of its group
stands in for its ANA group, and gives it back later. So none is restarted or removed before every other one of the
group is available and has its own ANA group again: hosts always have a path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access import users
from controller.ceph.access.nvmeof import AVAILABLE, UNAVAILABLE, told
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.nvmeof.act import MAX_NAMED, JoinGroup, LeaveGroup, RemoveUser, StopGateway, own_ids
from controller.ceph.nvmeof.objects import CAPS, GATEWAYS, config_name, daemon_of, keyring_name, labels
from controller.ceph.nvmeof.spec import (
    DISCONNECT,
    disconnects,
    entity,
    gateway_id,
    gateway_letters,
    letter_of,
)
from controller.ceph.pods import is_kept, kept_by
from controller.framework import disruption
from controller.framework.children import Apply, delete, ensure, explain
from controller.framework.consent import FORCE_ANNOTATION, is_forced
from controller.framework.plan import Step
from controller.framework.rollout import Member, Policy, decide
from controller.framework.text import some
from controller.runtime.kube import CONFIG_MAP, SECRET, SERVICE

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from controller.apis.ceph import CephNVMeOFGateway
    from controller.ceph.access.nvmeof import Gateway, Subsystem
    from controller.ceph.nvmeof.objects import Gateways
    from controller.ceph.nvmeof.observe import GatewayObservation
    from controller.ceph.pods import Context
    from informers import JsonObject


def analyze(gateway: CephNVMeOFGateway, seen: GatewayObservation, made: Gateways) -> Iterator[Step]:
    """The steps for the gateways of a CephNVMeOFGateway.

    Args:
        gateway: The CephNVMeOFGateway.
        seen: What there is, in a cluster that answers.
        made: The objects that are wanted.
    """
    yield from _rollout(gateway, seen, made)
    yield from _surplus(gateway, seen)
    yield from disruption.keep(
        seen.live,
        made.budget(),
        owner=made.context.owner,
        app=GATEWAYS.app,
        subject="gateways",
        lane="disruption budget of gateways",
        why_gone="budgets are switched off",
    )


def removal(gateway: CephNVMeOFGateway, seen: GatewayObservation, lane: str, reason: str) -> Iterator[Step]:
    """The steps that remove all gateways, in one lane: what only they show goes from hosts by consent alone."""
    name, forced = gateway.metadata.name, is_forced(gateway.metadata.annotations)
    known = sorted({*gateway_letters(gateway), *_known(name, seen)})
    lost = seen.group.lost_without(own_ids(name, seen.group))
    consent = ""
    if lost and not forced:
        reason = _why(lost)
        consent = f'annotation {FORCE_ANNOTATION}: "true"; images and the settings of the group stay'
    for letter in known:
        found = seen.deployments.get(letter)
        if found is None or found.metadata.deletion_timestamp is not None:
            continue
        action = StopGateway(letter, found.metadata.name, found.metadata.uid)
        yield Step(subject=_subject(name, letter), action=action, reason=reason, consent=consent, lane=lane)
    for letter in known:
        yield from _ended(name, letter, seen, reason, lane)


def _why(lost: Mapping[str, Subsystem]) -> str:
    return f"hosts lose {some(told(lost, MAX_NAMED), MAX_NAMED)}"


def _known(name: str, seen: GatewayObservation) -> set[str]:
    """The letters of the gateways of which anything is left."""
    found = set(seen.deployments) | set(seen.pods) | GATEWAYS.secrets(seen.live, name)
    found |= {letter_of(name, each) for each, state in seen.group.gateways.items() if not state.leaving}
    return found - {""}


def _subject(name: str, letter: str) -> str:
    return f"gateway {name}-{letter}"


def _entry(name: str, letter: str, seen: GatewayObservation) -> Gateway | None:
    """A gateway in the mons' map, unless it is only there until others have its namespaces."""
    found = seen.group.gateways.get(gateway_id(name, letter))
    return found if found is not None and not found.leaving else None


def _awaited(found: Gateway) -> str:
    """What has to happen to a gateway before another one goes; empty: nothing, or it has nothing to show."""
    if found.availability == UNAVAILABLE:
        return "to be available to the mons"
    if found.availability == AVAILABLE and not found.active:
        return f"to have ANA group {found.ana_group} back"
    return ""


def _rollout(gateway: CephNVMeOFGateway, seen: GatewayObservation, made: Gateways) -> Iterator[Step]:
    """Gateways that are missing are made at once; those that differ are restarted one at a time."""
    name, order = gateway.metadata.name, gateway_letters(gateway)
    wanted = {letter: made.deployment(letter) for letter in order}
    why = {each: explain(obj, seen.live.get(("Deployment", obj["metadata"]["name"]))) for each, obj in wanted.items()}
    members = [_member(name, letter, bool(why[letter]), seen) for letter in order]
    waits = decide([*members, *_others(gateway, seen)], Policy())
    for letter in order:
        subject, found = _subject(name, letter), seen.deployments.get(letter)
        kept = is_kept(found)
        yield from _before(name, made.context, letter, seen)
        if not kept:
            # A pod that starts reads it, whenever that is.
            yield from ensure(seen.live, made.config_map(letter), subject=subject)
            yield from ensure(seen.live, made.service(letter), subject=subject)
        if kept and why[letter]:
            yield Step(subject=subject, reason=why[letter], waits_for=kept_by(daemon_of(name, letter)))
        elif why[letter]:
            waits_for = (seen.hold_upgrade if _is_late(name, letter, made.context, seen) else "") or waits.get(
                subject, ""
            )
            yield Step(subject=subject, action=Apply(wanted[letter]), reason=why[letter], waits_for=waits_for)
        elif found is not None and not found.rolled_out:
            waits_for = trouble(seen.pods.get(letter, ()), found) or "it to answer"
            yield Step(subject=subject, reason="it does not serve", waits_for=waits_for)


def _is_late(name: str, letter: str, context: Context, seen: GatewayObservation) -> bool:
    """Whether the container that prepares a gateway is of another release of Ceph than the cluster."""
    live: JsonObject = seen.live.get(("Deployment", gateway_id(name, letter)), {})
    prepared = live.get("spec", {}).get("template", {}).get("spec", {}).get("initContainers") or ()
    return any(container.get("image") != context.release.image for container in prepared)


def _before(name: str, context: Context, letter: str, seen: GatewayObservation) -> Iterator[Step]:
    """What a gateway needs before its pod starts, in its lane before that."""
    subject, secret = _subject(name, letter), keyring_name(name, letter)
    short = users.shortfall(seen.live, secret, CAPS)
    if short:
        yield Step(
            subject=subject,
            action=CreateKeyring(entity(name, letter), CAPS, secret, labels(context, letter)),
            reason=short,
        )
    if _entry(name, letter, seen) is None:
        reason = "it does not start unless it is in the mons' map"
        yield Step(subject=subject, action=JoinGroup(gateway_id(name, letter)), reason=reason)


def _member(name: str, letter: str, differs: bool, seen: GatewayObservation) -> Member:
    """A gateway as one that is restarted in turn."""
    found, entry = seen.deployments.get(letter), _entry(name, letter, seen)
    serves = found is not None and found.rolled_out
    awaited = "to be restarted"
    if serves:
        awaited = _awaited(entry) if entry is not None else "to be in the mons' map"
    return Member(
        name=_subject(name, letter),
        outdated=differs and found is not None and not is_kept(found),
        serves=serves,
        awaited=awaited,
    )


def _others(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Iterator[Member]:
    """Gateways of the group that are another's, or of nobody any more: all of the group stand in for each other."""
    for name, awaited in _moving(seen, own_ids(gateway.metadata.name, seen.group)):
        yield Member(name=f"gateway {name}", serves=False, awaited=awaited)


def _moving(seen: GatewayObservation, but: Container[str]) -> Iterator[tuple[str, str]]:
    """The gateways of the group that something has to happen to before another one goes, and what."""
    for name, found in sorted(seen.group.gateways.items()):
        if name not in but and not found.leaving and (awaited := _awaited(found)):
            yield name, awaited


def _surplus(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> Iterator[Step]:
    """Gateways too many, the last letter first, one after the other."""
    name, wanted = gateway.metadata.name, gateway_letters(gateway)
    surplus = sorted(_known(name, seen) - set(wanted), key=lambda letter: (len(letter), letter), reverse=True)
    reason = f"{len(wanted)} gateways are wanted"
    for letter in surplus:
        found, subject = seen.deployments.get(letter), _subject(name, letter)
        if found is not None and is_kept(found):
            yield Step(subject=subject, reason=reason, waits_for=kept_by(daemon_of(name, letter)))
            continue
        if found is not None and found.metadata.deletion_timestamp is None:
            yield _stop(gateway, letter, seen, surplus[0], reason)
            continue
        yield from _ended(name, letter, seen, reason, subject)


def _stop(gateway: CephNVMeOFGateway, letter: str, seen: GatewayObservation, first: str, reason: str) -> Step:
    name, found = gateway.metadata.name, seen.deployments[letter]
    consents = disconnects(gateway.metadata.annotations)
    lost = seen.group.lost_without({gateway_id(name, letter)})
    consent = waits_for = ""
    if lost and not consents:
        reason = f"{reason}, and {_why(lost)}"
        consent = f'annotation {DISCONNECT}: "true"; or a listener for each at another gateway'
    if letter != first:
        waits_for = f"{_subject(name, first)} to be gone"
    elif not consents:
        waits_for = _stands_in(gateway, letter, seen)
    action = StopGateway(letter, found.metadata.name, found.metadata.uid)
    return Step(subject=_subject(name, letter), action=action, reason=reason, consent=consent, waits_for=waits_for)


def _stands_in(gateway: CephNVMeOFGateway, letter: str, seen: GatewayObservation) -> str:
    """What a gateway that hosts are at waits for before it goes, so that another stands in for it; empty: nothing."""
    own = gateway_id(gateway.metadata.name, letter)
    found = seen.group.gateways.get(own)
    if found is None or found.availability != AVAILABLE:
        return ""
    return next((f"gateway {name} {awaited}" for name, awaited in _moving(seen, (own,))), "")


def _ended(name: str, letter: str, seen: GatewayObservation, reason: str, lane: str) -> Iterator[Step]:
    """What is left of a gateway whose Deployment is gone. By its key, which goes last, what is half done is found."""
    subject, daemon, pods = _subject(name, letter), daemon_of(name, letter), seen.pods.get(letter, ())
    service = seen.live.get((SERVICE.kind, daemon.name))
    if service is not None and GATEWAYS.is_left(service, name):
        yield delete(SERVICE, service, subject=subject, reason=reason, lane=lane)
    if pods:
        waits_for = f"pod {pods[0].metadata.name} to be gone"
        yield Step(subject=subject, reason=reason, waits_for=waits_for, lane=lane)
    if _entry(name, letter, seen) is not None:
        yield Step(subject=subject, action=LeaveGroup(letter), reason=reason, lane=lane)
    config_map = seen.live.get((CONFIG_MAP.kind, config_name(name, letter)))
    if config_map is not None and GATEWAYS.is_left(config_map, name):
        yield delete(CONFIG_MAP, config_map, subject=subject, reason=reason, lane=lane)
    secret = seen.live.get((SECRET.kind, keyring_name(name, letter)))
    if secret is not None and GATEWAYS.is_left(secret, name):
        yield Step(subject=subject, action=RemoveUser(entity(name, letter)), reason=reason, lane=lane)
        yield delete(SECRET, secret, subject=subject, reason=reason, lane=lane)
