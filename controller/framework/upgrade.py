"""Upgrades: from the versions that run to the one that is wanted, by steps that the system allows. Pure.

- The daemons tell what runs, and their workloads do for daemons that are down. A version that was wanted before does
  not count: it may have been accepted and never have run.
- The system's function says which steps are allowed. A version that it refuses is not run: daemons go on to the
  newest that any workload asks for, as data does not go back.
- One reason holds every daemon that is still to be restarted, of whichever component, until the last one has been
  (`Upgrade.hold`). Components go in the system's order: where nothing holds all, those of an earlier component that are
  not done hold the later ones. `controller.framework.rollout` says which member of a component is next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class Version(Protocol):
    """A version of a storage system: a value that can be compared with others."""

    def __lt__(self, other: Any, /) -> bool:
        """Whether it came before the other one."""
        ...


@dataclass(frozen=True, slots=True)
class Release[V: Version]:
    """A version as an image that holds it."""

    image: str
    version: V


@dataclass(frozen=True, slots=True)
class Running[V: Version]:
    """The oldest and the newest version that daemons run; None while none is known."""

    oldest: V | None = None
    newest: V | None = None

    @classmethod
    def of(cls, reported: Iterable[V], declared: Iterable[V]) -> Self:
        """What runs.

        Args:
            reported: The versions of daemons that are up, as they, or others of the system, report them.
            declared: The versions of the daemons' workloads. They count for the oldest, as a daemon that is down still
                has data of its version; not for the newest unless nothing was reported, as one that was only asked
                for may never have run.
        """
        up, asked = list(reported), list(declared)
        return cls(min([*up, *asked], default=None), max(up or asked, default=None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrade[V: Version]:
    """What daemons should run, and whether all do.

    Attributes:
        wanted: What the spec wants; None while its version is not known.
        refusal: Why they should not run that, in words; empty: they should.
        target: What they should run; None while nothing is known of any.
        running: What they run.
        declared: What their workloads ask for.
    """

    wanted: Release[V] | None = None
    refusal: str = ""
    target: Release[V] | None = None
    running: Running[V] = field(default_factory=Running)
    declared: frozenset[Release[V]] = frozenset()

    @property
    def under_way(self) -> bool:
        """Whether there is a daemon whose workload does not ask for the target yet."""
        return any(release != self.target for release in self.declared)

    def hold(self, obstacle: str) -> str:
        """What has to happen before any daemon is restarted; empty: nothing.

        Args:
            obstacle: What has to happen before the system, as it is, may be upgraded; empty: nothing.
        """
        return obstacle if self.under_way else ""


def judge[V: Version](
    wanted: Release[V] | None,
    running: Running[V],
    declared: Collection[Release[V]],
    allowed: Callable[[V, Running[V]], str],
    *,
    accepted: str = "",
) -> Upgrade[V]:
    """What daemons should run.

    Args:
        wanted: What the spec wants; None while its version is not known.
        running: What they run.
        declared: What their workloads ask for.
        allowed: Why a version may not be run where others run, in words; empty: it may.
        accepted: The image that was accepted last: of several with the newest version, daemons go on to this.
    """
    refusal = allowed(wanted.version, running) if wanted is not None else ""
    target = wanted if not refusal else None
    if target is None and declared:
        newest = max(release.version for release in declared)
        images = [release.image for release in declared if not release.version < newest]
        target = Release(accepted if accepted in images else max(images), newest)
    return Upgrade(wanted=wanted, refusal=refusal, target=target, running=running, declared=frozenset(declared))
