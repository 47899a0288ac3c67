"""Users within Ceph: made with their capabilities, which follow what the operator gives them later."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.ceph.access.identity import keyring, keyring_secret
from controller.ceph.access.rados import CephError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster
    from controller.framework.children import Live
    from controller.framework.plan import Handler
    from controller.framework.workload import Owner
    from controller.runtime.apply import Applier

CAPS_ANNOTATION = "rook.io/caps"
"""On the Secret with a user's key: a digest of the capabilities that the user was given."""


@dataclass(frozen=True, slots=True)
class CreateKeyring:
    """Get or create the cephx user `entity` with `caps`, and keep its key in Secret `secret`."""

    entity: str
    caps: Mapping[str, str]
    secret: str
    labels: Mapping[str, str] = field(repr=False)


def given(caps: Mapping[str, str]) -> dict[str, str]:
    """The annotation of the Secret with the key of a user that has these capabilities."""
    return {CAPS_ANNOTATION: hashlib.sha256(json.dumps(sorted(caps.items())).encode()).hexdigest()[:16]}


def shortfall(live: Live, secret: str, caps: Mapping[str, str]) -> str:
    """Why a user is to be made or given other capabilities, by the Secret with its key, in words; empty: it is not."""
    found = live.get(("Secret", secret))
    if found is None:
        return f"Secret {secret} does not exist"
    noted = found["metadata"].get("annotations") or {}
    return "" if given(caps).items() <= noted.items() else f"Secret {secret} is of other capabilities"


@dataclass(frozen=True, slots=True)
class User:
    """A user as the mons have it: what it may do by kind of daemon, and its key."""

    caps: Mapping[str, str]
    key: str = field(repr=False)


async def find(ceph: Cluster, entity: str) -> User | None:
    """The user `entity`, such as "client.a"; None: there is none.

    Raises:
        CephError: The mons do not answer, or refuse it.
    """
    try:
        answer = await ceph.mon("auth get", entity=entity)
    except CephError as error:
        if error.is_not_found:
            return None
        raise
    return User(answer[0].get("caps", {}), str(answer[0]["key"]))


async def key_of(ceph: Cluster, entity: str, caps: Mapping[str, str], *, key_type: str = "") -> str:
    """The key of the user `entity`, which is made if there is none, and has exactly `caps` after.

    Args:
        ceph: The cluster.
        entity: As "mgr.a".
        caps: Its capabilities by kind of daemon.
        key_type: Of a key that is made; empty: what the mons prefer, as those before Ceph 19.2.6 know no other.

    Raises:
        CephError: The mons refuse it.
    """
    pairs = [part for subsystem, cap in sorted(caps.items()) for part in (subsystem, cap)]
    of_type: dict[str, Any] = {"key_type": key_type} if key_type else {}
    try:
        answer = await ceph.mon("auth get-or-create", entity=entity, caps=pairs, **of_type)
    except CephError as error:
        if error.errno != errno.EINVAL:
            raise
        # It exists with other capabilities, or capabilities as these cannot be.
        try:
            await ceph.mon("auth caps", entity=entity, caps=pairs)
        except CephError as missing:
            raise (error if missing.is_not_found else missing) from None
        answer = await ceph.mon("auth get", entity=entity)
    return str(answer[0]["key"])


def handlers(owner: Owner, applier: Applier, ceph: Cluster) -> dict[type, Handler]:
    """How daemons get their keyrings, in a cluster that answers."""

    async def create_keyring(action: CreateKeyring) -> None:
        text = keyring(action.entity, await key_of(ceph, action.entity, action.caps))
        meta = owner.metadata(action.secret, action.labels, annotations=given(action.caps))
        await applier.apply(keyring_secret(meta, text))

    return {CreateKeyring: create_keyring}
