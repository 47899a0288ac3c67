"""What a CephObjectRealm asks for against what the cluster has: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.multisite.work import REALM, REMOVE_REALM, bring_about, removal, work_of
from controller.ceph.realm.act import CreateKeys
from controller.ceph.realm.spec import place_of, problems, wanted
from controller.ceph.rgw.names import realm_secret
from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectRealm
    from controller.ceph.pods import Context
    from controller.ceph.realm.observe import RealmObservation
    from controller.ceph.rgw.tool import Work

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a realm that is as it should be, and at one that waits for something."""


def analyze(realm: CephObjectRealm, seen: RealmObservation, image: str) -> Plan:
    """The plan for a realm. `image`: the operator's."""
    if realm.metadata.deletion_timestamp is None:
        steps = tuple(_steps(realm, seen, image))
    else:
        subject = f"realm {realm.metadata.name}"
        steps = tuple(removal(seen.ground, seen.users, lambda c: _going(realm, c), image, subject=subject))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def _steps(realm: CephObjectRealm, seen: RealmObservation, image: str) -> Iterator[Step]:
    name, ground = realm.metadata.name, seen.ground
    subject, secret = f"realm {name}", realm_secret(name)
    invalid = problems(realm)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    if seen.taken_by:
        reason = f"the realm that {seen.taken_by} makes for itself has the same name"
        yield Step(subject=subject, reason=reason, waits_for="the CephObjectRealm to get another name")
        return
    if ground.waits_for or ground.context is None:
        waits_for = ground.waits_for or "the cluster to answer"
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=waits_for)
        return
    if seen.keys.missing:
        waits_for = f"Secret {secret} to have {seen.keys.missing}"
        yield Step(subject=subject, reason="its zones speak to each other by the keys in it", waits_for=waits_for)
        return
    pulled = realm.spec.pull.endpoint
    if not seen.keys.present and pulled:
        waits_for = f"Secret {secret}, as it is in the cluster of {pulled}"
        yield Step(subject=subject, reason="the realm is pulled by the keys in it", waits_for=waits_for)
        return
    if not seen.keys.present:
        reason = "its zones are to speak to each other by keys that are in no Secret yet"
        yield Step(subject=subject, action=CreateKeys(secret), reason=reason)
    work = work_of(ground.context, REALM, place_of(realm), wanted(realm), credentials=secret if pulled else "")
    reason = f"it is to be pulled from {pulled}" if pulled else "it is to be as the spec has it"
    undone = "" if ground.exists else "it is gone from Ceph"
    yield from bring_about(ground, work, image, subject=subject, reason=reason, undone=undone)


def _going(realm: CephObjectRealm, context: Context) -> Work:
    return work_of(context, REMOVE_REALM, place_of(realm), {})
