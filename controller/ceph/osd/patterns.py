"""Regular expressions as specs write them: Go's syntax, which Python's `re` reads otherwise or not at all.

RE2 also takes time linear in the text, whatever a user writes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


class PatternError(ValueError):
    """A text that should be a regular expression is none."""


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern matches anywhere in the text.

    Raises:
        PatternError: The pattern is no regular expression.
    """
    return _compiled(pattern).search(text) is not None


def pattern_problem(path: str, pattern: str, effect: str = "nothing is selected by it") -> str:
    """That the field with this path is no regular expression, and with what effect; empty when it is, or not set."""
    try:
        _compiled(pattern)
    except PatternError as error:
        return f"{path}: {error}; {effect}"
    return ""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    try:
        return re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        (why,) = error.args
        text = why.decode() if isinstance(why, bytes) else why
        raise PatternError(f"{pattern!r} is not a regular expression of Go's: {text}") from None
