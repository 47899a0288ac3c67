"""How the actions of an Operation's plan are carried out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.access.answers import UnansweredError
from controller.cassandra.member.steps import Tell
from controller.cassandra.member.turn import refusal, turn_of
from controller.cassandra.operation.analyze import GiveBackTurn, TakeTurn
from controller.cassandra.pods import roster_name
from controller.framework import turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.cassandra.access.members import Members
    from controller.cassandra.operation.observe import Observation
    from controller.framework.plan import Handler
    from informers import Client


def handlers(seen: Observation, client: Client, members: Members) -> Mapping[type, Handler]:
    """What carries out each action for an Operation, as it was found.

    Args:
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

    return {TakeTurn: take_turn, GiveBackTurn: give_back_turn, Tell: tell}
