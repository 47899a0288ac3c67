"""Groups that decide by majority: which member comes or goes next, so that the wanted number is there without a person.

A change is one member. The group grows first and shrinks after: what is away may come back, and is of use until its
successor is there. What is away for good never holds the group up: it goes as soon as it is not needed, and a successor
that does not come up gets one itself. The caller says who is away for good, by a clock of its own, and looks at the
majority at the moment of the act.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """The members, by how they are.

    Attributes:
        ids: All of them, oldest first.
        healthy: Those that take part in decisions.
        lost: Those that are away for good: for longer than the caller has patience, or without their machine.
        joined: Those that the group counts when it looks for a majority. Others have never come up, and cost nothing.
        kept: Those that somebody works on: they count as healthy, and are neither replaced nor removed.
    """

    ids: tuple[str, ...] = ()
    healthy: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    joined: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()

    @property
    def away(self) -> tuple[str, ...]:
        """Those that are not healthy, oldest first."""
        return tuple(i for i in self.ids if i not in self.healthy and i not in self.kept)

    @property
    def spare(self) -> frozenset[str]:
        """Those that may go where there are too many that are healthy."""
        return self.healthy - self.kept

    @property
    def starting(self) -> tuple[str, ...]:
        """Those that are away and expected to come."""
        return tuple(i for i in self.away if i not in self.lost)


@dataclass(frozen=True, slots=True)
class Add:
    """So many members are missing; they are added one by one, each when nobody is starting any more.

    `instead_of`: the one whose place the next takes; empty: there are too few members.
    """

    missing: int
    instead_of: str = ""


@dataclass(frozen=True, slots=True)
class Remove:
    """One member goes.

    Attributes:
        member: Who; empty: any of `Members.spare`, as there are too many.
        after: Who has to be healthy before, or to be away for good.
    """

    member: str = ""
    after: tuple[str, ...] = ()


def next_change(wanted: int, members: Members) -> Add | Remove | None:
    """The next change of the group, None where there is none. Pure.

    The members that the group counts are never more than `wanted` and one, whatever fails, beside those that somebody
    works on; members that never came up are never more than `wanted`.
    """
    away, starting = members.away, members.starting
    counted = len(members.ids) - len([i for i in away if i not in members.joined])
    if len(members.ids) - len(away) >= wanted:
        if away:
            return Remove(_least_of_use(away, members))
        return Remove() if len(members.ids) > wanted and members.spare else None
    if starting:
        if len(members.ids) < wanted:
            return Add(wanted - len(members.ids))
        if len(members.ids) == wanted:
            return None
        lost = [i for i in away if i in members.lost]
        return Remove(_least_of_use(lost, members), after=starting) if lost else Remove(_least_of_use(away, members))
    if counted > wanted:
        return Remove(_least_of_use([i for i in away if i in members.joined], members))
    if len(members.ids) < wanted:
        return Add(wanted - len(members.ids))
    if len(members.ids) - counted < wanted:
        return Add(1, instead_of=away[0])
    return Remove(away[0])


def _least_of_use(ids: tuple[str, ...] | list[str], members: Members) -> str:
    """Of members that are away the one that is missed least: one that never came up, and of those the newest."""
    return max(ids, key=lambda i: (i not in members.joined, members.ids.index(i)))
