"""NFS volumes as the controllers of volumes see them, on a cluster in memory that answers as Ceph 18.2.7 does."""

from __future__ import annotations

import errno
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from controller.apis.ceph import CephCluster, CephFilesystem, CephNFS
from controller.ceph.access.rados import CephError
from controller.ceph.exports.backend import CAPABILITIES, ExportsBackend, exports_backend
from controller.framework.settings import Served
from controller.runtime.kube import PersistentVolume, Service
from controller.volumes.backend import (
    BackendError,
    Created,
    GoneError,
    Holder,
    NewVolume,
    ParameterError,
    Source,
    Volume,
)
from controller.volumes.capabilities import BLOCK, FILESYSTEM, MANY, modes_problem
from controller.volumes.features import LARGEST, Room
from tests.unit.ceph.cephfs.cephfs import HANDLE, NAME, UID, Point, Subvolume
from tests.unit.ceph.cephfs.cephfs import Ceph as Filesystems
from tests.unit.ceph.cephfs.cephfs import storage_class as of_cephfs

GIB = 1 << 30
DRIVER = "rook-ceph.nfs.csi.ceph.com"
SHARE = f"/{HANDLE}"
NFS = {"nfsCluster": "my-nfs", "server": "rook-ceph-nfs-my-nfs-a"}


