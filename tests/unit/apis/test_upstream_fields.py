"""Every field that upstream's CRDs have is in ours, with the same type and the same constraints.

`upstream_fields.json` lists the facts: path, type and constraints, of rook/rook at d0c3b9ce (August 2026).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from controller.apis.ceph import (
    CephBlockPool,
    CephBlockPoolRadosNamespace,
    CephBucketNotification,
    CephBucketTopic,
    CephClient,
    CephCluster,
    CephCOSIDriver,
    CephFilesystem,
    CephFilesystemMirror,
    CephFilesystemSubVolumeGroup,
    CephNFS,
    CephNVMeOFGateway,
    CephObjectRealm,
    CephObjectStore,
    CephObjectStoreAccount,
    CephObjectStoreUser,
    CephObjectZone,
    CephObjectZoneGroup,
    CephRBDMirror,
)
from controller.apis.objectbucket import ObjectBucket, ObjectBucketClaim
from controller.apis.schema import schema_of

FACTS: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).with_name("upstream_fields.json").read_text(encoding="utf-8")
)
TYPES = {
    "CephCluster": CephCluster,
    "CephBlockPool": CephBlockPool,
    "CephBlockPoolRadosNamespace": CephBlockPoolRadosNamespace,
    "CephBucketNotification": CephBucketNotification,
    "CephBucketTopic": CephBucketTopic,
    "CephClient": CephClient,
    "CephFilesystem": CephFilesystem,
    "CephFilesystemSubVolumeGroup": CephFilesystemSubVolumeGroup,
    "CephObjectRealm": CephObjectRealm,
    "CephObjectStoreAccount": CephObjectStoreAccount,
    "CephObjectStoreUser": CephObjectStoreUser,
    "CephNFS": CephNFS,
    "CephNVMeOFGateway": CephNVMeOFGateway,
    "CephObjectStore": CephObjectStore,
    "CephObjectZone": CephObjectZone,
    "CephObjectZoneGroup": CephObjectZoneGroup,
    "CephCOSIDriver": CephCOSIDriver,
    "CephFilesystemMirror": CephFilesystemMirror,
    "CephRBDMirror": CephRBDMirror,
    "ObjectBucket": ObjectBucket,
    "ObjectBucketClaim": ObjectBucketClaim,
}

CONSTRAINTS = (
    "nullable",
    "enum",
    "default",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "pattern",
    "format",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type",
)

STRICTER: dict[str, dict[str, Any]] = {
    # metav1.Condition as Kubernetes wants it: a map by type, so that several writers can each apply their own.
    "status.conditions": {"x-kubernetes-list-type": "map"},
    "status.conditions[].type": {"required": True},
    "status.conditions[].status": {"required": True, "enum": ["True", "False", "Unknown"]},
    # Upstream spells a whole Kubernetes probe out here; we take any field.
    "spec.healthCheck.livenessProbe.*.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.healthCheck.startupProbe.*.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.metadataServer.livenessProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.metadataServer.startupProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.livenessProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.server.livenessProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    # And whole Kubernetes types here.
    "spec.security.kerberos.configFiles.volumeSource": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.security.kerberos.keytabFile.volumeSource": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.security.sssd.sidecar.sssdConfigFile.volumeSource": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.security.sssd.sidecar.additionalFiles[].volumeSource": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.security.sssd.sidecar.resources": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.healthCheck.readinessProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.healthCheck.startupProbe.probe": {"x-kubernetes-preserve-unknown-fields": True},
    # And whole resources and a whole Kubernetes volume here.
    "spec.placement": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.resources": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.gateway.opsLogSidecar.resources": {"x-kubernetes-preserve-unknown-fields": True},
    "spec.gateway.additionalVolumeMounts[].volumeSource": {"x-kubernetes-preserve-unknown-fields": True},
    "CephCOSIDriver spec.placement": {"x-kubernetes-preserve-unknown-fields": True},
    "CephCOSIDriver spec.resources": {"x-kubernetes-preserve-unknown-fields": True},
    **{
        f"CephFilesystemMirror {path}": {"x-kubernetes-preserve-unknown-fields": True}
        for path in ("spec.placement", "spec.resources", "spec.annotations", "spec.labels", "status")
    },
    # Upstream's code reads no other values.
    "ObjectBucket spec.additionalState": {"type": "map<string,string>"},
}
"""By path, or by kind and path."""

MORE_RULES = {
    "spec": [
        (
            "(has(self.external) && has(self.external.enable) && self.external.enable) || "
            "(has(self.cephVersion) && has(self.cephVersion.image) && size(self.cephVersion.image) > 0)"
        )
    ],
    "spec.mon": ["!has(self.count) || self.count > 0"],
}
"""Beside upstream's: what they refuse, no cluster can have."""

