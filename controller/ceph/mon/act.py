"""How the steps for mons are carried out: who is a member is asked of the API server, and the majority of the mons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.identity import PROTECTION
from controller.ceph.access.mons import ENDPOINTS, Endpoints, MonState, parse_endpoints
from controller.ceph.mon.analyze import DropClaim, RemoveFromMonmap, RetireMon, StartMon
from controller.framework.deletion import delete_protected
from controller.runtime.kube import CONFIG_MAP, PVC

if TYPE_CHECKING:
    from controller.ceph.access.rados import Cluster
    from controller.framework.plan import Handler
    from controller.runtime.apply import Applier
    from informers import Client, JsonObject


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

    return {DropClaim: drop_claim, StartMon: start_mon, RetireMon: retire_mon}


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
