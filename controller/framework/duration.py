"""Durations as specs write them: Go's notation, such as "45s", "10m" or "1h30m"."""

from __future__ import annotations

import re

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 0.001,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_PART = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)({'|'.join(_UNITS)})")


class DurationError(ValueError):
    """A text that should be a duration is none."""


def parse_duration(text: str) -> float:
    """Seconds that `text` stands for: a number with a unit, or several of them. A plain number counts as seconds.

    Units are Go's, and "d" for days.

    Raises:
        DurationError: It is no duration.
    """
    text = text.strip()
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise DurationError(f'{text!r} is not a duration: expected a number with a unit, such as "45s" or "10m"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration_or(text: str, default: float) -> float:
    """Seconds that `text` stands for; `default` for an empty text and for what is no duration.

    The object that the text is from has to say so, by `duration_problem`.
    """
    try:
        return parse_duration(text) if text else default
    except DurationError:
        return default


def duration_problem(path: str, text: str, default: float) -> str:
    """That the field with this path is no duration, and what counts instead; empty when it is one, or not set."""
    try:
        if text:
            parse_duration(text)
    except DurationError as error:
        return f"{path}: {error}; {default:g} s is used"
    return ""
