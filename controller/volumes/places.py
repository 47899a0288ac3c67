"""Places at which volumes are reached, and which of them a new volume asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

type Place = Mapping[str, str]
"""A value for each label of nodes that tells places apart."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Where a new volume is to be reached from.

    Attributes:
        allowed: The places of which it has to be at one at least; empty: anywhere.
        preferred: The place at which it should be, because its first pod runs there; None: any of these.
    """

    allowed: tuple[Place, ...] = ()
    preferred: Place | None = None


ANYWHERE = Topology()