class Ceph(Filesystems):
    """Subvolumes, and exports by the mgr module `nfs`: answers are those of a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.clusters = {"my-nfs"}
        self.exports: dict[str, dict[str, Any]] = {}
        self.commands: list[str] = []

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        self.commands.append(prefix)
        if not prefix.startswith("nfs export"):
            return await super().mgr(prefix, **args)
        name, share = args["cluster_id"], args["pseudo_path"]
        if name not in self.clusters:
            raise CephError(errno.ENOENT, f"Cluster '{name}' does not exist")
        if prefix == "nfs export rm":
            self.exports.pop(share, None)
            return None
        if prefix == "nfs export info":
            return self.exports.get(share, {})
        assert prefix == "nfs export create cephfs"
        if share in self.exports:
            return None  # and "Export already exists" beside it
        paths = [self.path(*key) for key in self.subvolumes]
        if args["path"] not in paths:
            raise CephError(errno.ENOENT, f"path {args['path']} does not exist")
        self.exports[share] = {
            "path": args["path"],
            "fsal": {"name": "CEPH", "fs_name": args["fsname"]},
            "sectype": args.get("sectype", []),
            "clients": args.get("client_addr", []),
        }
        return None


def storage_class(**parameters: str) -> Any:
    return of_cephfs(DRIVER, **{**NFS, **parameters})


def backend(
    ceph: Ceph | None, *, deleting: bool = False, servers: str = "my-nfs", address: str = "10.96.0.7"
) -> ExportsBackend:
    """The backend of that cluster in namespace rook-ceph, which has a CephNFS."""
    meta: dict[str, Any] = {"namespace": "rook-ceph", "name": "c"}
    cluster = msgspec.convert({"metadata": meta, "spec": {}}, CephCluster)
    spec = {"metadataPool": {}, "dataPools": [], "metadataServer": {"activeCount": 1}}
    filesystem = msgspec.convert({"metadata": {**meta, "name": "myfs"}, "spec": spec}, CephFilesystem)
    end = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if deleting else {}
    nfs = msgspec.convert({"metadata": {**meta, "name": servers, **end}, "spec": {"server": {"active": 1}}}, CephNFS)
    service = msgspec.convert({"metadata": meta, "spec": {"clusterIP": address}}, Service)
    clusters: Any = SimpleNamespace(
        keys=lambda namespace: [("rook-ceph", "c")] if namespace in (None, "rook-ceph") else [],
        list=lambda namespace: [cluster] if namespace == "rook-ceph" else [],
    )

    def one(name: str, found: Any) -> Any:
        return SimpleNamespace(get=lambda *key: found if key == ("rook-ceph", name) else None)

    connections: Any = {"rook-ceph": ceph}
    files = one("myfs", filesystem)
    services = one("rook-ceph-nfs-my-nfs-a", service)
    nothing: Any = SimpleNamespace(get=lambda *_: None)
    served = Served(named=("rook-ceph",), everywhere=True)
    return exports_backend(connections, clusters, files, nothing, one(servers, nfs), services, served, "rook")


def wanted(size: int = GIB, **parameters: str) -> NewVolume:
    found = backend(None).describe(storage_class(**parameters), UID, filesystem=True)
    return NewVolume(volume=found.volume, size=size, options=found.options)


def bound(created: Created, made: NewVolume) -> Volume:
    """The volume as its PersistentVolume has it."""
    return replace(made.volume, handle=created.handle, attributes={**made.volume.attributes, **created.attributes})


class TestClasses:
    def test_upstreams(self) -> None:
        found = backend(None).describe(
            storage_class(pool="myfs-replicated", volumeNamePrefix="nfs-export-"), UID, filesystem=True
        )
        assert found.volume.attributes == {
            "clusterID": "rook-ceph",
            "fsName": "myfs",
            "subvolumeGroup": "csi",
            "subvolumeName": f"nfs-export-{UID}",
            **NFS,
        }
        assert (found.options, found.unserved) == ({"pool": "myfs-replicated"}, ())

    def test_what_is_of_other_clients_has_no_effect(self) -> None:
        found = backend(None).describe(storage_class(mounter="fuse", backingSnapshot="true"), UID, filesystem=True)
        assert found.unserved == ("mounter", "backingSnapshot")
        assert "mounter" not in found.volume.attributes

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ({"nfsCluster": ""}, r"parameters\['nfsCluster'\] is '': expected the name of a CephNFS"),
            ({"nfsCluster": "a/b"}, "expected the name of a CephNFS"),
            ({"server": ""}, "expected the Service of one of its servers"),
            ({"server": "a b"}, "expected the name of a Service or host, or an address"),
            ({"secTypes": "sys,des"}, "'des': expected some of sys, krb5"),
            ({"clients": "10.0.0.0/8, a b"}, "'a b': expected addresses or networks"),
            ({"fsName": ""}, "expected the name of a CephFilesystem"),
        ],
    )
    def test_what_cannot_be(self, parameters: dict[str, str], words: str) -> None:
        with pytest.raises(ParameterError, match=words):
            backend(None).describe(storage_class(**parameters), UID, filesystem=True)

    def test_drivers(self) -> None:
        found = backend(None)
        assert found.serves(DRIVER)
        assert not found.knows("rook-ceph.cephfs.csi.ceph.com")
        assert found.driver_of(storage_class()) == DRIVER
        assert "expected rook" in found.not_served(of_cephfs("another.nfs.csi.ceph.com", **NFS))

    def test_what_volumes_can_be(self) -> None:
        assert modes_problem(CAPABILITIES, (MANY,), FILESYSTEM) == ""
        assert modes_problem(CAPABILITIES, (MANY,), BLOCK) == "spec.volumeMode is Block: expected Filesystem"


async def test_a_volume_is_a_subvolume_and_its_export_and_goes_as_it_came() -> None:
    ceph, made = Ceph(), wanted(secTypes="krb5,krb5p", clients="10.0.0.0/8, 10.1.2.3")
    created = await backend(ceph).create(made)
    path = ceph.path("csi", NAME)
    assert created == Created(handle=HANDLE, size=GIB, attributes={"subvolumePath": path, "share": SHARE})
    assert ceph.exports[SHARE] == {
        "path": path,
        "fsal": {"name": "CEPH", "fs_name": "myfs"},
        "sectype": ["krb5", "krb5p"],
        "clients": ["10.0.0.0/8", "10.1.2.3"],
    }
    again = await backend(ceph).create(made)
    assert (again, len(ceph.exports), len(ceph.subvolumes)) == (created, 1, 1)
    volume = bound(created, made)
    assert await backend(ceph).expand(volume, 2 * GIB) == 2 * GIB
    ceph.commands.clear()
    await backend(ceph).delete(volume)
    assert (ceph.exports, ceph.subvolumes) == ({}, {})
    assert ceph.commands[0] == "nfs export rm"  # what is exported always exists
    await backend(ceph).delete(volume)


async def test_a_copy_is_exported_when_it_is_whole() -> None:
    ceph, made = Ceph(), wanted()
    ceph.subvolumes["csi", "source"] = Subvolume(GIB, "777", snapshots={"csi-snap-1": Point("x", GIB)}, data="x")
    snapshot = Volume(driver=DRIVER, attributes={}, handle="rook-ceph/myfs/csi/source/csi-snap-1")
    copy = replace(made, source=Source(volume=snapshot, size=GIB, is_snapshot=True), read_only=True)
    found = backend(ceph)
    with pytest.raises(BackendError):
        await found.create(copy)
    assert ceph.exports == {}
    ceph.work()
    ceph.work()
    assert (await found.create(copy)).attributes["share"] == SHARE
    assert ceph.subvolumes["csi", NAME].data == "x"


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"servers": "another"}, r"CephNFS rook-ceph/my-nfs \(nfsCluster\) does not exist"),
        ({"deleting": True}, "CephNFS rook-ceph/my-nfs is being deleted"),
    ],
)
async def test_nothing_is_made_without_servers(case: dict[str, Any], words: str) -> None:
    ceph = Ceph()
    with pytest.raises(BackendError, match=words):
        await backend(ceph, **case).create(wanted())
    assert ceph.subvolumes == {}


async def test_servers_that_have_not_begun() -> None:
    ceph = Ceph()
    ceph.clusters.clear()
    with pytest.raises(BackendError, match="Cluster 'my-nfs' does not exist"):
        await backend(ceph).create(wanted())
    ceph.clusters.add("my-nfs")
    assert (await backend(ceph).create(wanted())).attributes["share"] == SHARE


async def test_an_export_of_something_else_is_no_success() -> None:
    ceph = Ceph()
    ceph.exports[SHARE] = {"path": "/another", "fsal": {"fs_name": "myfs"}}
    with pytest.raises(BackendError, match=f"is of /another in file system myfs: expected {ceph.path('csi', NAME)}"):
        await backend(ceph).create(wanted())


async def test_servers_that_are_gone_export_nothing_any_more() -> None:
    ceph, made = Ceph(), wanted()
    volume = bound(await backend(ceph).create(made), made)
    ceph.clusters.clear()
    await backend(ceph).delete(volume)
    assert ceph.subvolumes == {}


async def test_a_volume_of_which_nobody_says_who_exports_it_stays() -> None:
    ceph, made = Ceph(), wanted()
    volume = bound(await backend(ceph).create(made), made)
    attributes = {k: v for k, v in volume.attributes.items() if k != "nfsCluster"}
    with pytest.raises(BackendError, match="has no 'nfsCluster'"):
        await backend(ceph).delete(replace(volume, attributes=attributes))
    assert ceph.subvolumes
    with pytest.raises(GoneError):
        await backend(ceph).delete(replace(volume, attributes={**volume.attributes, "clusterID": "gone"}))


@pytest.mark.parametrize(
    ("server", "address", "told"),
    [
        ("rook-ceph-nfs-my-nfs-a", "10.96.0.7", "10.96.0.7"),
        ("rook-ceph-nfs-my-nfs-a.rook-ceph.svc", "10.96.0.7", "10.96.0.7"),
        ("rook-ceph-nfs-my-nfs-a", "None", "rook-ceph-nfs-my-nfs-a"),
        ("rook-ceph-nfs-my-nfs-a.elsewhere", "10.96.0.7", "rook-ceph-nfs-my-nfs-a.elsewhere"),
        ("nfs.example.net", "10.96.0.7", "nfs.example.net"),
        ("192.0.2.1", "10.96.0.7", "192.0.2.1"),
    ],
)
async def test_nodes_are_told_the_address_of_a_service(server: str, address: str, told: str) -> None:
    volume = wanted(server=server).volume
    found = await backend(Ceph(), address=address).attachment(volume, {}, {})
    assert found == {"clusterID": "rook-ceph", "server": told}


async def test_what_fits_is_what_fits_into_the_file_system() -> None:
    assert await backend(Ceph()).rooms.of(storage_class()) == (Room(place={}, free=1000, largest=LARGEST),)


async def test_clients_of_servers_are_not_known() -> None:
    found, volume = backend(Ceph()), wanted().volume
    assert (await found.holders(volume), await found.absent(volume)) == ((), ())
    with pytest.raises(BackendError, match="cannot be fenced"):
        await found.fence(volume, Holder(address="10.0.0.1", client="10.0.0.1:0/1"))


def test_one_subvolume_is_one_volume_whoever_serves_it() -> None:
    made = wanted().volume
    directly = backend(None)._directories.identity(made)
    assert backend(None).identity(made) == directly
    assert backend(None).is_made_for(made, UID)


def test_servers_are_found_by_the_volumes_that_they_export() -> None:
    from controller.ceph.access.volumes import exporters_of, filesystems_of

    attributes = {"clusterID": "rook-ceph", "fsName": "myfs", "nfsCluster": "my-nfs"}
    csi = {"driver": DRIVER, "volumeHandle": HANDLE, "volumeAttributes": attributes}
    volume = msgspec.convert({"metadata": {"name": "pv"}, "spec": {"csi": csi}}, PersistentVolume)
    assert exporters_of(volume) == ("rook-ceph/my-nfs",)
    assert filesystems_of(volume) == ("rook-ceph/myfs",)
