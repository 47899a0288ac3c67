"""Settings in the mons' database: set, spelled by the mons in their own way, changed behind our back, and unset."""

from __future__ import annotations

import json
import traceback
from typing import TYPE_CHECKING

import pytest

from controller.ceph.access.config import ConfigState, SetConfig, UnsetConfig, digest, handlers
from controller.ceph.access.rados import CephError
from controller.ceph.access.records import parse
from controller.ceph.cluster.settings import DEFAULTS, OWNED_PREFIX, analyze, desired, override_steps
from controller.ceph.pods import owner_of
from controller.framework.owned import Owned
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.cases import a_cluster, live_objects, told

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster

DEFAULTS_THERE = dict(DEFAULTS)


def state(values: dict[tuple[str, str], str], owned: dict[tuple[str, str], tuple[str, str]]) -> ConfigState:
    """Settings that are there besides the operator's own; `owned` has what was asked for and what was stored."""
    ours = {name: (value, value) for name, value in DEFAULTS.items()} | owned
    return ConfigState(
        DEFAULTS_THERE | values, {n: Owned(digest(asked), digest(stored)) for n, (asked, stored) in ours.items()}
    )


def a_cluster_with(config: dict[str, dict[str, str]]) -> CephCluster:
    return a_cluster({"cephConfig": config})


SIZE = ("osd", "osd_memory_target")


@pytest.mark.parametrize(
    ("config", "found", "steps"),
    [
        pytest.param({}, state({}, {}), [], id="at rest"),
        pytest.param(
            {"osd": {"osd_memory_target": "1G"}}, state({}, {}), ["setting osd osd_memory_target: SetConfig"], id="new"
        ),
        pytest.param(
            {"osd": {"osd_memory_target": "1G"}},
            state({SIZE: "1073741824"}, {SIZE: ("1G", "1073741824")}),
            [],
            id="set, and spelled otherwise by the mons",
        ),
        pytest.param(
            {"osd": {"osd_memory_target": "2G"}},
            state({SIZE: "1073741824"}, {SIZE: ("1G", "1073741824")}),
            ["setting osd osd_memory_target: SetConfig"],
            id="changed in the spec",
        ),
        pytest.param(
            {"osd": {"osd_memory_target": "1G"}},
            state({SIZE: "5"}, {SIZE: ("1G", "1073741824")}),
            ["setting osd osd_memory_target: SetConfig"],
            id="changed behind our back",
        ),
        pytest.param(
            {"osd": {"osd_memory_target": "1G"}},
            state({}, {SIZE: ("1G", "1073741824")}),
            ["setting osd osd_memory_target: SetConfig"],
            id="unset behind our back",
        ),
        pytest.param(
            {},
            state({SIZE: "1073741824"}, {SIZE: ("1G", "1073741824")}),
            ["setting osd osd_memory_target: UnsetConfig"],
            id="left the spec",
        ),
        pytest.param({}, state({SIZE: "5"}, {}), [], id="somebody else's"),
        pytest.param(
            {"osd": {"osd memory-target": "1G"}},
            state({SIZE: "1073741824"}, {SIZE: ("1G", "1073741824")}),
            [],
            id="spelled otherwise by the user",
        ),
    ],
)
def test_what_is_set_and_unset(config: dict[str, dict[str, str]], found: ConfigState, steps: list[str]) -> None:
    assert told(analyze(a_cluster_with(config), found, {})) == steps


def test_nothing_is_planned_while_the_mons_do_not_answer() -> None:
    assert analyze(a_cluster_with({"osd": {"osd_memory_target": "1G"}}), None, {}) == ()


def test_the_spec_goes_before_secrets_and_both_before_defaults() -> None:
    cluster = a_cluster_with({"global": {"mon_allow_pool_delete": "false", "a": "spec"}})
    settings = desired(cluster, {("global", "a"): "secret", ("global", "b"): "secret"})
    assert settings["global", "mon_allow_pool_delete"] == "false"
    assert (settings["global", "a"], settings["global", "b"]) == ("spec", "secret")


def test_a_secret_value_is_shown_nowhere() -> None:
    (step,) = analyze(a_cluster(), state({}, {}), {("client.rgw", "key"): "hush"})
    assert "hush" not in step.reason
    assert "hush" not in repr(step.action)


def test_encryption_is_a_setting() -> None:
    cluster = a_cluster({"network": {"connections": {"encryption": {"enabled": True}}}})
    assert desired(cluster, {})["global", "ms_client_mode"] == "secure"


def test_a_state_is_read_from_the_mons_answers() -> None:
    dump = [
        {"section": "osd", "name": "osd_memory_target", "value": "1073741824", "mask": ""},
        {"section": "osd", "name": "osd_max_backfills", "value": "3", "mask": "class:hdd"},
    ]
    record = {"who": "osd", "name": "osd_memory_target", "asked": digest("1G"), "stored": digest("1073741824")}
    keys = {"rook/config/osd/osd_memory_target": json.dumps(record)}
    assert ConfigState.parse(dump, parse(keys)) == ConfigState(
        {SIZE: "1073741824", ("osd/class:hdd", "osd_max_backfills"): "3"},
        {SIZE: Owned(digest("1G"), digest("1073741824"))},
    )


async def test_a_setting_that_was_made_needs_no_second_one() -> None:
    ceph = FakeCeph()

    def spelled_as_mons_do(who: str, name: str, value: str) -> None:
        ceph.answers["config dump"] = [{"section": who, "name": name, "value": "1073741824", "mask": ""}]

    ceph.answers["config set"] = spelled_as_mons_do
    await handlers(ceph, OWNED_PREFIX)[SetConfig](SetConfig("osd", "osd_memory_target", "1G"))
    (record,) = [call for call in ceph.asked if call[0] == "config-key set"]
    found = ConfigState.parse(ceph.answers["config dump"], parse({record[1]["key"]: record[1]["val"]}))
    cluster = a_cluster_with({"osd": {"osd_memory_target": "1G"}})
    defaults = state({}, {})
    both = ConfigState({**defaults.values, **found.values}, {**defaults.owned, **found.owned})
    assert analyze(cluster, both, {}) == ()


async def test_an_unset_setting_is_forgotten() -> None:
    ceph = FakeCeph()
    await handlers(ceph, OWNED_PREFIX)[UnsetConfig](UnsetConfig("osd", "osd_memory_target"))
    assert ceph.asked == [
        ("config rm", {"who": "osd", "name": "osd_memory_target"}),
        ("config-key rm", {"key": "rook/config/osd/osd_memory_target"}),
    ]


def test_the_users_override_is_never_written_over() -> None:
    cluster = a_cluster()
    (step,) = override_steps(owner_of(cluster), {})
    assert step.title == "Create"
    mine = {"kind": "ConfigMap", "metadata": {"name": "rook-config-override"}, "data": {"config": "[global]"}}
    assert override_steps(owner_of(cluster), live_objects(mine)) == ()


async def test_a_secret_that_the_mons_refuse_is_not_told() -> None:
    ceph = FakeCeph({"config set": CephError(22, "error parsing value: 'hunter2' is no integer")})
    (step,) = analyze(a_cluster(), state({}, {}), {("global", "rgw_port"): "hunter2"})
    assert isinstance(step.action, SetConfig)
    with pytest.raises(CephError, match="rgw_port cannot be set to its Secret's value") as refused:
        await handlers(ceph, OWNED_PREFIX)[SetConfig](step.action)
    assert "hunter2" not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(CephError, match="hunter2"):
        await handlers(ceph, OWNED_PREFIX)[SetConfig](SetConfig("global", "rgw_port", "hunter2"))
