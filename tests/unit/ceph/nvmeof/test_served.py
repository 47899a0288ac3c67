"""Every field that is named as served brings something about: another pod, another Service, another configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.apis.ceph import CephNVMeOFGatewaySpec
from controller.apis.ceph.served import NVMEOF_GATEWAY
from controller.apis.schema import schema_of
from controller.ceph.nvmeof.analyze import analyze
from tests.unit.ceph.fields import dotted, samples, served_leaves, with_value
from tests.unit.ceph.nvmeof_gateways import GROUP, IMAGE, PLAIN, a_context, a_gateway, nothing

if TYPE_CHECKING:
    from informers import JsonObject
    from tests.unit.ceph.fields import Path

LEAVES = list(served_leaves(NVMEOF_GATEWAY, schema_of(CephNVMeOFGatewaySpec)))
VALUES: dict[str, Any] = {
    "group": "group-b",
    "instances": 3,
    "placement": {"tolerations": [{"key": "x", "operator": "Exists"}]},
    "hostNetwork": True,
    "livenessProbe.probe": {"periodSeconds": 33},
}


def looked(spec: JsonObject) -> Any:
    gateway = a_gateway(spec)
    name = gateway.spec.config_map_ref
    seen = nothing(
        context=a_context(gateway),
        image=gateway.spec.image or IMAGE,
        group_name=gateway.spec.group or GROUP,
        base={"gateway": {"log_level": "debug"}} if name else None,
    )
    return analyze(gateway, seen).steps


@pytest.mark.parametrize(("path", "schema"), LEAVES, ids=[dotted(path) for path, _ in LEAVES])
def test_what_is_served_brings_something_about(path: Path, schema: JsonObject) -> None:
    values = [VALUES[dotted(path)]] if dotted(path) in VALUES else samples(schema)
    assert any(looked(with_value(PLAIN, path, value)) != looked(PLAIN) for value in values), values
