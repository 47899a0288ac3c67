"""Waiting that people see: COSI's kinds have no conditions, so an event on the object tells what it waits for."""

from __future__ import annotations

from dataclasses import dataclass

from controller.framework.plan import Step


class HeldError(Exception):
    """What has to happen first. It is tried again with the pauses of a step that failed."""


@dataclass(frozen=True, slots=True)
class Proceed:
    """Go on, which is not possible before something has happened."""

    waits_for: str


def held(subject: str, reason: str, waits_for: str) -> Step:
    """A step that tells what it waits for."""
    return Step(subject=subject, reason=reason, action=Proceed(waits_for))


async def proceed(action: Proceed) -> None:
    """Tells what is waited for. Raises HeldError."""
    raise HeldError(f"it waits for {action.waits_for}")
