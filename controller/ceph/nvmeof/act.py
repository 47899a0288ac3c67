"""What can be done to gateways, and how: who would lose what they show is asked anew at the act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph import CEPH_NVMEOF_GATEWAY, CephNVMeOFGateway
from controller.ceph.access import nvmeof
from controller.ceph.nvmeof.objects import daemon_of
from controller.ceph.nvmeof.spec import disconnects, gateway_id, gateway_letters, letter_of
from controller.framework.consent import NoConsentError, is_forced, read_same
from controller.framework.text import some
from controller.runtime import resource_of
from controller.runtime.kube import DEPLOYMENT, POD

if TYPE_CHECKING:
    from controller.ceph.access.nvmeof import Group
    from controller.ceph.access.rados import RadosCluster
    from controller.framework.plan import Handler
    from informers import Client, JsonObject

RESOURCE = resource_of(CEPH_NVMEOF_GATEWAY)
MAX_NAMED = 5
"""Subsystems that are named, and images and hosts of each."""


class RunningGatewayError(Exception):
    """A gateway that was to be taken out of the mons' map has a pod still."""


@dataclass(frozen=True, slots=True)
class JoinGroup:
    """Take a gateway into the mons' map of its group."""

    gateway: str


@dataclass(frozen=True, slots=True)
class LeaveGroup:
    """Take a gateway that is gone out of the mons' map."""

    letter: str


@dataclass(frozen=True, slots=True)
class StopGateway:
    """Delete a gateway's Deployment. The handler asks once more whether it is wanted, and what hosts would lose."""

    letter: str
    deployment: str
    uid: str


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """Delete the cephx user of a gateway that is gone."""

    entity: str


def handlers(gateway: CephNVMeOFGateway, group: str, client: Client, ceph: RadosCluster) -> dict[type, Handler]:
    """How the actions of a CephNVMeOFGateway's plan are carried out.

    Args:
        gateway: The CephNVMeOFGateway.
        group: The group that its gateways are of.
        client: Asks the API server for consent and for pods, and deletes Deployments.
        ceph: The cluster.
    """
    name, namespace = gateway.metadata.name, gateway.metadata.namespace

    async def join(action: JoinGroup) -> None:
        await nvmeof.create(ceph, action.gateway, group)

    async def stop(action: StopGateway) -> None:
        fresh = await read_same(client, RESOURCE, gateway)
        pools = await ceph.mon("osd pool ls")
        _may_stop(fresh, action.letter, await nvmeof.read(ceph, group, pool=nvmeof.POOL in pools))
        await client.delete(DEPLOYMENT, namespace, action.deployment, uid=action.uid)

    async def leave(action: LeaveGroup) -> None:
        daemon = daemon_of(name, action.letter)
        selector = ",".join(f"{label}={value}" for label, value in daemon.selector(namespace).items())
        pods = await client.list(POD, namespace, label_selector=selector)
        if pods:
            pod = pods[0]["metadata"]["name"]
            raise RunningGatewayError(f"pod {pod} is there: gateway {daemon.name} stays in the mons' map")
        await nvmeof.delete(ceph, daemon.name, group)

    async def remove_user(action: RemoveUser) -> None:
        await ceph.mon("auth rm", entity=action.entity)

    return {JoinGroup: join, StopGateway: stop, LeaveGroup: leave, RemoveUser: remove_user}


def own_ids(name: str, group: Group) -> frozenset[str]:
    """The ids of the gateways in the mons' map that are of the CephNVMeOFGateway of this name."""
    return frozenset(found for found in group.gateways if letter_of(name, found))


def _may_stop(fresh: JsonObject, letter: str, group: Group) -> None:
    """Whether a gateway may go at this moment.

    Raises:
        NoConsentError: It is wanted, or hosts would lose what it shows.
    """
    gateway = msgspec.convert(fresh, CephNVMeOFGateway)
    name = gateway.metadata.name
    what = f"CephNVMeOFGateway {gateway.metadata.namespace}/{name}"
    if gateway.metadata.deletion_timestamp is None:
        consent = disconnects(gateway.metadata.annotations)
        lost = group.lost_without({gateway_id(name, letter)})
        if letter in gateway_letters(gateway):
            raise NoConsentError(f"{what}: gateway {letter} is wanted by now: it stays")
    else:
        consent = is_forced(gateway.metadata.annotations)
        lost = group.lost_without(own_ids(name, group))
    if lost and not consent:
        raise NoConsentError(f"{what}: hosts would lose {some(tuple(lost), MAX_NAMED)} by now: gateway {letter} stays")
