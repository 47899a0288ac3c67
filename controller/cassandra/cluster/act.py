"""How the actions of a Cassandra cluster's plan are carried out. What destroys data asks for the consent once more."""

from __future__ import annotations

import secrets
import time
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio
import msgspec

from controller.apis.cassandra import CASSANDRA_CLUSTER, CassandraCluster
from controller.apis.cassandra.cluster import DELETE
from controller.cassandra.access import roles
from controller.cassandra.access.answers import (
    AccessError,
    Decommission,
    JobState,
    RefusedError,
    RemoveNode,
    UnansweredError,
)
from controller.cassandra.cluster.deletion import DeleteClaim
from controller.cassandra.cluster.objects import roster_config_map
from controller.cassandra.cluster.observe import OPERATIONS
from controller.cassandra.cluster.rotate import PASSWORD_BYTES, Rotating
from controller.cassandra.cluster.rotation import ROTATION
from controller.cassandra.cluster.turns import EndTurn
from controller.cassandra.cluster.users import CreateSuperuser, LockDefault, MakeLogin
from controller.cassandra.member.orders import orders
from controller.cassandra.member.roster import KEY, decoded
from controller.cassandra.member.steps import DeleteVolume, NewAddress, Replicate, Restart, Tell, WriteRoster
from controller.cassandra.member.turn import ANNOTATION, turn_of
from controller.cassandra.member.volumes import objection
from controller.cassandra.pods import labels, owner, roster_name, superuser_secret
from controller.framework import children, claims, issuing, turns
from controller.framework.consent import NoConsentError, read_deleted, read_same
from controller.runtime import resource_of
from controller.runtime.kube import CONFIG_MAP, POD, PVC, SECRET, SERVICE
from informers import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractAsyncContextManager

    from controller.cassandra.access.members import Door, Login, Members, Session
    from controller.cassandra.cluster.observe import Caches, Observation
    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.roster import Roster
    from controller.framework.monitoring import Monitors
    from controller.framework.plan import Handler
    from controller.runtime import Manager
    from informers import Resource

CLUSTERS = resource_of(CASSANDRA_CLUSTER)
ASK_SECONDS = 10.0
"""Seconds that members have to answer before a volume is deleted."""


def handlers(
    cluster: CassandraCluster,
    seen: Observation,
    manager: Manager,
    caches: Caches,
    members: Members,
    monitors: Monitors,
    *,
    clock: Callable[[], float] = time.time,
) -> Mapping[type, Handler]:
    """What carries out each action for a cluster, as it was found."""
    own = children.handlers(manager.applier, manager.client, caches.children)
    acts = _Acts(cluster, seen, manager, caches, members)
    return {
        **own,
        **claims.handlers(manager.client),
        **monitors.handlers(),
        **issuing.handlers(manager.client, manager.applier, clock),
        WriteRoster: acts.write_roster,
        Tell: acts.tell,
        Replicate: acts.replicate,
        DeleteVolume: acts.delete_volume,
        NewAddress: acts.new_address,
        DeleteClaim: acts.delete_claim,
        Restart: acts.restart,
        MakeLogin: acts.make_login,
        CreateSuperuser: acts.create_superuser,
        LockDefault: acts.lock_default,
        EndTurn: acts.end_turn,
        **acts.rotating(clock).handlers(),
    }


