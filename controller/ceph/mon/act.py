"""What is done for mons, and how: who is a member is asked of the API server, and the majority of the mons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.ceph.access.identity import PROTECTION
from controller.ceph.access.mons import ENDPOINTS, Endpoints, MonState, parse_endpoints
from controller.framework import claims
from controller.framework.deletion import delete_protected
from controller.runtime.kube import CONFIG_MAP, PVC

if TYPE_CHECKING:
    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client, JsonObject


@dataclass(frozen=True, slots=True)
class StartMon:
    """Enter a new mon as a member and start it: `objects` in this order. Without objects: not yet possible."""

    mon_id: str
    node: str
    objects: tuple[JsonObject, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class DropClaim:
    """Delete the claim of a mon that is no member any more, which is protected from all others."""

    mon_id: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RetireMon:
    """Take a mon out of the members: `objects` in this order. It leaves the monmap and is deleted after that."""

    mon_id: str
    objects: tuple[JsonObject, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RemoveFromMonmap:
    """Take a mon that is no member any more out of the monmap."""

    mon_id: str


class MemberError(Exception):
    """A mon that was to leave the monmap is a member, or is needed for the quorum; or the members have changed."""


def handlers(namespace: str, seen: Endpoints | None, client: Client, applier: Applier) -> dict[type, Handler]:
    """How the actions are carried out that change who is a member.

    Args:
        namespace: The cluster's.
        seen: The members that the plan was made for.
        client: Asks the API server.
        applier: Writes.
    """

    async def apply_all(objects: tuple[JsonObject, ...]) -> None:
        # The list is written as a whole: one that was changed meanwhile, which the cache does not show, would be lost.
        if await _members(client, namespace) != seen:
            raise MemberError(f"the members in ConfigMap {ENDPOINTS} have changed meanwhile")
        for obj in objects:
            await applier.apply(obj)

    async def start_mon(action: StartMon) -> None:
        await apply_all(action.objects)

    async def retire_mon(action: RetireMon) -> None:
        await apply_all(action.objects)

    async def drop_claim(action: DropClaim) -> None:
        # Asked of the API server, not of a cache: the claim has a mon's data, and by now the mon may be a member.
        members = await _members(client, namespace)
        if members is None or action.mon_id in members.ids:
            why = "does not exist" if members is None else f"has mon {action.mon_id} as a member"
            raise MemberError(f"{PVC.kind} {action.name} stays: ConfigMap {ENDPOINTS} {why}")
        await delete_protected(client, PVC, namespace, action.name, action.uid, finalizer=PROTECTION)

    return {DropClaim: drop_claim, StartMon: start_mon, RetireMon: retire_mon, **claims.handlers(client)}


def monmap_handlers(namespace: str, client: Client, ceph: Cluster) -> dict[type, Handler]:
    """How the actions are carried out that the mons themselves are told."""

    async def remove_from_monmap(action: RemoveFromMonmap) -> None:
        # Asked of the API server, not of a cache: an operator before this one may have made it a member a moment ago.
        members = await _members(client, namespace)
        if members is None or action.mon_id in members.ids:
            why = "does not exist" if members is None else "has it as a member"
            raise MemberError(f"mon {action.mon_id} stays in the monmap: ConfigMap {ENDPOINTS} {why}")
        # The mons remove one without asking whether they keep their majority.
        if not MonState.parse(await ceph.mon("quorum_status")).keeps_quorum_without(action.mon_id):
            raise MemberError(f"mon {action.mon_id} stays in the monmap: without it there would be no quorum by now")
        await ceph.mon("mon rm", name=action.mon_id)

    return {RemoveFromMonmap: remove_from_monmap}


async def _members(client: Client, namespace: str) -> Endpoints | None:
    """The members as the API server has them; None: they are not listed."""
    fresh = await client.find(CONFIG_MAP, namespace, ENDPOINTS)
    return None if fresh is None else parse_endpoints(fresh.get("data") or {})
