"""A cluster's identity: made up once, never replaced, and given to its daemons as keyrings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.identity import (
    ADMIN_KEYRING,
    AES,
    AES256K,
    IDENTITY,
    MONS_KEYRING,
    PROTECTION,
    generate_identity,
    identity_secret,
    keyring,
    keyring_secret,
    mons_keyring,
)
from controller.ceph.pods import cluster_labels, owner_of
from controller.framework.children import ensure
from controller.framework.plan import Step
from controller.runtime.kube import SECRET
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.part import Observation
    from controller.framework.plan import Handler
    from informers import Client


@dataclass(frozen=True, slots=True)
class CreateIdentity:
    """Make up an fsid and keys, and keep them in the Secret with this metadata. Never replaces one that exists.

    `mon_key_type`: the type of the key that only mons use.
    """

    meta: dict[str, Any] = field(repr=False)
    mon_key_type: str


def analyze(seen: Observation) -> Iterator[Step]:
    """What is to do for a cluster's identity. Pure."""
    ground, cluster = seen.ground, seen.ground.cluster
    if seen.identity_problem:
        yield Step(subject="cluster", reason="its identity cannot be read", waits_for=seen.identity_problem)
        return
    owner = owner_of(cluster)
    labels = cluster_labels(owner, "rook-ceph-mon")
    if ground.identity is None:
        if ground.endpoints is not None or ground.remnants:
            waits_for = f"Secret {IDENTITY} to be restored from a backup: mons exist, and no other key opens their data"
            yield Step(subject="cluster", reason=f"Secret {IDENTITY} is missing", waits_for=waits_for)
            return
        meta = owner.metadata(IDENTITY, labels, owned=False, finalizers=[PROTECTION])
        known = ground.release is not None
        newer = ground.release is not None and ground.release.version.knows_aes256k
        yield Step(
            subject="cluster",
            action=CreateIdentity(meta, AES256K if newer else AES),
            reason="the cluster has no fsid and no keys yet",
            waits_for="" if known else "the image's release to be known, which the type of its keys goes by",
        )
        return
    for name, text in (
        (MONS_KEYRING, mons_keyring(ground.identity)),
        (ADMIN_KEYRING, keyring(ground.identity.admin_user, ground.identity.admin_key)),
    ):
        secret = keyring_secret(owner.metadata(name, labels), text)
        yield from ensure(ground.live, secret, subject="cluster", lane=name)


def handlers(client: Client) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def create_identity(action: CreateIdentity) -> None:
        try:
            await client.create(SECRET, identity_secret(action.meta, generate_identity(action.mon_key_type)))
        except ApiError as error:
            # The caches may not have seen yet that an earlier try made it.
            if not error.is_already_exists:
                raise

    return {CreateIdentity: create_identity}
