"""The operator's command line and the environment behind it."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from controller.__main__ import address, boolean, namespaces, parser, sockets
from controller.framework.settings import Served


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
