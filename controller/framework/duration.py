"""Durations as specs write them: Go's notation, such as "45s", "10m" or "1h30m"."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_duration(text: str, *, default: float) -> float:
    """Seconds that `text` stands for; a plain number counts as seconds, an empty text as `default`.

    Raises:
        ValueError: It is no duration.
    """
    text = text.strip()
    if not text:
        return default
    if text.replace(".", "", 1).isdigit():
        return float(text)
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'{text!r} is not a duration: expected a number with a unit, such as "45s" or "10m"')
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
