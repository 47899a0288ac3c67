"""Whose turn it is to act on a system: an annotation on the object by which the system's own changes go.

Several controllers act on one system, each by what it saw a moment ago. Who wants to begin something takes the turn
first, and whoever writes the object does so only over the version that has nobody's: of two that begin at once, one is
refused by the API server, and looks again. The turn is kept across restarts of the operator, until it is given back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from informers import Client, JsonObject, Resource


class NotFreeError(Exception):
    """Another one has the turn, or nobody may have it now."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the turn: an object by its name and uid."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Turn:
    """Where it is written whose turn it is.

    Attributes:
        resource: The kind of the object.
        namespace: Its namespace.
        name: Its name.
        key: The annotation.
    """

    resource: Resource
    namespace: str
    name: str
    key: str


def holder(annotations: Mapping[str, str], key: str) -> Holder | None:
    """Who has the turn by the annotation `key`; None: nobody."""
    name, slash, uid = annotations.get(key, "").partition("/")
    return Holder(name, uid) if slash else None


async def take(client: Client, turn: Turn, mine: Holder, refusal: Callable[[JsonObject], str]) -> None:
    """Takes the turn, or keeps it.

    Args:
        client: Asks and writes.
        turn: Which.
        mine: Who takes it.
        refusal: Why nobody may begin anything now, by the object as it is at this moment; empty: one may.

    Raises:
        NotFreeError: Another one has it, or nobody may have it.
        ApiError: The object was changed just now, or is not there.
    """
    live = await client.get(turn.resource, turn.namespace, turn.name)
    found = holder(live["metadata"].get("annotations") or {}, turn.key)
    if found is not None and found != mine:
        raise NotFreeError(f"it is the turn of {found.name}")
    why = refusal(live)
    if why:
        raise NotFreeError(why)
    if found is None:
        await _write(client, turn, live, f"{mine.name}/{mine.uid}")


async def give_back(client: Client, turn: Turn, of: Holder) -> None:
    """Gives back the turn of somebody. It is no error that they do not have it, or that the object is gone.

    Raises:
        ApiError: The object was changed just now.
    """
    live = await client.find(turn.resource, turn.namespace, turn.name)
    if live is not None and holder(live["metadata"].get("annotations") or {}, turn.key) == of:
        await _write(client, turn, live, None)


async def _write(client: Client, turn: Turn, live: JsonObject, value: str | None) -> None:
    meta = {"resourceVersion": live["metadata"]["resourceVersion"], "annotations": {turn.key: value}}
    await client.patch(turn.resource, turn.namespace, turn.name, {"metadata": meta}, content_type=MERGE_PATCH)
