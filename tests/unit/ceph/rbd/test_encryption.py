"""Encrypted volumes on the operator's side: KMSs, sizes, notes for the nodes, copies. Nodes do the rest."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from controller.apis.rook.encryption import DEFAULT, DEK, DEK_OF, ENCRYPTED, HEADER, METADATA, PREPARED, STATE
from controller.ceph.rbd.encryption import CONFIG_MAPS, KeyServices
from controller.runtime.kube import ConfigMap, ObjectMeta
from controller.volumes.backend import BackendError, NewVolume, Source, Volume
from tests.unit.ceph.rbd.librbd import Cluster, CrashError
from tests.unit.ceph.rbd.test_backend import ConfigMaps
from tests.unit.ceph.rbd.test_snapshots import COPY, SNAP, image, of_snapshot, operator, snapshot_handle, volume
from tests.unit.ceph.rbd.test_volumes import described
from tests.unit.ceph.volumes import UID

GIB = 1 << 30
KMS = {
    "secrets-metadata": {"encryptionKMSType": "metadata"},
    "tenants": {"encryptionKMSType": "metadata", "secretName": "storage-encryption-secret"},
    "old-vault": {"encryptionKMSType": "vault", "vaultAddress": "http://vault:8200"},
    "new-vault": {"KMS_PROVIDER": "vaulttokens"},
    "none": {},
}


class KmsConfig(ConfigMaps):
    """The cache of ConfigMaps, with one of KMSs in a namespace."""

    def __init__(self, name: str = CONFIG_MAPS[0], namespace: str = "rook-ceph", **data: str) -> None:
        super().__init__()
        self.where = (namespace, name)
        self.data = data or {"config.json": json.dumps(KMS)}

    def get(self, namespace: str, name: str) -> Any:
        if name not in CONFIG_MAPS:
            return super().get(namespace, name)
        if (namespace, name) != self.where:
            return None
        return ConfigMap(metadata=ObjectMeta(namespace=namespace, name=name), data=self.data)


def services(config_maps: Any = None) -> KeyServices:
    found: Any = config_maps or KmsConfig()
    return KeyServices(found, "rook")


def encrypted(uid: str = UID, kms: str = "", **attributes: str) -> Volume:
    named = {"encryptionKMSID": kms} if kms else {}
    return volume(uid, encrypted="true", **named, **attributes)


def new(wanted: Volume, size: int = GIB, source: Source | None = None) -> NewVolume:
    return NewVolume(volume=wanted, size=size, options={}, source=source)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"encrypted": "true"}, {"encrypted": "true"}),
        ({"encrypted": "1", "encryptionType": "block"}, {"encrypted": "true"}),
        ({"encrypted": "True", "encryptionKMSID": "k"}, {"encrypted": "true", "encryptionKMSID": "k"}),
        ({"encrypted": "false", "encryptionKMSID": "k"}, {}),
        ({}, {}),
    ],
)
def test_what_a_class_asks_for(parameters: dict[str, str], expected: dict[str, str]) -> None:
    found = described(**parameters)
    attributes = found.volume.attributes
    assert {key: value for key, value in attributes.items() if key.startswith("encrypt")} == expected
    assert found.unserved == ()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (volume(), ""),
        (volume(encryptionKMSID="old-vault"), ""),
        (encrypted(), DEFAULT),
        (encrypted(kms="default"), DEFAULT),
        (encrypted(kms="secrets-metadata"), METADATA),
    ],
)
def test_the_type_of_a_volumes_kms(found: Volume, expected: str) -> None:
    assert services().type_of(found, "rook-ceph") == expected


@pytest.mark.parametrize(
    "config_maps",
    [
        KmsConfig(CONFIG_MAPS[1]),
        KmsConfig(namespace="rook"),
        KmsConfig(CONFIG_MAPS[1], **{name: json.dumps(section) for name, section in KMS.items()}),
    ],
    ids=["of-ceph-csi", "of-the-operators-namespace", "with-a-key-for-each"],
)
def test_where_a_kms_is_told(config_maps: Any) -> None:
    assert services(config_maps).type_of(encrypted(kms="secrets-metadata"), "rook-ceph") == METADATA


@pytest.mark.parametrize(
    ("kms", "told"),
    [
        ("old-vault", "encryptionKMSType 'vault' in ConfigMap rook-ceph/rook-ceph-csi-kms-config: expected 'metadata'"),
        ("new-vault", "encryptionKMSType 'vaulttokens' in"),
        ("none", "encryptionKMSType '' in"),
        ("tenants", "secretName 'storage-encryption-secret' in .* expected none"),
        (
            "missing",
            "'missing': expected one of ConfigMap .* have new-vault, none, old-vault, secrets-metadata, tenants",
        ),
    ],
)
def test_a_kms_that_is_not_served_is_named(kms: str, told: str) -> None:
    with pytest.raises(BackendError, match=told):
        services().type_of(encrypted(kms=kms), "rook-ceph")


def test_a_config_map_that_cannot_be_read_is_named() -> None:
    with pytest.raises(BackendError, match="ConfigMap rook-ceph/rook-ceph-csi-kms-config: expected JSON objects"):
        services(KmsConfig(**{"config.json": "{"})).type_of(encrypted(kms="k"), "rook-ceph")
    with pytest.raises(BackendError, match="which are not there"):
        services(KmsConfig("other")).type_of(encrypted(kms="k"), "rook-ceph")


@pytest.mark.parametrize("crash_at", range(1, 5))
async def test_an_image_is_noted_and_has_room_for_its_header(crash_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("p", "q")
    cluster.crash_at = crash_at
    with suppress(CrashError):
        await operator(cluster, monkeypatch).create(new(encrypted()))
    cluster.crash_at = None
    backend = operator(cluster, monkeypatch)
    assert (await backend.create(new(encrypted()))).size == GIB
    made = image(cluster, f"csi-vol-{UID}")
    assert (made.size, made.metadata) == (GIB + HEADER, {STATE: PREPARED})
    assert await backend.expand(encrypted(), 2 * GIB) == 2 * GIB
    assert made.size == 2 * GIB + HEADER
    assert await backend.expand(encrypted(), GIB) == 2 * GIB


@pytest.mark.parametrize("header", [0, HEADER], ids=["as it is stored", "decrypted"])
async def test_the_owner_of_the_lock_may_add_the_header_by_itself(header: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("p", "q")
    backend = operator(cluster, monkeypatch)
    await backend.create(new(encrypted()))
    made = image(cluster, f"csi-vol-{UID}")
    made.owner, made.watched, made.header = "10.0.0.1:0/1", True, header
    assert await backend.expand(encrypted(), 2 * GIB) == 2 * GIB
    assert made.size == 2 * GIB + HEADER


async def test_nothing_is_made_for_a_kms_that_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("p", "q")
    with pytest.raises(BackendError, match="encryptionKMSType 'vault'"):
        await operator(cluster, monkeypatch, config_maps=KmsConfig()).create(new(encrypted(kms="old-vault")))
    assert cluster.left() == []


async def used(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, kms: str = "secrets-metadata", **noted: str) -> Any:
    """A volume as a node has left it."""
    backend = operator(cluster, monkeypatch, config_maps=KmsConfig())
    await backend.create(new(encrypted(kms=kms)))
    image(cluster, f"csi-vol-{UID}").metadata |= {STATE: ENCRYPTED, **noted}
    return backend


async def test_a_copy_has_the_key_and_says_whose_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("p", "q")
    this = encrypted(kms="secrets-metadata")
    backend = await used(cluster, monkeypatch, **{DEK: "sealed"})  # as by Ceph's CSI driver
    handle = snapshot_handle(this)
    taken = await backend.snapshots.take(this, handle)
    assert taken.size == GIB, "without the header: a claim of that size can be restored"
    found = await backend.snapshots.find(this.driver, handle)
    assert found == taken
    assert image(cluster, SNAP).metadata[DEK_OF] == this.handle
    restored = await backend.create(
        new(encrypted(COPY, kms="secrets-metadata"), 2 * GIB, of_snapshot(handle, taken.size))
    )
    assert restored.size == 2 * GIB
    copy = image(cluster, f"csi-vol-{COPY}")
    assert (copy.size, copy.metadata[STATE]) == (2 * GIB + HEADER, ENCRYPTED)
    assert (copy.metadata[DEK], copy.metadata[DEK_OF]) == ("sealed", this.handle), "it is the first's key still"


@pytest.mark.parametrize(
    ("kms", "noted", "target", "told"),
    [
        ("", {}, volume(COPY), "is encrypted: expected a StorageClass for its copy that is, too"),
        ("", {}, encrypted(COPY, kms="secrets-metadata"), "expected a StorageClass with no encryptionKMSID"),
        ("secrets-metadata", {DEK: "x"}, encrypted(COPY), "with an encryptionKMSID whose type is 'metadata'"),
    ],
)
@pytest.mark.parametrize("by_snapshot", [False, True])
async def test_a_copy_that_is_encrypted_otherwise_is_refused(
    kms: str, noted: dict[str, str], target: Volume, told: str, by_snapshot: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster("p", "q")
    this = encrypted(kms=kms)
    backend = await used(cluster, monkeypatch, kms, **noted)
    source = Source(volume=this, size=GIB)
    if by_snapshot:
        handle = snapshot_handle(this)
        await backend.snapshots.take(this, handle)
        source = of_snapshot(handle)
    with pytest.raises(BackendError, match=told):
        await backend.create(new(target, source=source))
    assert f"csi-vol-{COPY}" not in cluster.left()


async def test_what_is_not_encrypted_gets_no_encrypted_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster("p", "q")
    backend = operator(cluster, monkeypatch)
    await backend.create(new(volume()))
    with pytest.raises(
        BackendError, match="is not encrypted: expected a StorageClass for its copy that is not, either"
    ):
        await backend.create(new(encrypted(COPY), source=Source(volume=volume(), size=GIB)))
    assert cluster.left() == [f"csi-vol-{UID}"]
