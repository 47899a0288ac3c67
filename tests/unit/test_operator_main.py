"""The operator's command line and the environment behind it."""

from __future__ import annotations

import argparse
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from controller import __main__ as operator
from controller.__main__ import OTHER_NAMESPACES, address, boolean, namespaces, parser, sockets
from controller.framework.program import PROGRAM
from controller.framework.settings import Served
from controller.runtime import Controller, Request, Result
from controller.testkit import ApiServer, new_manager, until
from controller.volumes import system as volumes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from controller.runtime import Manager


def test_arguments_come_from_the_environment_and_go_before_it() -> None:
    environment = {"ROOK_WATCH_NAMESPACES": "a,b", "ROOK_CEPH_ALLOW_LOOP_DEVICES": "true", "ROOK_LOG_LEVEL": "DEBUG"}
    parsed = parser(environment).parse_args(["--watch-namespaces", "c"])
    assert (parsed.watch_namespaces, parsed.allow_loop_devices, parsed.log_level) == ("c", True, "debug")
    assert (parsed.metrics_address[1], parsed.ceph_timeout, parsed.leader_election) == (9090, 15.0, True)


def test_the_own_namespace_is_served_where_none_is_named() -> None:
    parsed = parser({"POD_NAMESPACE": "rook"}).parse_args([])
    assert (parsed.watch_namespaces, parsed.operator_namespace) == ("rook", "rook")


@pytest.mark.parametrize(
    ("text", "named", "everywhere"),
    [
        ("*", ("home",), True),
        ("a,*, b", ("a", "b", "home"), True),
        ("a, b,a", ("a", "b"), False),
        ("", ("home",), False),
        ("rook-ceph", ("rook-ceph",), False),
    ],
)
def test_namespaces(text: str, named: tuple[str, ...], everywhere: bool) -> None:
    assert namespaces(text, "home") == Served(named=named, everywhere=everywhere)


@pytest.mark.parametrize(("text", "value"), [("True", True), ("0", False), ("yes", True), ("no", False)])
def test_flags(text: str, value: bool) -> None:
    assert boolean(text) is value


@pytest.mark.parametrize(
    ("function", "text"), [(boolean, "maybe"), (address, "9090"), (address, "host:"), (sockets, "a=/run/a")]
)
def test_what_cannot_be_read_is_an_error_that_shows_it(function: object, text: str) -> None:
    assert callable(function)
    with pytest.raises(argparse.ArgumentTypeError, match=repr(text)):
        function(text)


def test_controller_services_have_a_socket_for_each_driver() -> None:
    assert sockets("") == {}
    assert sockets("a=unix:///run/a, b=unix:///run/b") == {"a": Path("/run/a"), "b": Path("/run/b")}
    with pytest.raises(argparse.ArgumentTypeError, match="a is there twice"):
        sockets("a=unix:///run/a,a=unix:///run/b")


def test_addresses() -> None:
    assert address("[::1]:80") == ("::1", 80)


def test_help_names_the_environment_variables() -> None:
    assert "[ROOK_CEPH_COMMANDS_TIMEOUT_SECONDS" in parser({}).format_help()


def test_keys_of_claims_to_buckets_are_a_set_that_may_be_empty() -> None:
    assert parser({}).parse_args([]).obc_config_fields == {"maxObjects", "maxSize"}
    allowed = "ROOK_OBC_ALLOW_ADDITIONAL_CONFIG_FIELDS"
    assert parser({allowed: "bucketPolicy, maxSize"}).parse_args([]).obc_config_fields == {"bucketPolicy", "maxSize"}
    assert parser({allowed: ","}).parse_args([]).obc_config_fields == frozenset()


class Busy:
    """A reconciler at work while its manager stops, and until the process has its signal, if one comes."""

    def __init__(self, manager: Manager, *, told: bool) -> None:
        self._manager, self._told = manager, told
        self.began, self.stopped = anyio.Event(), anyio.Event()

    async def reconcile(self, _: Request) -> Result:
        self.began.set()
        await self.stopped.wait()
        if self._told:
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: self._manager.signalled, within=20)
        return Result()


@pytest.mark.parametrize(("told", "code"), [(False, OTHER_NAMESPACES), (True, 0)])
def test_a_signal_while_it_stops_for_other_namespaces_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, told: bool, code: int
) -> None:
    made: list[Busy] = []

    def run(_: object, register: Callable[[Manager], object], **__: object) -> int:
        async def main() -> None:
            manager = new_manager(ApiServer(), program=PROGRAM)
            made.append(Busy(manager, told=told))
            controller = Controller("busy", made[0])
            manager.add(controller)
            controller.queue.add(Request("rook", "x"))
            register(manager)
            await manager.run()

        anyio.run(main)
        return 0

    @asynccontextmanager
    async def client_of(_: object) -> AsyncIterator[None]:
        yield
        made[0].stopped.set()  # the manager is stopped before anything else has its turn

    async def follow(*_: object) -> None:
        await made[0].began.wait()

    for name, value in (("run", run), ("client_of", client_of), ("SYSTEMS", ()), ("VOLUME_SYSTEMS", ())):
        monkeypatch.setattr(operator, name, value)
    monkeypatch.setattr(volumes, "register", lambda *_: None)
    arguments = parser({}).parse_args([])
    every = cast("Any", SimpleNamespace(follow=follow))
    assert operator.serve(arguments, Served(named=("rook",), everywhere=True), every) == code