OURS = (
    # Spelled out, so that the API server refuses what is no quantity.
    "spec.resources.*.",
    "spec.resources.limits",
    "spec.resources.requests",
    "spec.claimRef.",
    "spec.storage.nodes[].resources.",
    "spec.storage.storageClassDeviceSets[].resources.",
    "spec.metadataServer.resources.",
    "spec.server.resources.",
    "spec.resources.limits",
    "spec.resources.requests",
    "spec.resources.claims",
    "spec.security.sssd.sidecar.resources.",
    "spec.gateway.resources.",
    "spec.gateway.opsLogSidecar.resources.",
    # What is mirrored, which upstream leaves to commands of Ceph.
    "spec.mirroring.directories",
    "status.plan",
    "status.metadataServers",
    "status.mdsUpgrade",
    "status.timers",
    "status.keyRotation",
    "status.digest",
    "status.buckets",
    "status.devices",
    "status.id",
    "status.isMaster",
    "status.master",
    "status.metadataSync",
    "status.dataSync",
    "status.endpoints",
    "status.grace",
    "status.gateways",
    "status.subsystems",
    "status.namespaces",
    "status.conditions[].observedGeneration",
    "spec.cephConfigFromSecret.*.*.",
    # Of 2018; upstream has them no more.
    "spec.gateway.type",
    "spec.gateway.allNodes",
)


def type_name(schema: dict[str, Any]) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        return "int-or-string"
    if "items" in schema:
        return f"[]{type_name(schema['items'])}"
    if "additionalProperties" in schema:
        return f"map<string,{type_name(schema['additionalProperties'])}>"
    return str(schema["type"])


def facts_of(schema: dict[str, Any], path: str, *, required: bool = False) -> dict[str, dict[str, Any]]:
    """The facts of a field and of all fields below it, by path."""
    fact: dict[str, Any] = {"type": type_name(schema)} | {k: schema[k] for k in CONSTRAINTS if k in schema}
    if required:
        fact["required"] = True
    if "enum" in schema.get("items", {}):
        fact["itemsEnum"] = schema["items"]["enum"]
    if rules := schema.get("x-kubernetes-validations"):
        fact["rules"] = [rule["rule"] for rule in rules]
    found = {path: fact}
    below = path
    while "properties" not in schema and ("items" in schema or "additionalProperties" in schema):
        schema, below = (
            (schema["items"], f"{below}[]") if "items" in schema else (schema["additionalProperties"], f"{below}.*")
        )
    for name, child in schema.get("properties", {}).items():
        found |= facts_of(child, f"{below}.{name}", required=name in schema.get("required", ()))
    return found


@pytest.fixture(params=TYPES)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def ours(kind: str) -> dict[str, dict[str, Any]]:
    properties = schema_of(TYPES[kind])["properties"]
    return facts_of(properties["spec"], "spec") | facts_of(properties["status"], "status")


def test_has_every_upstream_field_with_its_type_and_constraints(kind: str, ours: dict[str, dict[str, Any]]) -> None:
    wanted = {
        path: {key: value for key, value in fact.items() if key != "path"}
        | STRICTER.get(path, {})
        | STRICTER.get(f"{kind} {path}", {})
        for fact in FACTS[kind]
        for path in [fact["path"]]
    }

    for path, rules in MORE_RULES.items():
        if path == "spec" and kind != "CephCluster":
            continue
        if path in wanted:
            wanted[path]["rules"] = [*rules, *wanted[path].get("rules", ())]

    assert {path: ours.get(path) for path in wanted} == wanted


def test_has_no_other_fields_than_upstreams_and_the_named_ones(kind: str, ours: dict[str, dict[str, Any]]) -> None:
    listed = {fact["path"] for fact in FACTS[kind]}
    # Every kind of ours has both; some of upstream's lack one.
    own = ("status.conditions", "status.observedGeneration", "status.phase")
    more = tuple(path for path in own if path not in listed) if "status" in listed else ("status",)

    assert [path for path in ours if path not in listed and not path.startswith((*OURS, *more))] == []


def test_every_rule_says_what_is_wrong(kind: str) -> None:
    def rules(schema: Any) -> list[dict[str, str]]:
        if isinstance(schema, list):
            return [rule for item in schema for rule in rules(item)]
        if not isinstance(schema, dict):
            return []
        return [*schema.get("x-kubernetes-validations", []), *(r for child in schema.values() for r in rules(child))]

    assert all(rule["rule"] and rule["message"] for rule in rules(schema_of(TYPES[kind])))


def test_every_field_is_described(kind: str) -> None:
    def undescribed(schema: dict[str, Any], path: str) -> list[str]:
        while "properties" not in schema and ("items" in schema or "additionalProperties" in schema):
            schema = schema.get("items") or schema["additionalProperties"]
        found = []
        for name, child in schema.get("properties", {}).items():
            if not child.get("description"):
                found.append(f"{path}.{name}")
            found += undescribed(child, f"{path}.{name}")
        return found

    properties = schema_of(TYPES[kind])["properties"]
    assert [path for part in ("spec", "status") for path in undescribed(properties[part], part)] == []
