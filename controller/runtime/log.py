"""Logs: one structured line per entry, as JSON for machines or coloured for people, without secrets.

Everything goes the same way: our own entries, and those of libraries that use the standard library's logging. Entries
written during a reconcile carry its controller, request and id. Values whose key or variable looks like a secret's, and
what has the form of one wherever it occurs, are replaced before anything is written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO

import orjson
import structlog

from controller.runtime.reconciler import current_reconcile

if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping

type LogFormat = Literal["json", "console"]
type LogLevel = Literal["debug", "info", "warning", "error"]

REDACTED = "[redacted]"

_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase)|secret|token|keyring|credential|authorization|cookie|(private|access|api|admin|encryption)_?key",
    re.IGNORECASE,
)
_NOT_SECRET_KEY = re.compile(r"(name|namespace|ref|reference|path|file|count|type|version)s?$", re.IGNORECASE)
"""Keys such as `secretName` or `tokenFile` tell where a secret is, not what it is."""

_forms = {
    r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+": None,  # a JSON web token
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)": None,
}
_secret_text = re.compile("|".join(_forms))
"""What has the form of a secret. It belongs to the process, as the configuration of logging does."""

_SECRET_FLAG = re.compile(rf"(?<!\S)(--?[\w.-]*(?:{_SECRET_KEY.pattern})[\w.-]*=)[^\s'\"]+", re.IGNORECASE)
"""A flag of a command line with its value."""

MAX_DEPTH = 6
"""Nesting of values that is looked into; what is deeper is left out."""


def looks_secret(name: str) -> bool:
    """Whether a value of such a name is a secret, and not only the place of one."""
    return bool(_SECRET_KEY.search(name)) and not _NOT_SECRET_KEY.search(name)


def redact_text(text: str) -> str:
    """`text` with what has the form of a secret replaced.

    That is a token, a private key, the value of a flag such as `--password=…`, and what was given to `hide`.
    """
    return _SECRET_FLAG.sub(_redact_flag, _secret_text.sub(REDACTED, text))


def hide(*forms: str) -> None:
    """Has `redact_text` and `redact` replace more from now on, wherever in this process.

    Args:
        forms: Regular expressions of what is secret, beside tokens, private keys and those of earlier calls.

    Raises:
        re.error: One of them is no regular expression.
    """
    global _secret_text  # a secret is one wherever in the process it occurs
    _forms.update(dict.fromkeys(forms))
    _secret_text = re.compile("|".join(_forms))


def _redact_flag(flag: re.Match[str]) -> str:
    return f"{flag[1]}{REDACTED}" if looks_secret(flag[1].rstrip("=")) else flag[0]


def redact(key: str, value: Any, depth: int = 0) -> Any:
    """`value` with secrets replaced: all of it if `key` looks like a secret's, else what it contains."""
    if looks_secret(key) and not isinstance(value, bool | None):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    if isinstance(value, dict | list | tuple) and depth >= MAX_DEPTH:
        return "…"
    if isinstance(value, dict):
        shown = {str(k): redact(str(k), v, depth + 1) for k, v in value.items()}
        if "value" in shown and looks_secret(str(value.get("name", ""))):  # a variable of a container
            shown["value"] = REDACTED
        return shown
    if isinstance(value, list | tuple):
        return [redact("", v, depth + 1) for v in value]
    return value


def _redact_entry(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in entry.items():
        entry[key] = redact(key, value)
    return entry


def _add_reconcile(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    reconcile = current_reconcile.get()
    if reconcile is not None:
        entry.setdefault("controller", reconcile.controller)
        entry.setdefault("request", str(reconcile.request))
        entry.setdefault("reconcileID", reconcile.id)
    return entry


def _render_json(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> str:
    try:
        return orjson.dumps(dict(entry), default=str).decode()
    except TypeError:  # a file name that is no text, a number beyond 64 bits, a value whose own text fails
        return json.dumps({str(key): _plain(value) for key, value in entry.items()})


def _plain(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"[{type(value).__name__}]"


class _Logger(structlog.WriteLogger):
    """Writes lines, and knows the name of the logger that it stands for. What cannot be written is lost, no more."""

    def __init__(self, file: TextIO, name: str) -> None:
        super().__init__(file)
        self.name = name

    def msg(self, message: str) -> None:
        with suppress(OSError, ValueError):  # a full disk, a pipe that nobody reads, a closed file
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def _add_logger_name(logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entry["logger"] = logger.name
    return entry


class _ToStructlog(logging.Handler):
    """Hands entries of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(record.name)
        logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


def configure_logging(
    *,
    level: LogLevel = "info",
    format: LogFormat = "json",  # noqa: A002
    secrets: Iterable[str] = (),
) -> None:
    """Sets up logging for the process, to standard error.

    Args:
        level: Entries below this level are not written.
        format: "json", or "console" for people.
        secrets: Regular expressions of what is secret beside tokens and private keys: `Program.secrets`. It is replaced
            in events and errors too.

    Raises:
        re.error: One of `secrets` is no regular expression.
    """
    hide(*secrets)
    number = logging.getLevelNamesMapping()[level.upper()]
    render = _render_json if format == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_reconcile,
            structlog.processors.add_log_level,
            _add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,  # before secrets are replaced: a message may hold one
            _redact_entry,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="": _Logger(sys.stderr, name),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [_ToStructlog()]
    root.setLevel(max(number, logging.INFO))
