"""Scale-in: members that hold data leave one after the other, and none of the data with them.

Drain -> the system says that the data is elsewhere -> stop -> remove from the system -> wipe, with consent. Where a
member is on that way is read from what is there, each time anew: nothing is remembered, so whoever takes over in the
midst goes on, whatever was interrupted. What holds for every system:

- Nothing is stopped, removed or wiped before the system has said that the data is elsewhere, nor while nobody can ask.
- A store is destroyed only with consent, and only when its member has left and does not run.
- Who has begun to leave goes to the end, also where more members are wanted by then: half of a member serves nobody,
  and its place is free only when it has gone. Others leave as far as there are too many.

The plan is pure. Handlers ask for consent once more at the act, and the system where it can be asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_NAMED = 10
"""Members that a message names."""


class Act(Enum):
    """What is done to a member that leaves."""

    DRAIN = auto()
    """Have the system move its data elsewhere, if it has any; again, where that was begun and is not under way."""
    STOP = auto()
    """End what runs it, for good."""
    REMOVE = auto()
    """Have the system forget it."""
    WIPE = auto()
    """Destroy its store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of those that hold data, as it is seen.

    Attributes:
        name: As messages name it.
        begun: Whether it has begun to leave: it was drained, or it has gone and something of it is still there.
        counted: Whether the system counts it among its members; None: the system does not say.
        draining: Whether the system moves its data away now.
        progress: How far that is, in words.
        elsewhere: Whether the system has said that all its data is elsewhere, or that it never had any.
        serves: Whether it runs.
        made: Whether there is what would run it: its Deployment, its place in a StatefulSet.
        stored: Whether there is a store of its own that is to be destroyed; False where it is to be kept.
        hold: What has to happen before its data is moved, in words: room elsewhere, a system that is well.
        consent: The spec field that lets its store be destroyed; empty: none is needed, or given.
    """

    name: str
    begun: bool = False
    counted: bool | None = True
    draining: bool = False
    progress: str = ""
    elsewhere: bool = False
    serves: bool = True
    made: bool = True
    stored: bool = False
    hold: str = ""
    consent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What is next for a member that leaves.

    Attributes:
        member: Who.
        act: What is done; None: there is nothing to do but wait.
        waits_for: As `Step.waits_for`.
        consent: As `Step.consent`.
    """

    member: Member
    act: Act | None = None
    waits_for: str = ""
    consent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleIn:
    """What a look at the members comes to.

    Attributes:
        steps: What is next for each that leaves now.
        growth_waits_for: What a new member waits for, in words; empty: there may be one.
    """

    steps: tuple[Next, ...] = ()
    growth_waits_for: str = ""


def plan(members: Sequence[Member], wanted: int, *, at_once: int | None = 1) -> ScaleIn:
    """Who leaves, and what is next for each of them. Pure.

    Args:
        members: All, in the order in which they leave.
        wanted: So many are to stay.
        at_once: So many leave at once at most; None: all that are to. Those of whom only a store is left do not count.
    """
    begun = [found for member in members if member.begun and (found := _next(member)) is not None]
    staying = [member for member in members if not member.begun]
    others = [found for member in staying[: max(len(staying) - wanted, 0)] if (found := _next(member)) is not None]
    wiped = tuple(found for found in (*begun, *others) if found.act is Act.WIPE)
    leaving = tuple(found for found in (*begun, *others) if found.act is not Act.WIPE)
    names = [found.member.name for found in begun]
    return ScaleIn(
        steps=(*wiped, *leaving[:at_once]),
        growth_waits_for=f"{some(names, MAX_NAMED)} to have left" if names else "",
    )


def _next(member: Member) -> Next | None:
    """What is next for a member that leaves; None: nothing of it is left."""
    if member.counted is None:
        return Next(member=member, waits_for=f"the system to say whether {member.name} is a member")
    if member.counted and not member.draining and not (member.begun and member.elsewhere):
        # Also one without data is asked to go before anything is taken from it: that shows, whoever looks next.
        return Next(member=member, act=Act.DRAIN, waits_for=member.hold)
    if not member.elsewhere:
        progress = f": {member.progress}" if member.progress else ""
        return Next(member=member, waits_for=f"the data of {member.name} to be elsewhere{progress}")
    if member.counted:
        return Next(member=member, act=Act.STOP if member.serves else Act.REMOVE)
    if member.serves or member.made:
        return Next(member=member, act=Act.STOP)
    return Next(member=member, act=Act.WIPE, consent=member.consent) if member.stored else None
