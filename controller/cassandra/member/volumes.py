"""Whether the volume of a member may go, by what the others say at the moment of the act. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.cassandra.member.ring import Scene, believers, keepers, serving
from controller.cassandra.member.roster import Standing
from controller.framework.text import some

if TYPE_CHECKING:
    from controller.cassandra.member.roster import Roster
    from controller.cassandra.member.steps import DeleteVolume


def objection(wipe: DeleteVolume, roster: Roster, scene: Scene) -> str:
    """Why a volume has to stay though its deletion was planned; empty: it may go.

    Args:
        wipe: What was planned.
        roster: Who belongs to the ring, as it is written now.
        scene: What members say now.
    """
    name, seat = wipe.member, roster.seats.get(wipe.member)
    standing = seat.standing if seat is not None else None
    named = seat is not None and seat.volume == wipe.claim
    if wipe.lost and not (named and standing in (Standing.REPLACING, Standing.STOPPING)):
        return f"{name} is in the ring: its volume stays"
    if not wipe.lost and standing not in (Standing.STOPPING, None):
        return f"{name} is in the ring: its volume stays"
    if seat is None:
        return _unknown(roster, scene)
    if standing is Standing.REPLACING:
        seeing = believers(seat.host_id, roster, scene) if serving(roster, scene) else None
    else:
        seeing = keepers(seat.host_id, scene.of(name).address, roster, scene)
    if seeing is None:
        return f"no member says whether {name} is in the ring: its volume stays"
    return f"{name} is in the ring, as {some(seeing, 3)} see it: its volume stays" if seeing else ""


def _unknown(roster: Roster, scene: Scene) -> str:
    """That members count somebody whom nobody knows, so that a volume of which nothing is known may be theirs."""
    viewers = serving(roster, scene)
    counted = {h for viewer in viewers if (state := scene.of(viewer).state) for h in state.ring.host_ids.values()}
    strangers = sorted(counted - {seat.host_id for seat in roster.seats.values()})
    if not counted:
        return "no member says who is in the ring: volumes of which nothing is known stay"
    return f"members count host ID {some(strangers, 3)}: volumes of which nothing is known stay" if strangers else ""
