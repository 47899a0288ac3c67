"""What a person is told of an error: the sentence that says it. The log has the whole text."""

from __future__ import annotations

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
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"
