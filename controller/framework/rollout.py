"""Rollouts: which of the members that are out of date may be restarted now. Pure but for `ask`.

A system says who its members are and how they are, in the order in which they are to be restarted, and gets back what
each of those that are out of date waits for. It asks the storage system about `next_batch` first where there is
somebody to ask: a flag that skips the question skips nothing else. What holds for every system:

- At most a batch of members that serve is taken down at once, all of one failure domain.
- The next batch waits until the one before is back, and has served for as long as `Policy.soak` says. A member that
  does not come back stops the rest; after `Policy.patience` it is given up, and nobody else gets what broke that one.
- A member that serves nothing may be restarted whoever else is awaited: nothing is lost by it, and it may be the cure.
  It is held, too, by the system's own `hold`, by a pause, and by the number of canaries.

Terms: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#partitions (canary, staged rollout).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    type Question = Callable[[Sequence[str]], Awaitable[str]]
    """Asks whether the system can do without these members for a moment: why not, in words; empty: it can."""

MAX_NAMED = 10
"""Members that a message names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of those that are restarted in turn.

    Attributes:
        name: As messages name it: "mon a", "osd.3". No two have the same.
        domain: Its failure domain: a node, a rack. Where all may be in one, leave it empty.
        outdated: Whether a restart would change what it runs.
        serves: Whether its restart takes something away for a while. If that is not known, say that it does.
        awaited: What has to happen to it before another that serves is restarted, as the end of a sentence about it:
            "to be restarted", "to be in quorum". Empty: nothing; it is well, or nobody waits for it.
        seconds: For how long it has been serving, or not, whichever it does now; None: for long enough, or not known.
        trouble: What keeps it from serving, in words.
    """

    name: str
    domain: str = ""
    outdated: bool = False
    serves: bool = True
    awaited: str = ""
    seconds: float | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a rollout goes.

    Attributes:
        batch: The most members that are restarted at once.
        soak: Seconds that all who have been restarted serve before the next batch.
        patience: Seconds after which a member that does not come back has failed; None: it is waited for without end.
        canary: The number of members that are restarted, the first in the order; 0: all.
        canary_ends: What lets the others be restarted, too, in words.
        paused: What ends a pause, in words; empty: there is none.
    """

    batch: int = 1
    soak: float = 0.0
    patience: float | None = None
    canary: int = 0
    canary_ends: str = ""
    paused: str = ""


@dataclass(frozen=True, slots=True)
class Leave:
    """The members of a batch that the system can do without for a moment, and why not the others, in words."""

    names: Collection[str] = ()
    refusal: str = ""


def next_batch(members: Sequence[Member], policy: Policy) -> tuple[str, ...]:
    """The members that serve and are next, if the system can do without them; none while something else holds them up.

    Args:
        members: All, in the order in which they are restarted.
        policy: How.
    """
    held = policy.paused or given_up(members, policy)
    batch = () if held else _batch(members, policy)
    return () if _soaking(members, policy, batch) else tuple(member.name for member in batch)


async def ask(batch: Sequence[str], question: Question) -> Leave:
    """Asks whether the system can do without a batch: all of it, or else the first of it alone."""
    refusal = ""
    for names in (batch, batch[:1]) if len(batch) > 1 else (batch,):
        refusal = await question(names)
        if not refusal:
            return Leave(names)
    return Leave((), refusal)


def decide(members: Sequence[Member], policy: Policy, *, hold: str = "", leave: Leave | None = None) -> dict[str, str]:
    """What each member that is out of date waits for, in words, by its name; empty: it may be restarted now.

    Args:
        members: All, in the order in which they are restarted.
        policy: How.
        hold: What has to happen before any is restarted, in words; empty: nothing.
        leave: What came of asking about `next_batch`; None: nobody is to be asked.
    """
    failed = given_up(members, policy)
    soaking = _soaking(members, policy, _batch(members, policy))
    soaked = f"{some(soaking, MAX_NAMED)} to have served for {policy.soak:.0f} s" if soaking else ""
    batch = next_batch(members, policy)
    may = [name for name in batch if leave is None or name in leave.names]
    turn = f"{some(may, MAX_NAMED)} to be restarted" if may else ""
    awaited = [member for member in members if member.awaited]
    all_awaited = _awaited(awaited)
    refusal = leave.refusal if leave is not None else ""

    def waits_for(index: int, member: Member) -> str:
        canary = policy.canary_ends if 0 < policy.canary <= index else ""
        said = hold or policy.paused or canary or failed
        if said or not member.serves or member.name in may:
            return said
        named = member in awaited[:MAX_NAMED]
        others = _awaited([other for other in awaited if other is not member]) if named else all_awaited
        refused = f"{member.name} to be dispensable: {refusal}" if refusal else ""
        return turn or others or soaked or refused or "its turn"

    return {member.name: waits_for(index, member) for index, member in enumerate(members) if member.outdated}


def _batch(members: Sequence[Member], policy: Policy) -> tuple[Member, ...]:
    """The next batch but for soaks. Those that are being restarted may be so once more, and nobody else meanwhile."""
    allowed = members[: policy.canary] if policy.canary else members
    awaited = [member for member in members if member.awaited]
    waiting = [m for m in allowed if m.outdated and m.serves and (m.awaited or not awaited)]
    batch = tuple(m for m in waiting if m.domain == waiting[0].domain)[: policy.batch]
    return batch if all(member in batch for member in awaited) else ()


def _awaited(awaited: Sequence[Member]) -> str:
    """What others wait for, by the first that is awaited and those that are so for the same."""
    alike = [member.name for member in awaited if member.awaited == awaited[0].awaited]
    return f"{some(alike, MAX_NAMED)} {awaited[0].awaited}" if awaited else ""


def _soaking(members: Sequence[Member], policy: Policy, batch: Sequence[Member]) -> list[str]:
    """Those that have to serve for longer before `batch` is restarted."""
    if not batch or batch[0].awaited:
        return []
    restarted = (m for m in members if m.serves and not m.outdated and m.seconds is not None)
    return [member.name for member in restarted if (member.seconds or 0.0) < policy.soak]


def given_up(members: Sequence[Member], policy: Policy) -> str:
    """Why nobody else gets what is wanted, in words: those that have it do not come back. Empty: they do.

    Args:
        members: All, in the order in which they are restarted.
        policy: How.
    """
    if policy.patience is None:
        return ""
    down = (member for member in members if member.awaited and not member.outdated and not member.serves)
    failed = [member for member in down if member.seconds is not None and member.seconds >= policy.patience]
    if not failed:
        return ""
    names = some([member.name for member in failed], MAX_NAMED)
    why = next((f": {member.trouble}" for member in failed if member.trouble), "")
    return f"{names} to come back, down for more than {policy.patience:.0f} s with what the others are to get{why}"
