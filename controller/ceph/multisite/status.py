"""What the statuses of realms, zone groups and zones have in common. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.multisite.work import MAX_NAMED
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Sequence


def blocked(users: Sequence[str]) -> str:
    """What a deletion is held back by, in words; empty: by nothing."""
    return f"to be deleted first: {some(users, MAX_NAMED)}" if users else ""
