"""Whose turn it is to act on a ring: the operator's own changes of it, or one Operation.

It is written on the ConfigMap with the roster. While an Operation has the turn, the roster is not changed and nobody is
restarted; while somebody joins or leaves, or something is left to do after that, no Operation gets the turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member.roster import KEY, Roster, decoded
from controller.framework.turns import Turn
from controller.runtime.kube import CONFIG_MAP

if TYPE_CHECKING:
    from informers import JsonObject

ANNOTATION = "cassandra.rook.io/operation"
"""Names the Operation that has the turn, and its uid."""


def turn_of(namespace: str, roster_name: str) -> Turn:
    """The turn on the ring with this roster."""
    return Turn(CONFIG_MAP, namespace, roster_name, ANNOTATION)


def occupied(roster: Roster) -> str:
    """Why no Operation may act on a ring, by its roster, in words; empty: one may."""
    if not roster.founded:
        return "the ring to be made"
    if roster.moving is not None:
        name, seat = roster.moving
        return f"the ring to have changed: {name} is {seat.standing}"
    if roster.chores:
        chore = roster.chores[0]
        return f"the operator to be done with {chore.kind} of {chore.member}"
    return ""


def refusal(config_map: JsonObject) -> str:
    """The same by the ConfigMap with the roster; see `controller.framework.turns.take`."""
    try:
        return occupied(decoded((config_map.get("data") or {}).get(KEY, "")))
    except ValueError as error:
        return f"the roster to be mended: {error}"
