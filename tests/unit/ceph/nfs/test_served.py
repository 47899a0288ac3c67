"""Every field that is named as served brings something about: another pod, another Service, another configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.apis.ceph import CephNFSSpec
from controller.apis.ceph.served import NFS
from controller.apis.schema import schema_of
from controller.ceph.nfs.analyze import analyze
from tests.unit.ceph.fields import dotted, samples, served_leaves, with_value
from tests.unit.ceph.nfs.test_objects import SECURITY
from tests.unit.ceph.nfs_servers import PLAIN, READY, a_context, a_nfs, nothing

if TYPE_CHECKING:
    from informers import JsonObject
    from tests.unit.ceph.fields import Path

LEAVES = list(served_leaves(NFS, schema_of(CephNFSSpec)))
VOLUME = {"configMap": {"name": "another"}}
VALUES: dict[str, Any] = {
    "server.active": 3,
    "server.placement": {"tolerations": [{"key": "x", "operator": "Exists"}]},
    "server.livenessProbe.probe": {"periodSeconds": 33},
    "server.hostNetwork": True,
    "server.imagePullPolicy": "Always",
    "server.logLevel": "NIV_DEBUG",
    "security.sssd.sidecar.additionalFiles[].subPath": "another",
    **{
        f"security.{path}.volumeSource": VOLUME
        for path in (
            "kerberos.configFiles",
            "kerberos.keytabFile",
            "sssd.sidecar.sssdConfigFile",
            "sssd.sidecar.additionalFiles[]",
        )
    },
}


def looked(spec: JsonObject) -> Any:
    nfs = a_nfs(spec)
    return analyze(nfs, nothing(context=a_context(nfs), **READY)).steps


@pytest.mark.parametrize(("path", "schema"), LEAVES, ids=[dotted(path) for path, _ in LEAVES])
def test_what_is_served_brings_something_about(path: Path, schema: JsonObject) -> None:
    values = [VALUES[dotted(path)]] if dotted(path) in VALUES else samples(schema)
    base = {**PLAIN, "security": SECURITY} if path[0] == "security" else PLAIN
    assert any(looked(with_value(base, path, value)) != looked(base) for value in values), values
