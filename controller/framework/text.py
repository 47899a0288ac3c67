"""What a person is told at most: of an error the sentence that says it, of many things some. The log has the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 400
"""Characters that conditions, events and errors of objects show of one error."""


def brief(error: object, most: int = MOST) -> str:
    """The first line of an error that says something, cut to `most` characters.

    A library's or tool's error may go on for pages: usage, a backtrace, its log.

    Args:
        error: An exception, or its text. One without a text is named by its type.
        most: Characters.
    """
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    text = next(filter(None, lines), type(error).__name__ if isinstance(error, BaseException) else "")
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """A text of at most `most` characters; one that was longer shows that it was."""
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def some(names: Sequence[str], most: int) -> str:
    """The first `most` of the names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
