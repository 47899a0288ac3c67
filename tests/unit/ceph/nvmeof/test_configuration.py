"""The configuration of gateways: from fields of the spec to settings and ports, by tables."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from controller.apis.ceph import CephNVMeOFGatewaySpec
from controller.ceph.nvmeof.configuration import DEFAULTS, Settings, parse, ports, render, settings
from tests.unit.ceph.nvmeof_gateways import PLAIN

OURS = {"gateway": "gw", "group": "group-a", "user": "nvmeof.my-gw.a"}


def of(spec: dict[str, Any], base: Settings | None = None, *, ipv6: bool = False) -> tuple[Settings, list[int | str]]:
    """What a gateway of this spec reads, and its ports: io, gateway, monitor, discovery."""
    typed = msgspec.convert({**PLAIN, **spec}, CephNVMeOFGatewaySpec)
    found = settings(typed, base, ipv6=ipv6)
    return parse(render(found, **OURS)), list(ports(typed, found).named().values())


@pytest.mark.parametrize(
    ("spec", "changed", "listens"),
    [
        ({}, {}, [4420, 5500, 5499, 8009]),
        ({"ports": {"ioPort": 4421}}, {}, [4421, 5500, 5499, 8009]),
        (
            {"ports": {"gatewayPort": 6000}},
            {("gateway", "port"): "6000", ("monitor", "port"): "5999"},
            [4420, 6000, 5999, 8009],
        ),
        ({"ports": {"discoveryPort": 8010}}, {("discovery", "port"): "8010"}, [4420, 5500, 5499, 8010]),
        ({"ports": {"monitorPort": 7000}}, {}, [4420, 5500, 5499, 8009]),
        (
            {"nvmeofConfig": {"gateway": {"port": "6000"}, "discovery": {"PORT": "8011"}}},
            {("gateway", "port"): "6000", ("monitor", "port"): "5999", ("discovery", "port"): "8011"},
            [4420, 6000, 5999, 8011],
        ),
        (
            {
                "nvmeofConfig": {
                    "spdk": {"mem_size": "8192", "tgt_cmd_extra_args": "-m 0x3 -L all"},
                    "new": {"x": "50%"},
                }
            },
            {("spdk", "mem_size"): "8192", ("spdk", "tgt_cmd_extra_args"): "-m 0x3 -L all", ("new", "x"): "50%"},
            [4420, 5500, 5499, 8009],
        ),
        (
            {"nvmeofConfig": {"gateway": {"enable_auth": "True"}, "mtls": {"server_key": "/certs/key"}}},
            {("gateway", "enable_auth"): "True", ("mtls", "server_key"): "/certs/key"},
            [4420, 5500, 5499, 8009],
        ),
        (
            {"nvmeofConfig": {"gateway": {"name": "x", "group": "y"}, "ceph": {"pool": "p", "id": "admin"}}},
            {},
            [4420, 5500, 5499, 8009],
        ),
        (
            {"resources": {"limits": {"hugepages-2Mi": "4Gi", "memory": "2Gi"}}},
            {("spdk", "mem_size"): None},
            [4420, 5500, 5499, 8009],
        ),
        ({"resources": {"limits": {"memory": "8Gi"}}}, {}, [4420, 5500, 5499, 8009]),
    ],
)
def test_what_each_field_changes(spec: dict[str, Any], changed: dict[Any, str | None], listens: list[int]) -> None:
    found, at = of(spec)
    plain, _ = of({})
    expected = {(section, name): value for section, values in plain.items() for name, value in values.items()}
    expected |= {setting: value for setting, value in changed.items() if value is not None}
    for setting in [setting for setting, value in changed.items() if value is None]:
        del expected[setting]
    assert {(section, name): value for section, values in found.items() for name, value in values.items()} == expected
    assert at == listens


def test_defaults() -> None:
    found, _ = of({})
    assert found["gateway"].items() >= {"name": "gw", "group": "group-a", "addr": "@@POD_IP@@", "port": "5500"}.items()
    assert found["ceph"] == {"pool": ".nvmeof", "id": "nvmeof.my-gw.a", "config_file": "/etc/ceph/ceph.conf"}
    assert found["discovery"] == {"addr": "0.0.0.0", "port": "8009"}  # noqa: S104  # of the pod
    assert found["monitor"] == {"port": "5499"}
    assert found["spdk"]["mem_size"] == "4096"
    assert set(found) == set(DEFAULTS) | {"monitor"}


def test_of_ipv6() -> None:
    assert of({}, ipv6=True)[0]["discovery"]["addr"] == "::"


MINE = """\
[gateway]
name = @@POD_NAME@@
group = @@ANA_GROUP@@
addr = @@POD_IP@@
port = 5600
[ceph]
pool = nvmeof
id = admin
[spdk]
log_level = debug
greeting = @@POD_NAME@@ of @@ANA_GROUP@@
"""


def test_a_file_of_the_users_takes_the_place_of_the_defaults() -> None:
    found, at = of({"ports": {"discoveryPort": 8010}, "nvmeofConfig": {"spdk": {"log_level": "warn"}}}, parse(MINE))
    assert found == {
        "gateway": {"name": "gw", "group": "group-a", "addr": "@@POD_IP@@", "port": "5600"},
        "ceph": {"pool": ".nvmeof", "id": "nvmeof.my-gw.a"},
        "spdk": {"log_level": "warn", "greeting": "gw of group-a"},
        "discovery": {"port": "8010"},
        "monitor": {"port": "5599"},
    }
    assert at == [4420, 5600, 5599, 8010]


@pytest.mark.parametrize("text", ["x = 1", "[gateway]\nno setting\n", "[a]\n[a]\n"])
def test_what_is_no_file_of_settings(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(text)


WORDS = st.text("abcdefgh_", min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=12)


@hypothesis(max_examples=30, deadline=None)
@given(st.dictionaries(st.sampled_from(["gateway", "spdk", "ceph", "more"]), st.dictionaries(WORDS, VALUES)))
def test_whatever_the_user_sets_is_read_and_what_is_ours_stays(config: dict[str, dict[str, str]]) -> None:
    found, _ = of({"nvmeofConfig": config})
    ours = {("gateway", "name"): "gw", ("gateway", "group"): "group-a", ("ceph", "pool"): ".nvmeof"}
    for (section, name), value in ours.items():
        assert found[section][name] == value
    for section, values in config.items():
        for name, value in values.items():
            if (section, name) not in {*ours, ("ceph", "id")} and "@@" not in value:
                assert found[section][name] == value.strip()
