"""What a CephClient asks for against what the cluster has: the plan between the two. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.client.act import EnsureUser, RemoveUser, RotateKey, WriteSecret
from controller.ceph.client.spec import entity, is_reserved, problems, secret_name, wanted_generation
from controller.framework.children import Delete
from controller.framework.kind import LetGo
from controller.framework.owned_secrets import OURS, SecretState
from controller.framework.plan import Plan, Step
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephClient
    from controller.ceph.client.observe import ClientObservation

AT_REST, WHILE_WAITING = 60.0, 10.0
"""Seconds after which to look again at a user that is as it should be, and at one that waits for something."""


def analyze(client: CephClient, seen: ClientObservation) -> Plan:
    """The plan for a user."""
    deleting = client.metadata.deletion_timestamp is not None
    steps = tuple(_deletion(client, seen) if deleting else _steps(client, seen))
    return Plan(steps=steps, look_again=WHILE_WAITING if steps else AT_REST)


def is_due(client: CephClient) -> bool:
    """Whether the user's key is of an older generation than it should be. Nothing is known of one that is not noted."""
    noted = client.status.cephx.key_generation
    return 0 < noted < wanted_generation(client.spec)


def kept(client: CephClient, seen: ClientObservation) -> tuple[str, ...]:
    """What the user has otherwise than the spec asks, and gets only with another key, in words."""
    wanted = client.spec.security.cephx.key_type
    if not wanted or not seen.key_type or seen.key_type == wanted or is_due(client):
        return ()
    how = "set keyRotationPolicy: KeyGeneration and raise keyGeneration to have another key"
    return (f"security.cephx.keyType: the key is of type {seen.key_type}, not {wanted}: {how}",)


def _steps(client: CephClient, seen: ClientObservation) -> Iterator[Step]:
    name, spec = entity(client), client.spec
    subject, key_type = f"user {name}", spec.security.cephx.key_type
    invalid = problems(client)
    if invalid:
        yield Step(subject=subject, reason="the spec cannot be carried out", waits_for="; ".join(invalid))
        return
    if seen.waits_for:
        yield Step(subject=subject, reason="to be compared with the cluster", waits_for=seen.waits_for)
        return
    secret = secret_name(client)
    if seen.secret is SecretState.ANOTHERS and not spec.remove_secret:
        yield Step(
            subject=f"Secret {secret}",
            reason="it is there, and is not this CephClient's",
            waits_for="it to be deleted, or for a CephClient with another secretName",
        )
        return
    if seen.caps is None:
        yield Step(subject=subject, action=EnsureUser(name, spec.caps, key_type), reason="it does not exist")
    elif dict(seen.caps) != spec.caps:
        reason = "its capabilities are not those of the spec"
        yield Step(subject=subject, action=EnsureUser(name, spec.caps, key_type), reason=reason)
    rotates = seen.caps is not None and is_due(client)
    if rotates:
        noted, wanted = client.status.cephx.key_generation, wanted_generation(spec)
        reason = f"its key is of generation {noted}, wanted {wanted}"
        yield Step(subject=subject, action=RotateKey(name, key_type), reason=reason)
    if not spec.remove_secret and (rotates or seen.secret is not SecretState.CURRENT):
        reason = f"Secret {secret} does not have its key"
        yield Step(subject=subject, action=WriteSecret(name), reason=reason)
    if spec.remove_secret and seen.secret in OURS:
        yield _without(client, seen, reason="removeSecret is set")


def _deletion(client: CephClient, seen: ClientObservation) -> Iterator[Step]:
    name, reason = entity(client), "the CephClient is being deleted"
    subject = f"user {name}"
    release = Step(subject=subject, action=LetGo(), reason=reason)
    if seen.cluster_gone or is_reserved(client.metadata.name):
        # Without a cluster there is no user; and those of Ceph and the operator are not ours to remove.
        yield release
    elif seen.waits_for:
        yield Step(subject=subject, reason=reason, waits_for=seen.waits_for)
    else:
        if seen.secret in OURS:
            yield _without(client, seen, reason=reason)
        if seen.caps is not None:
            yield Step(subject=subject, action=RemoveUser(name), reason=reason)
        yield release


def _without(client: CephClient, seen: ClientObservation, *, reason: str) -> Step:
    action = Delete(SECRET, client.metadata.namespace, secret_name(client), seen.secret_uid)
    return Step(subject=f"user {entity(client)}", action=action, reason=reason)
