"""The time of a test in virtual time."""

from controller.testkit import wall_clock


def seconds() -> float:
    """Seconds since the epoch."""
    return wall_clock().timestamp()
