"""What can be done to a user within Ceph and to the Secret with its key, and how."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLIENT
from controller.ceph.access import users
from controller.ceph.access.rados import CephError
from controller.ceph.client.objects import key_secret
from controller.ceph.client.spec import secret_name
from controller.framework import children
from controller.framework.consent import read_deleted
from controller.framework.owned_secrets import version_of_own
from controller.runtime import resource_of
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephClient
    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client

CLIENTS = resource_of(CEPH_CLIENT)


@dataclass(frozen=True, slots=True)
class EnsureUser:
    """Make a user where there is none, with a key of `key_type` (empty: what the mons prefer), and give it `caps`."""

    entity: str
    caps: Mapping[str, str] = field(repr=False)
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class RotateKey:
    """Give a user another key. The one before is of no use from then on.

    One that is carried out a second time, as its end was not noted, makes one key more.
    """

    entity: str
    key_type: str = ""


@dataclass(frozen=True, slots=True)
class WriteSecret:
    """Write the key that a user has into its Secret."""

    entity: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Remove a user, whose key is of no use from then on."""

    entity: str


def handlers(obj: CephClient, client: Client, applier: Applier, ceph: Cluster) -> dict[type, Handler]:
    """How the actions of a CephClient's plan are carried out.

    Args:
        obj: The CephClient.
        client: Asks the API server whether it is still to go, and whose the Secret is.
        applier: Writes the Secret.
        ceph: The cluster.
    """

    async def ensure(action: EnsureUser) -> None:
        await users.key_of(ceph, action.entity, action.caps, key_type=action.key_type)

    async def rotate(action: RotateKey) -> None:
        of_type = {"key_type": action.key_type} if action.key_type else {}
        try:
            await ceph.mon("auth rotate", entity=action.entity, **of_type)
        except CephError as error:
            if error.errno != errno.EINVAL:
                raise
            message = f"this release of Ceph does not rotate keys, or makes none of this type: {error.message}"
            raise CephError(error.errno, message) from error

    async def write(action: WriteSecret) -> None:
        user = await users.find(ceph, action.entity)
        if user is None:
            raise ValueError(f"{action.entity} is not there any more: it is made again at the next look")
        found = await client.find(SECRET, obj.metadata.namespace, secret_name(obj))
        version = version_of_own(found, obj, CLIENTS.kind)
        await applier.apply(key_secret(obj, user.key), version=version)

    async def remove(action: RemoveUser) -> None:
        await read_deleted(client, CLIENTS, obj)
        await ceph.mon("auth rm", entity=action.entity)

    own: dict[type, Handler] = {EnsureUser: ensure, RotateKey: rotate, WriteSecret: write, RemoveUser: remove}
    return own | {children.Delete: children.handlers(applier, client, ())[children.Delete]}
