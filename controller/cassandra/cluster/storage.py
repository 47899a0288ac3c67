"""How members of 5.0 write files: one mode after the other, each by an edit of the spec and a restart of all. Pure.

Members of two modes do not stream to each other, so nobody joins, leaves or is repaired before all have the same.
Source: `storage_compatibility_mode` in NEWS.txt of Cassandra 5.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra.cluster import CASSANDRA_4, NONE, UPGRADING
from controller.cassandra.member.objects import STORAGE_ANNOTATION
from controller.cassandra.member.ring import busy, unrest
from controller.cassandra.member.steps import after, write
from controller.cassandra.releases import CassandraVersion
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.cassandra.member.ring import Scene
    from controller.cassandra.member.rollout import Restarts
    from controller.cassandra.member.roster import Roster
    from controller.runtime.kube import Pod

FIRST = (5, 0)
"""The first release that has modes."""


def first_mode(version: str, wanted: str) -> str:
    """The mode of a ring that is made with a version: nothing has been written yet."""
    return wanted if CassandraVersion.parse(version).release >= FIRST else CASSANDRA_4


def refusal(wanted: str, recorded: str) -> str:
    """Why a mode cannot follow on the recorded one, in words; empty: it can."""
    if wanted == CASSANDRA_4 != recorded:
        return f"members have written files as {recorded}, which counts: there is no way back; set it to {recorded}"
    if wanted == NONE and recorded == CASSANDRA_4:
        return f"members write files as {CASSANDRA_4}, which counts: set {UPGRADING} first"
    return ""


def is_mixed(roster: Roster, pods: Mapping[str, Pod]) -> bool:
    """Whether members write files in two modes."""
    found = (pods[name].metadata.annotations for name in roster.members if name in pods)
    return bool({annotations.get(STORAGE_ANNOTATION, CASSANDRA_4) for annotations in found} - {roster.storage_mode})


def change(wanted: str, roster: Roster, scene: Scene, restarts: Restarts, *, outdated: Collection[str]) -> Step | None:
    """The step by which members are to write files in the next mode, or what it waits for; None: they do.

    Args:
        wanted: The mode in the spec.
        roster: Who belongs to the ring, with the mode of now.
        scene: What members tell.
        restarts: How members are restarted.
        outdated: Members that are to be restarted for another reason.
    """
    if wanted == roster.storage_mode or refusal(wanted, roster.storage_mode):
        return None
    reason = f"members are to write files as {wanted}, and no more as {roster.storage_mode}"
    fresh = [name for name in roster.members if restarts.up.get(name, 0.0) < restarts.policy.soak_seconds]
    held = unrest(roster, scene) or busy(roster, scene)
    if CassandraVersion.parse(roster.version).release < FIRST:
        return _wait(reason, "all members to run 5.0")
    if outdated:
        return _wait(reason, f"{some(sorted(outdated), 3)} to be restarted")
    if held:
        return _wait(reason, after(held))
    if roster.chores:
        return _wait(reason, f"what is left to do: {roster.chores[0].kind} of {roster.chores[0].member}")
    if fresh:
        return _wait(reason, f"{some(fresh, 3)} to have served for {restarts.policy.soak_seconds} s")
    return write(replace(roster, storage_mode=wanted), "ring", reason)


def _wait(reason: str, waits_for: str) -> Step:
    """It holds up nothing else: who joins or leaves is in another lane."""
    return Step(subject="ring", reason=reason, waits_for=waits_for, lane="storage")
