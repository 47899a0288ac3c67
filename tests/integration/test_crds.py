"""The CustomResourceDefinitions on a real API server: what it accepts, refuses, fills in and keeps."""

import copy
from typing import Any

import msgspec
import pytest
import yaml

from controller.apis.cassandra import CASSANDRA_CLUSTER, CASSANDRA_OPERATION, CASSANDRA_OPERATION_SCHEDULE
from controller.apis.ceph import (
    CEPH_BLOCK_POOL,
    CEPH_BLOCK_POOL_RADOS_NAMESPACE,
    CEPH_BUCKET_NOTIFICATION,
    CEPH_BUCKET_TOPIC,
    CEPH_CLIENT,
    CEPH_CLUSTER,
    CEPH_COSI_DRIVER,
    CEPH_FILESYSTEM,
    CEPH_FILESYSTEM_SUBVOLUME_GROUP,
    CEPH_NFS,
    CEPH_NVMEOF_GATEWAY,
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_STORE_ACCOUNT,
    CEPH_OBJECT_STORE_USER,
    CEPH_OBJECT_ZONE,
    CEPH_OBJECT_ZONE_GROUP,
    CEPH_RBD_MIRROR,
    CephCluster,
)
from controller.apis.ceph.v1beta1 import CEPH_V1BETA1_CLUSTER, Cluster, to_v1
from controller.apis.meta import JsonObject, Kind
from controller.apis.objectbucket import OBJECT_BUCKET_CLAIM
from controller.apis.registry import KINDS
from controller.apis.schema import schema_of
from controller.ceph.mgr.objects import mgr_deployment
from controller.ceph.pods import Daemon, Release, context_of
from controller.ceph.releases import CephVersion
from controller.runtime.kube import DEPLOYMENT
from informers import ApiError, Client
from tests.integration import samples
from tests.integration.crds import APPLY, CRD, NAMESPACE, ROOT, resource

EXAMPLES = ROOT / "manifests/examples/ceph"
pytestmark = pytest.mark.usefixtures("crds")


def valid(kind: Kind, spec: JsonObject) -> JsonObject:
    """The spec, with what an object of the kind cannot be without."""
    return NEEDED.get(kind, {}) | spec


NEEDED: dict[Kind, JsonObject] = {
    CEPH_CLUSTER: {"cephVersion": {"image": "ceph"}},
    CEPH_FILESYSTEM: {"metadataPool": None, "dataPools": None, "metadataServer": {"activeCount": 1}},
    CEPH_FILESYSTEM_SUBVOLUME_GROUP: {"filesystemName": "myfs"},
    CEPH_BLOCK_POOL_RADOS_NAMESPACE: {"blockPoolName": "replicapool"},
    CEPH_CLIENT: {"caps": {"mon": "allow r"}},
    CEPH_OBJECT_STORE_ACCOUNT: {"store": "my-store"},
    CEPH_OBJECT_ZONE_GROUP: {"realm": "realm"},
    CEPH_OBJECT_ZONE: {"zoneGroup": "group"},
    CEPH_BUCKET_TOPIC: {"objectStoreName": "my-store", "objectStoreNamespace": "rook-ceph", "endpoint": {}},
    CEPH_BUCKET_NOTIFICATION: {"topic": "my-topic"},
    CEPH_NFS: {"server": {"active": 1}},
    CEPH_NVMEOF_GATEWAY: {"group": "group-a", "instances": 1},
    CEPH_RBD_MIRROR: {"count": 1},
}


async def try_out(client: Client, kind: Kind, name: str, spec: JsonObject) -> JsonObject:
    """What would be stored for a new object; an unknown field is an error as with `kubectl apply --validate=strict`."""
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}
    body = await client.request(
        "POST", resource(kind).path(NAMESPACE), body=obj, params={"fieldValidation": "Strict", "dryRun": "All"}
    )
    return _decoded(body)


async def store(client: Client, kind: Kind, name: str, spec: JsonObject) -> JsonObject:
    """Makes the object have this spec, whether it is there or not."""
    obj = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name}, "spec": spec}
    body = await client.request(
        "PATCH",
        resource(kind).path(NAMESPACE, name),
        body=obj,
        params={"fieldManager": "test", "fieldValidation": "Strict", "force": "true"},
        content_type=APPLY,
    )
    return _decoded(body)


def _decoded(body: bytes) -> JsonObject:
    decoded: JsonObject = msgspec.json.decode(body)
    return decoded


def documents(name: str) -> list[JsonObject]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