@dataclass(frozen=True, slots=True)
class _Acts:
    cluster: CassandraCluster
    seen: Observation
    manager: Manager
    caches: Caches
    members: Members

    async def write_roster(self, action: WriteRoster) -> None:
        volumes = {name: claim.metadata.uid for name, claim in self.seen.claims.items()}
        records = orders(action.roster, self.seen.addresses, volumes)
        wanted = roster_config_map(self.cluster, action.roster, records)
        version = await self._no_operation()
        await self.manager.applier.apply(wanted, informer=self.caches.config_maps, version=version)

    async def tell(self, action: Tell) -> None:
        await self._agreed(action)
        door = self.seen.door(action.member)
        if door is None:
            raise UnansweredError(f"{action.member} has no address")
        job = await self.members.member(door).start(action.job, action.command)
        if job.state is JobState.FAILED:
            raise RefusedError(f"{action.member}, job {action.job}: {job.message}")

    async def replicate(self, action: Replicate) -> None:
        async with self._session(action.via, self._login()) as session:
            await roles.set_replication(session, action.keyspace, {action.datacenter: action.copies})

    async def delete_volume(self, action: DeleteVolume) -> None:
        # What destroys data is asked for last, and all of it: the consent, the roster, and the members themselves.
        roster = await self._roster()
        why = objection(action, roster, await self._asked_again(roster))
        if why:
            raise NoConsentError(why)
        fresh = await self._fresh()
        if action.lost and not _is_lost(fresh, action.member, action.lost):
            raise NoConsentError(f"spec.lostMembers does not give up {action.lost} any more: its volume stays")
        if not action.lost and fresh.spec.claim_retention.when_scaled != DELETE:
            raise NoConsentError(f"spec.claimRetention.whenScaled is not {DELETE} any more: the volume stays")
        claim = self.seen.claims[action.member].metadata
        await self._delete(PVC, claim.name, action.claim)
        if action.pod:
            await self._delete(POD, action.member, action.pod)

    async def new_address(self, action: NewAddress) -> None:
        if not _is_lost(await self._fresh(), action.member, action.lost):
            raise NoConsentError(
                f"spec.lostMembers does not give up {action.lost} any more: {action.member} keeps its address"
            )
        await self._delete(SERVICE, action.member, action.service)

    async def delete_claim(self, action: DeleteClaim) -> None:
        fresh = msgspec.convert(await read_deleted(self.manager.client, CLUSTERS, self.cluster), CassandraCluster)
        if fresh.spec.claim_retention.when_deleted != DELETE:
            raise NoConsentError(f"spec.claimRetention.whenDeleted is not {DELETE} any more: volumes stay")
        await self._delete(PVC, action.name, action.uid)

    async def restart(self, action: Restart) -> None:
        await self._no_operation()
        await self._delete(POD, action.member, action.pod)

    async def end_turn(self, action: EndTurn) -> None:
        namespace = self.cluster.metadata.namespace
        found = await self.manager.client.find(OPERATIONS, namespace, action.of.name)
        if found is None or found["metadata"]["uid"] != action.of.uid:
            await turns.give_back(self.manager.client, turn_of(namespace, roster_name(self.cluster)), action.of)

    async def make_login(self, action: MakeLogin) -> None:
        meta = owner(self.cluster).metadata(action.secret, labels(self.cluster), owned=action.owned)
        if action.rotation:
            meta["annotations"] = {ROTATION: action.rotation}
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        content = {"username": action.username, "password": password}
        data = {key: b64encode(value.encode()).decode() for key, value in content.items()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data}
        try:
            await self.manager.client.create(SECRET, secret)
        except ApiError as error:
            if not error.is_already_exists:
                raise

    async def create_superuser(self, action: CreateSuperuser) -> None:
        async with self._session(action.via, roles.DEFAULT) as session:
            await roles.set_superuser(session, self._superuser())

    async def lock_default(self, action: LockDefault) -> None:
        async with self._session(action.via, self._superuser()) as session:
            await roles.lock_default(session)

    def rotating(self, clock: Callable[[], float]) -> Rotating:
        """What carries out rotations of the superuser."""
        name, meta = superuser_secret(self.cluster), self.cluster.metadata
        prefix = f"{meta.name}-superuser"
        return Rotating(self.manager.client, meta.namespace, name, prefix, self._session, clock)

    async def _agreed(self, action: Tell) -> None:
        """Whether what gives up copies or a member is agreed to now, too."""
        if isinstance(action.command, Decommission) and action.command.force:
            fresh = await self._fresh()
            missing = set(action.lose) - set(fresh.spec.lose_copies)
            if missing:
                raise NoConsentError(f"spec.loseCopies has no {', '.join(sorted(missing))} any more")
        if isinstance(action.command, RemoveNode):
            fresh = await self._fresh()
            if all(lost.host_id != action.command.host_id for lost in fresh.spec.lost_members):
                raise NoConsentError(f"spec.lostMembers does not give up host ID {action.command.host_id} any more")

    async def _no_operation(self) -> str:
        """The version of the object with the roster, which gives nobody the turn; empty: there is no such object.

        Raises:
            NotFreeError: An Operation has the turn.
        """
        name, namespace = roster_name(self.cluster), self.cluster.metadata.namespace
        live = await self.manager.client.find(CONFIG_MAP, namespace, name)
        if live is None:
            return ""
        found = turns.holder(live["metadata"].get("annotations") or {}, ANNOTATION)
        if found is not None:
            raise turns.NotFreeError(f"Operation {found.name} has the turn to act on the ring")
        return str(live["metadata"]["resourceVersion"])

    async def _asked_again(self, roster: Roster) -> Scene:
        """What members say now; those that do not answer say nothing."""
        found = dict(self.seen.scene.seen)

        async def ask(name: str, door: Door) -> None:
            found[name] = replace(self.seen.scene.of(name), look=None)
            with anyio.move_on_after(ASK_SECONDS), suppress(AccessError):
                found[name] = replace(found[name], look=await self.members.member(door).look())

        async with anyio.create_task_group() as tasks:
            for name in roster.members:
                door = self.seen.door(name)
                if door is not None:
                    tasks.start_soon(ask, name, door)
        return replace(self.seen.scene, seen=found)

    async def _fresh(self) -> CassandraCluster:
        fresh = await read_same(self.manager.client, CLUSTERS, self.cluster)
        return msgspec.convert(fresh, CassandraCluster)

    async def _roster(self) -> Roster:
        name, namespace = roster_name(self.cluster), self.cluster.metadata.namespace
        found = await self.manager.client.get(CONFIG_MAP, namespace, name)
        return decoded(found["data"][KEY])

    def _session(self, via: str, login: Login | None) -> AbstractAsyncContextManager[Session]:
        reach = self.seen.reach(via)
        if reach is None:
            raise UnansweredError(f"{via} has no address")
        return self.members.session(reach.host, login, ca=reach.ca, name=reach.name)

    def _login(self) -> Login | None:
        if self.seen.roster is None or not self.seen.roster.authentication:
            return None
        return roles.DEFAULT if self.seen.auth.superuser is False else self._superuser()

    def _superuser(self) -> Login:
        if self.seen.superuser is None:
            raise RefusedError("there is no Secret with the superuser")
        return self.seen.superuser

    async def _delete(self, resource: Resource, name: str, uid: str) -> None:
        await self.manager.client.delete(resource, self.cluster.metadata.namespace, name, uid=uid)


def _is_lost(cluster: CassandraCluster, member: str, given_up: str) -> bool:
    return any(
        lost.member == member and given_up in (lost.host_id, lost.claim_uid) for lost in cluster.spec.lost_members
    )
