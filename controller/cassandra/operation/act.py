"""How the actions of an Operation's plan are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.cassandra import CassandraOperation
from controller.cassandra.access.answers import UnansweredError
from controller.cassandra.backup.acts import PrepareRestore
from controller.cassandra.cluster.observe import OPERATIONS
from controller.cassandra.member.steps import Tell
from controller.cassandra.member.turn import refusal, turn_of
from controller.cassandra.operation.analyze import GiveBackTurn, StopJob, TakeTurn
from controller.cassandra.pods import roster_name
from controller.framework import jobs, turns
from controller.framework.consent import NoConsentError, read_same
from controller.runtime.kube import JOB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.cassandra.access.members import Members
    from controller.cassandra.operation.observe import Observation
    from controller.framework.plan import Handler
    from informers import Client


def handlers(
    operation: CassandraOperation, seen: Observation, client: Client, members: Members
) -> Mapping[type, Handler]:
    """What carries out each action for an Operation, as it was found.

    Args:
        operation: The Operation.
        seen: What there is of it.
        client: Writes whose turn it is.
        members: How members are reached.
    """
    cluster, ring = seen.cluster, seen.ring
    turn = turn_of(cluster.metadata.namespace, roster_name(cluster)) if cluster is not None else None

    async def take_turn(action: TakeTurn) -> None:
        if turn is not None:
            await turns.take(client, turn, action.holder, refusal)

    async def give_back_turn(action: GiveBackTurn) -> None:
        if turn is not None:
            await turns.give_back(client, turn, action.holder)

    async def tell(action: Tell) -> None:
        door = ring.door(action.member) if ring is not None else None
        if door is None:
            raise UnansweredError(f"{action.member} has no address")
        # What becomes of it is heard at the next look, also where it has failed already.
        await members.member(door).start(action.job, action.command)

    async def prepare_restore(action: PrepareRestore) -> None:
        fresh = msgspec.convert(await read_same(client, OPERATIONS, operation), CassandraOperation)
        agreed = fresh.spec.restore.overwrite if fresh.spec.restore is not None else ()
        if fresh.metadata.deletion_timestamp is not None or not set(action.overwrite) <= set(agreed):
            raise NoConsentError("spec.restore.overwrite does not consent any more that rows are thrown away")
        await jobs.start(client, action.job, jobs.FIRST)

    async def stop_job(action: StopJob) -> None:
        await client.delete(JOB, action.namespace, action.name, uid=action.uid)

    return {
        **jobs.handlers(client),
        TakeTurn: take_turn,
        GiveBackTurn: give_back_turn,
        Tell: tell,
        PrepareRestore: prepare_restore,
        StopJob: stop_job,
    }
