"""Logs: their form, and that no secret gets into them."""

import base64
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from controller.framework.program import PROGRAM
from controller.runtime.log import REDACTED, configure_logging, hide, redact, redact_text
from controller.runtime.reconciler import Reconcile, Request, current_reconcile

CEPH_KEY = "AQBTZ2VmAAAAABAAn3sZ0Qkq8H1vC2bJmX5W0Q=="
LONG_CEPH_KEY = base64.b64encode(b"\2\0" + 8 * b"t" + b"\x20\0" + 32 * b"k").decode()


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    before = structlog.get_config()
    yield
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def log_in() -> None:
    raise RuntimeError(f"cannot log in with {CEPH_KEY}")


def test_an_entry_is_one_line_of_json_with_its_reconcile(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(secrets=PROGRAM.secrets)
    token = current_reconcile.set(Reconcile("pool", Request("ns", "a"), 7))
    try:
        structlog.get_logger("controller.test").info("Made it", size=3, lines="a\nb")
    finally:
        current_reconcile.reset(token)

    (entry,) = entries(capsys)
    assert entry["event"] == "Made it"
    assert (entry["level"], entry["logger"]) == ("info", "controller.test")
    assert (entry["controller"], entry["request"]) == ("pool", "ns/a")
    assert str(entry["reconcileID"]).endswith("-7")
    assert (entry["size"], entry["lines"]) == (3, "a\nb")


def test_entries_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="warning")
    structlog.get_logger("x").info("no")
    structlog.get_logger("x").warning("yes")

    assert [entry["event"] for entry in entries(capsys)] == ["yes"]


def test_entries_of_libraries_go_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(secrets=PROGRAM.secrets)
    logging.getLogger("aiohttp.server").warning("bad request from %s", "10.0.0.1")

    (entry,) = entries(capsys)
    assert (entry["event"], entry["logger"], entry["level"]) == (
        "bad request from 10.0.0.1",
        "aiohttp.server",
        "warning",
    )


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize("value", [os.fsdecode(b"/data/\xff"), 2**70, Nameless(), {"deep": [2**70]}])
def test_no_value_keeps_an_entry_from_being_written(capsys: pytest.CaptureFixture[str], value: object) -> None:
    configure_logging(secrets=PROGRAM.secrets)
    structlog.get_logger("x").error("Failed", value=value)

    (entry,) = entries(capsys)
    assert (entry["event"], entry["level"]) == ("Failed", "error")
    assert entry["value"]


def test_an_entry_that_cannot_be_written_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging(secrets=PROGRAM.secrets)
        for level in ("debug", "info", "warning", "error", "critical", "exception"):
            getattr(structlog.get_logger("x"), level)("Failed")
        monkeypatch.undo()
        with suppress(OSError):  # of what is left in the file's buffer
            full.close()


def test_no_secret_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(secrets=PROGRAM.secrets)
    try:
        log_in()
    except RuntimeError:
        structlog.get_logger("x").exception("Failed", admin_key="plain", body={"data": {"password": "hunter2"}})

    written = capsys.readouterr().err
    assert "cannot log in with" in written
    for secret in (CEPH_KEY, "plain", "hunter2"):
        assert secret not in written


def test_for_people_no_secret_is_written_either(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format="console")
    try:
        log_in()
    except RuntimeError:
        structlog.get_logger("x").exception("Failed", keyring=f"key = {CEPH_KEY}")

    written = capsys.readouterr().err
    assert "cannot log in with" in written
    assert CEPH_KEY not in written


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("password", "x", REDACTED),
        ("mon_secret", b"x", REDACTED),
        ("accessKey", "x", REDACTED),
        ("Authorization", "Bearer x", REDACTED),
        ("tokens", ["x"], REDACTED),
        ("env", [{"name": "DB_PASSWORD", "value": "x"}], [{"name": "DB_PASSWORD", "value": REDACTED}]),
        ("env", [{"name": "TOKEN_FILE", "value": "/x"}], [{"name": "TOKEN_FILE", "value": "/x"}]),
        ("args", ["a", "--db.password=x y"], ["a", f"--db.password={REDACTED} y"]),
        ("args", ["--token-file=/x", "--secret-name=y"], ["--token-file=/x", "--secret-name=y"]),
        ("secretName", "rook-ceph-mon", "rook-ceph-mon"),
        ("secret_ref", {"name": "rook-ceph-mon"}, {"name": "rook-ceph-mon"}),
        ("token_file", "/var/run/token", "/var/run/token"),
        ("has_password", True, True),
        ("key", "ns/name", "ns/name"),
        ("note", f"key = {CEPH_KEY}", f"key = {REDACTED}"),
        ("note", f"key = {LONG_CEPH_KEY}.", f"key = {REDACTED}."),
        ("data", b"\x00\x01", "[2 bytes]"),
        ("list", [{"secret": "x"}, ("y",)], [{"secret": REDACTED}, ["y"]]),
        ("jwt", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4eHh4eCJ9.c2ln", REDACTED),
    ],
)
def test_what_is_a_secret(key: str, value: object, wanted: object) -> None:
    hide(*PROGRAM.secrets)
    assert redact(key, value) == wanted


def test_a_private_key_in_a_text() -> None:
    text = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----"
    assert redact_text(f"before {text} after") == f"before {REDACTED} after"