OURS = [
    (path.name, document)
    for path in sorted(EXAMPLES.glob("*.yaml"))
    for document in documents(path.name)
    if document["apiVersion"].startswith(("ceph.rook.io/", "objectbucket.io/"))
]
KIND_OF = {(kind.api_version, kind.kind): kind for kind in KINDS}


async def test_the_crds_are_established(client: Client) -> None:
    for kind in KINDS:
        stored = await client.get(CRD, "", kind.crd_name)
        conditions = {c["type"]: (c["status"], c["message"]) for c in stored["status"]["conditions"]}

        assert conditions["Established"][0] == "True"
        assert "NonStructuralSchema" not in conditions, conditions["NonStructuralSchema"]
        assert stored["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


@pytest.mark.parametrize(("name", "document"), OURS, ids=[name for name, _ in OURS])
async def test_accepts_the_examples(client: Client, name: str, document: JsonObject) -> None:
    kind, spec = KIND_OF[document["apiVersion"], document["kind"]], document.get("spec", {})  # a realm needs none

    created = await try_out(client, kind, name.removesuffix(".yaml"), spec)

    assert created["spec"] == spec


SPECIAL: dict[str, Any] = {
    ".mon.count": 9,
    ".mon.stretchCluster.zones": [{"name": name, "arbiter": name == "c"} for name in "abc"],
    ".network.hostNetwork": False,
    ".healthCheck.muteHealthWarning": {"MON_CLOCK_SKEW": {"policy": "mute"}},
    ".erasureCoded.stripeUnit": "64Ki",
    ".pinning": {"export": 1},
    ".accountID": "RGW00889737169837717",
    ".pull.endpoint": "http://10.103.133.16:80",
    ".defaultRealm": False,
}


SAMPLED = (
    CEPH_CLUSTER,
    CEPH_BLOCK_POOL,
    CEPH_FILESYSTEM,
    CEPH_FILESYSTEM_SUBVOLUME_GROUP,
    CEPH_CLIENT,
    CEPH_BLOCK_POOL_RADOS_NAMESPACE,
    CEPH_OBJECT_STORE,
    CEPH_OBJECT_STORE_USER,
    CEPH_OBJECT_STORE_ACCOUNT,
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_ZONE_GROUP,
    CEPH_OBJECT_ZONE,
    CEPH_BUCKET_TOPIC,
    CEPH_BUCKET_NOTIFICATION,
    CEPH_COSI_DRIVER,
    CEPH_NFS,
    CEPH_NVMEOF_GATEWAY,
    CEPH_RBD_MIRROR,
    OBJECT_BUCKET_CLAIM,
)


WITHOUT_NULLS = (
    CEPH_CLIENT,
    CEPH_BLOCK_POOL_RADOS_NAMESPACE,
    CEPH_OBJECT_STORE_ACCOUNT,
    CEPH_OBJECT_REALM,
    CEPH_OBJECT_ZONE_GROUP,
    CEPH_BUCKET_TOPIC,
    CEPH_BUCKET_NOTIFICATION,
)
"""Kinds of which no field may be null."""


@pytest.mark.parametrize("kind", SAMPLED, ids=[kind.kind for kind in SAMPLED])
class TestEveryField:
    async def test_of_the_spec_is_kept(self, client: Client, kind: Kind) -> None:
        struct: Any = KINDS[kind]
        spec = samples.full(schema_of(struct)["properties"]["spec"], SPECIAL)

        created = await try_out(client, kind, "full", spec)

        assert created["spec"] == spec
        assert msgspec.convert(created, struct).spec != struct().spec

    async def test_of_the_status_is_kept(self, client: Client, kind: Kind) -> None:
        status = samples.full(schema_of(KINDS[kind])["properties"]["status"], {})
        stored = await store(client, kind, "status", valid(kind, {}))

        body = await client.request(
            "PUT", resource(kind).path(NAMESPACE, "status", "status"), body=stored | {"status": status}
        )

        assert _decoded(body)["status"] == status

    async def test_that_is_nullable_may_be_null(self, client: Client, kind: Kind) -> None:
        spec = samples.nulls(schema_of(KINDS[kind])["properties"]["spec"]) or {}
        assert bool(spec) == (kind not in WITHOUT_NULLS)
        # Every other cluster needs an image of Ceph's.
        spec |= {"external": {"enable": True}} if kind is CEPH_CLUSTER else {}
        spec = NEEDED.get(kind, {}) | spec if kind not in (CEPH_CLUSTER, CEPH_FILESYSTEM) else spec

        created = await try_out(client, kind, "nulls", spec)

        assert spec.items() <= created["spec"].items()
        msgspec.convert(created, KINDS[kind])


ERASURE_CODED = {"dataChunks": 2, "codingChunks": 1}

REFUSED: list[tuple[Kind, JsonObject, str]] = [
    (CEPH_CLUSTER, {"mon": {"count": 10}}, "spec.mon.count"),
    (CEPH_CLUSTER, {"mon": {"count": 0}}, "mon.count must be at least 1"),
    (CEPH_CLUSTER, {"cephVersion": None}, "cephVersion.image must name"),
    (CEPH_CLUSTER, {"cephVersion": {"image": ""}}, "cephVersion.image must"),
    (CEPH_CLUSTER, {"resources": {"mon": {"limits": {"memory": "4Gb"}}}}, "spec.resources.mon.limits.memory"),
    (CEPH_CLUSTER, {"storage": {"nodes": [{"deviceFilter": "^sd"}]}}, "needs its name"),
    (CEPH_CLUSTER, {"mon": {"count": 1, "zones": [{"name": "a"}, {"name": "b"}]}}, "mon.zones cannot name more"),
    (CEPH_CLUSTER, {"mon": {"stretchCluster": {"zones": [{"name": "a"}]}}}, "exactly 3 zones"),
    (CEPH_CLUSTER, {"mgr": {"count": 6}}, "spec.mgr.count"),
    (CEPH_CLUSTER, {"mgr": {"modules": [{"settings": {"balancerMode": "fast"}}]}}, "balancerMode"),
    (CEPH_CLUSTER, {"dataDirHostPath": "var/lib/rook"}, "spec.dataDirHostPath"),
    (CEPH_CLUSTER, {"cephVersion": {"imagePullPolicy": "Sometimes"}}, "spec.cephVersion.imagePullPolicy"),
    (CEPH_CLUSTER, {"cleanupPolicy": {"confirmation": "yes"}}, "spec.cleanupPolicy.confirmation"),
    (CEPH_CLUSTER, {"storage": {"store": {"type": "filestore"}}}, "spec.storage.store.type"),
    (CEPH_CLUSTER, {"storage": {"fullRatio": 2}}, "spec.storage.fullRatio"),
    (CEPH_CLUSTER, {"storage": {"storageClassDeviceSets": [{"name": "a", "count": 1}]}}, "volumeClaimTemplates"),
    (CEPH_CLUSTER, {"storage": {"useAllDevicez": True}}, "spec.storage.useAllDevicez"),
    (CEPH_CLUSTER, {"network": {"provider": "multus"}}, "network.selectors must name a network"),
    (CEPH_CLUSTER, {"network": {"provider": "host", "hostNetwork": True}}, "exclude each other"),
    (CEPH_CLUSTER, {"healthCheck": {"muteHealthWarning": {"slow": {"policy": "mute"}}}}, "Ceph's health codes"),
    (CEPH_CLUSTER, {"security": {"cephx": {"allowedCiphers": ["aes", "aes"]}}}, "allowedCiphers"),
    (CEPH_CLUSTER, {"logCollector": {"maxLogSize": "big"}}, "spec.logCollector.maxLogSize"),
    (CEPH_CLUSTER, {"cephConfig": {"global": {"osd_pool_default_size": 3}}}, "osd_pool_default_size"),
    (CEPH_BLOCK_POOL, {"replicated": {}}, "spec.replicated.size"),
    (CEPH_BLOCK_POOL, {"erasureCoded": {"dataChunks": 2}}, "spec.erasureCoded.codingChunks"),
    (CEPH_BLOCK_POOL, {"erasureCoded": ERASURE_CODED | {"crushNumFailureDomains": 2}}, "set both or none"),
    (CEPH_BLOCK_POOL, {"erasureCoded": ERASURE_CODED | {"stripeUnit": "5Ki"}}, "spec.erasureCoded.stripeUnit"),
    (CEPH_BLOCK_POOL, {"name": "other"}, "spec.name"),
    (CEPH_BLOCK_POOL, {"quotas": {"maxSize": "ten"}}, "spec.quotas.maxSize"),
    (CEPH_BLOCK_POOL, {"compressionMode": "max"}, "spec.compressionMode"),
]


@pytest.mark.parametrize(("kind", "spec", "message"), REFUSED, ids=[message for _, _, message in REFUSED])
async def test_refuses_what_is_wrong_and_names_it(client: Client, kind: Kind, spec: JsonObject, message: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await try_out(client, kind, "wrong", valid(kind, spec))

    assert message in refusal.value.message


MISSPELT: list[tuple[JsonObject, str]] = [
    (
        {"placement": {"mgr": {"tolerations": [{"key": "x", "operator": "Exist"}]}}},
        "spec.template.spec.tolerations[0].operator",
    ),
    ({"labels": {"mgr": {"team": "a b"}}}, "spec.template.labels"),
    ({"healthCheck": {"livenessProbe": {"mgr": {"probe": {"periodSeconds": -1}}}}}, "livenessProbe.periodSeconds"),
]


@pytest.mark.parametrize(("spec", "field"), MISSPELT, ids=[field for _, field in MISSPELT])
async def test_what_is_handed_on_as_it_was_written_is_refused_with_the_object_and_the_field(
    client: Client, namespace: str, spec: JsonObject, field: str
) -> None:
    meta = {"name": "my-cluster", "namespace": namespace, "uid": "u1"}
    cluster = msgspec.convert({"metadata": meta, "spec": {"cephVersion": {"image": "i"}, **spec}}, CephCluster)
    release = Release("ceph:v18", CephVersion(18, 2, 7))
    wanted = mgr_deployment(cluster.spec.mgr, context_of(cluster, "fsid", release), Daemon(type="mgr", id="a"))
    with pytest.raises(ApiError) as refusal:
        await client.patch(
            DEPLOYMENT, namespace, "rook-ceph-mgr-a", wanted, content_type=APPLY, params={"fieldManager": "rook"}
        )
    assert 'Deployment.apps "rook-ceph-mgr-a" is invalid' in refusal.value.message
    assert field in refusal.value.message


def cephx(**daemon: Any) -> JsonObject:
    return {"security": {"cephx": {"daemon": {"keyRotationPolicy": "KeyGeneration", **daemon}}}}


REFUSED_CHANGES: list[tuple[str, JsonObject, JsonObject, str]] = [
    ("datadir", {"dataDirHostPath": "/var/lib/rook"}, {"dataDirHostPath": "/other"}, "mons keep their data there"),
    (
        "provider",
        {"network": {"provider": "host"}},
        {"network": {"provider": "multus", "selectors": {"public": "net"}}},
        "set it to the empty string before",
    ),
    ("lower", cephx(keyGeneration=3), cephx(keyGeneration=2), "can only be raised"),
    ("removed", cephx(keyGeneration=3), cephx(), "cannot be taken away"),
]


@pytest.mark.parametrize(("name", "before", "after", "message"), REFUSED_CHANGES, ids=[c[0] for c in REFUSED_CHANGES])
async def test_refuses_a_change_that_cannot_be_made(
    client: Client, name: str, before: JsonObject, after: JsonObject, message: str
) -> None:
    await store(client, CEPH_CLUSTER, f"change-{name}", valid(CEPH_CLUSTER, before))

    with pytest.raises(ApiError) as refusal:
        await store(client, CEPH_CLUSTER, f"change-{name}", valid(CEPH_CLUSTER, after))

    assert message in refusal.value.message


async def test_accepts_changes_that_can_be_made(client: Client) -> None:
    steps: list[JsonObject] = [
        {"network": {"provider": "host"}} | cephx(keyGeneration=1),
        {"network": {"provider": ""}} | cephx(keyGeneration=2),
        {"network": {"provider": "multus", "selectors": {"public": "net"}}, "dataDirHostPath": "/var/lib/rook"}
        | cephx(keyGeneration=2),
    ]
    for spec in steps:
        last = await store(client, CEPH_CLUSTER, "changes", valid(CEPH_CLUSTER, spec))

    assert last["metadata"]["generation"] == 3


def racks(*members: tuple[str, int], dc: str = "dc1", **more: Any) -> JsonObject:
    """The spec of a Cassandra cluster with these racks, each with its number of members."""
    storage = {"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]}
    found = [{"name": name, "members": count, "storage": storage} for name, count in members]
    return {"version": "5.0.3", "datacenter": {"name": dc, "racks": found}, **more}


REFUSED_CHANGES_OF_CASSANDRA: list[tuple[str, JsonObject, str]] = [
    ("datacenter", racks(("a", 2), ("b", 0), dc="dc2"), "the name of a datacenter cannot be changed"),
    ("rack", racks(("c", 2), ("b", 0)), "can be neither renamed nor removed"),
    ("tokens", racks(("a", 2), ("b", 0), numTokens=32), "numTokens is fixed when members are made"),
    ("auth", racks(("a", 2), ("b", 0), authentication={"enabled": False}), "decided when the cluster is made"),
    (
        "rotate",
        racks(("a", 2), ("b", 0), authentication={"superuserSecretName": "own", "rotate": "now"}),
        "rotate is for the Secret that the operator makes",
    ),
    ("mode", racks(("a", 2), ("b", 0), storageCompatibility="NONE"), "set UPGRADING first"),
    ("no-id", racks(("a", 2), ("b", 0), lostMembers=[{"member": "m"}]), "with its hostID, or with its claimUID"),
    ("empty-id", racks(("a", 2), ("b", 0), lostMembers=[{"member": "m", "hostID": ""}]), "with its hostID, or with"),
    (
        "two-ids",
        racks(("a", 2), ("b", 0), lostMembers=[{"member": "m", "hostID": "h", "claimUID": "c"}]),
        "with its hostID, or with its claimUID",
    ),
]


@pytest.mark.parametrize(
    ("name", "after", "message"), REFUSED_CHANGES_OF_CASSANDRA, ids=[c[0] for c in REFUSED_CHANGES_OF_CASSANDRA]
)
async def test_refuses_a_change_of_cassandra_that_cannot_be_made(
    client: Client, name: str, after: JsonObject, message: str
) -> None:
    await store(client, CASSANDRA_CLUSTER, f"change-{name}", racks(("a", 2), ("b", 0)))

    with pytest.raises(ApiError) as refusal:
        await store(client, CASSANDRA_CLUSTER, f"change-{name}", after)

    assert message in refusal.value.message


async def test_accepts_changes_of_cassandra_that_can_be_made(client: Client) -> None:
    steps = [racks(("a", 2), ("b", 0)), racks(("a", 3), ("c", 1)), racks(("c", 1), ("a", 0)), racks(("c", 1))]
    for spec in steps:
        last = await store(client, CASSANDRA_CLUSTER, "changes", spec)

    assert last["metadata"]["generation"] == len(steps)
    assert last["spec"]["numTokens"] == 16
    assert last["spec"]["authentication"] == {"enabled": True}


async def test_modes_of_files_follow_each_other(client: Client) -> None:
    for mode in ("CASSANDRA_4", "UPGRADING", "NONE", "UPGRADING"):
        await store(client, CASSANDRA_CLUSTER, "modes", racks(("a", 2), storageCompatibility=mode))
    for changes in ({"storageCompatibility": "CASSANDRA_4"}, {}):
        with pytest.raises(ApiError) as refusal:
            await store(client, CASSANDRA_CLUSTER, "modes", racks(("a", 2), **changes))
        assert "there is no way back to CASSANDRA_4" in refusal.value.message


async def test_accepts_lost_members_by_either_id(client: Client) -> None:
    lost = [{"member": "a", "hostID": "h"}, {"member": "b", "claimUID": "c"}]
    stored = await store(client, CASSANDRA_CLUSTER, "lost", racks(("a", 2), lostMembers=lost))

    assert stored["spec"]["lostMembers"] == lost


OPERATION: JsonObject = {"cluster": "ring", "deadlineSeconds": 60, "repair": {"keyspaces": ["shop"]}}
REFUSED_OPERATIONS: list[tuple[JsonObject, str]] = [
    ({"cluster": "ring"}, "set exactly one of repair, cleanup, backup and restore"),
    (OPERATION | {"cleanup": {}}, "set exactly one of repair, cleanup, backup and restore"),
    ({"repair": {}}, "spec.cluster"),
    ({"cluster": "ring", "repair": {"keyspaces": ["a; b"]}}, "spec.repair.keyspaces[0]"),
    ({"cluster": "ring", "backup": {}}, "spec.backup.destination"),
    (OPERATION | {"deadlineSeconds": 0}, "spec.deadlineSeconds"),
]


@pytest.mark.parametrize(("spec", "message"), REFUSED_OPERATIONS, ids=[str(spec) for spec, _ in REFUSED_OPERATIONS])
async def test_refuses_an_operation_that_cannot_be(client: Client, spec: JsonObject, message: str) -> None:
    with pytest.raises(ApiError) as refusal:
        await try_out(client, CASSANDRA_OPERATION, "wrong", spec)
    assert message in refusal.value.message

    with pytest.raises(ApiError) as refusal:
        await try_out(client, CASSANDRA_OPERATION_SCHEDULE, "wrong", {"schedule": "0 3 * * *", "operation": spec})
    assert message.replace("spec.", "spec.operation.") in refusal.value.message


@pytest.mark.parametrize(
    "after",
    [
        OPERATION | {"cluster": "other"},
        OPERATION | {"deadlineSeconds": 61},
        {name: value for name, value in OPERATION.items() if name != "deadlineSeconds"},
        OPERATION | {"repair": {"keyspaces": ["shop"], "incremental": True}},
        {"cluster": "ring", "deadlineSeconds": 60, "cleanup": {}},
    ],
    ids=str,
)
async def test_nothing_of_an_operation_can_be_changed_but_paused(client: Client, after: JsonObject) -> None:
    await store(client, CASSANDRA_OPERATION, "once", OPERATION)

    paused = await store(client, CASSANDRA_OPERATION, "once", OPERATION | {"paused": True})
    with pytest.raises(ApiError) as refusal:
        await client.replace(resource(CASSANDRA_OPERATION), paused | {"spec": after})

    assert paused["spec"]["paused"] is True
    assert "only paused can be changed" in refusal.value.message


async def test_the_operation_of_a_schedule_can_be_changed(client: Client) -> None:
    await store(client, CASSANDRA_OPERATION_SCHEDULE, "weekly", {"schedule": "0 3 * * 6", "operation": OPERATION})

    changed = {"schedule": "0 4 * * 6", "operation": {"cluster": "other", "cleanup": {}}}
    stored = await store(client, CASSANDRA_OPERATION_SCHEDULE, "weekly", changed)

    assert stored["spec"] == changed | {"history": {"succeeded": 3, "failed": 1}}


async def test_fills_in_upstreams_defaults_and_no_others(client: Client) -> None:
    spec: JsonObject = {
        "cephVersion": {"image": "ceph"},
        "mon": {},
        "monitoring": {"exporter": {}},
        "security": {"keyRotation": {}},
        "cephConfigFromSecret": {"global": {"option": {"key": "value"}}},
    }
    wanted = copy.deepcopy(spec)
    wanted["monitoring"]["exporter"] = {"perfCountersPrioLimit": 5, "statsPeriodSeconds": 5}
    wanted["security"]["keyRotation"] = {"enabled": False}
    wanted["cephConfigFromSecret"]["global"]["option"]["name"] = ""

    assert (await try_out(client, CEPH_CLUSTER, "defaults", spec))["spec"] == wanted


async def test_two_writers_each_keep_their_condition(client: Client) -> None:
    await store(client, CEPH_BLOCK_POOL, "conditions", {"replicated": {"size": 1}})
    for manager, condition in (("one", "Ready"), ("two", "DeletionIsBlocked")):
        await client.request(
            "PATCH",
            resource(CEPH_BLOCK_POOL).path(NAMESPACE, "conditions", "status"),
            body={
                "apiVersion": CEPH_BLOCK_POOL.api_version,
                "kind": CEPH_BLOCK_POOL.kind,
                "metadata": {"name": "conditions"},
                "status": {"conditions": [{"type": condition, "status": "True", "reason": "Because"}]},
            },
            params={"fieldManager": manager},
            content_type=APPLY,
        )

    stored = await client.get(resource(CEPH_BLOCK_POOL), NAMESPACE, "conditions")

    assert {c["type"] for c in stored["status"]["conditions"]} == {"Ready", "DeletionIsBlocked"}


async def test_the_spec_is_not_written_through_the_status_nor_the_other_way_round(client: Client) -> None:
    stored = await store(client, CEPH_BLOCK_POOL, "parts", {"replicated": {"size": 1}})
    changed = stored | {"spec": {"replicated": {"size": 2}}, "status": {"phase": "Ready"}}
    path = resource(CEPH_BLOCK_POOL).path(NAMESPACE, "parts", "status")

    written = _decoded(await client.request("PUT", path, body=changed))

    assert (written["spec"]["replicated"]["size"], written["status"]["phase"]) == (1, "Ready")
    assert written["metadata"]["generation"] == stored["metadata"]["generation"]


async def test_the_talks_cluster_becomes_a_ceph_cluster_that_is_accepted(client: Client) -> None:
    (talk,) = documents("talk-cluster.yaml")
    created = await try_out(client, CEPH_V1BETA1_CLUSTER, "talk", talk["spec"])

    converted = to_v1(msgspec.convert(created, Cluster))

    assert (await try_out(client, CEPH_CLUSTER, "talk", converted["spec"]))["spec"] == converted["spec"]
