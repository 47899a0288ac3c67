"""RBD volumes: what StorageClasses ask for, and what goes between us and Ceph. librbd itself is met end to end."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from controller.ceph import rbd
from controller.ceph.rados import Connections
from controller.ceph.rbd import RbdBackend, address_of, lost, mon_addresses, volume_handle
from controller.runtime.kube import ObjectMeta, StorageClass
from controller.volumes.backend import BackendError, ParameterError, Volume

DRIVER = "rook-ceph.rbd.csi.ceph.com"
UID = "11111111-2222-3333-4444-555555555555"


class Clusters:
    """The cache of CephClusters: those of these namespaces."""

    def __init__(self, *namespaces: str) -> None:
        self.namespaces = namespaces

    def list(self, namespace: str) -> list[str]:
        return [n for n in self.namespaces if n == namespace]


def backend(*served: str, clusters: tuple[str, ...] = ("rook-ceph",)) -> RbdBackend:
    found: Any = Clusters(*clusters)
    return RbdBackend(Connections(), found, served or None)


def storage_class(provisioner: str = DRIVER, **parameters: str) -> StorageClass:
    if provisioner == DRIVER:
        parameters = {"clusterID": "rook-ceph", "pool": "replicapool", **parameters}
    return StorageClass(metadata=ObjectMeta(name="rbd"), provisioner=provisioner, parameters=parameters)


@pytest.mark.parametrize(
    ("driver", "served", "expected"),
    [
        (DRIVER, (), True),
        (DRIVER, ("rook-ceph",), True),
        (DRIVER, ("other",), False),
        ("rook-ceph.cephfs.csi.ceph.com", (), False),
        ("ebs.csi.aws.com", (), False),
    ],
)
def test_drivers_are_named_after_the_namespaces_that_are_served(
    driver: str, served: tuple[str, ...], expected: bool
) -> None:
    assert backend(*served).serves(driver) is expected
    assert bool(backend(*served).driver_of(storage_class(driver))) is expected


def test_upstreams_class() -> None:
    found = backend().describe(
        storage_class(imageFormat="2", imageFeatures="layering,exclusive-lock", dataPool="ec"), UID, filesystem=True
    )
    assert found.volume.driver == DRIVER
    assert found.volume.attributes == {
        "clusterID": "rook-ceph",
        "pool": "replicapool",
        "imageFormat": "2",
        "imageName": f"csi-vol-{UID}",
        "imageFeatures": "layering,exclusive-lock",
        "dataPool": "ec",
    }
    assert (found.secret_namespace, found.stage_secret) == ("rook-ceph", "rook-csi-rbd-node")
    assert found.unserved == ()


def test_the_class_of_the_driver_before_csi() -> None:
    old = storage_class(
        "ceph.rook.io/block", blockPool="p", clusterNamespace="storage", fstype="xfs", dataBlockPool="ec"
    )
    assert backend().driver_of(old) == "storage.rbd.csi.ceph.com"
    assert backend("rook-ceph").driver_of(old) == ""
    found = backend().describe(old, UID, filesystem=True)
    assert found.volume.driver == "storage.rbd.csi.ceph.com"
    assert found.volume.attributes["clusterID"] == "storage"
    assert (found.volume.attributes["pool"], found.volume.attributes["dataPool"]) == ("p", "ec")
    assert backend().driver_of(storage_class("ceph.rook.io/block", pool="p")) == DRIVER


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"clusterID": ""}, r"'clusterID'\] is '': expected the namespace of a CephCluster"),
        ({"clusterID": "other"}, r"'clusterID'\] is 'other': expected a namespace that this operator serves"),
        ({"pool": ""}, r"'pool'\] is '': expected the name of a CephBlockPool"),
        ({"imageFormat": "1"}, r"'imageFormat'\] is '1': expected \"2\""),
        ({"imageFeatures": "layering,speed"}, r"'layering,speed': expected names among layering"),
        ({"imageFeatures": "object-map"}, "expected exclusive-lock with object-map"),
        ({"encrypted": "true"}, "volumes are not encrypted"),
        ({"objectSize": "4Mi"}, r"'objectSize'\] is '4Mi': expected a whole number"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict[str, str], named: str) -> None:
    with pytest.raises(ParameterError, match=f"StorageClass rbd: .*{named}"):
        backend("rook-ceph").describe(storage_class(**parameters), UID, filesystem=True)


def test_parameters_without_effect_are_told() -> None:
    found = backend().describe(
        storage_class(tryOtherMounters="true", mounter="rbd-nbd", **{"csi.storage.k8s.io/fstype": "ext4"}),
        UID,
        filesystem=True,
    )
    assert found.unserved == ("tryOtherMounters",)
    assert found.volume.attributes["mounter"] == "rbd-nbd"


def test_volume_handles_are_those_of_cephs_driver() -> None:
    attributes = {"clusterID": "rook-ceph", "imageName": f"csi-vol-{UID}"}
    assert volume_handle(attributes, 2) == f"0001-0009-rook-ceph-0000000000000002-{UID}"


@pytest.mark.parametrize(
    ("entity", "expected"),
    [
        ("10.0.0.1:0/123", "10.0.0.1"),
        ("v1:10.0.0.1:0/123", "10.0.0.1"),
        ("[fd00::1]:0/123", "fd00::1"),
        ("v2:[fd00::1]:0/123", "fd00::1"),
    ],
)
def test_addresses_of_clients(entity: str, expected: str) -> None:
    assert address_of(entity) == expected


def test_mon_addresses() -> None:
    def mon(*addresses: tuple[str, str]) -> dict[str, Any]:
        return {"public_addrs": {"addrvec": [{"type": kind, "addr": address} for kind, address in addresses]}}

    monmap = {"mons": [mon(("v2", "10.0.0.1:3300"), ("v1", "10.0.0.1:6789")), mon(("v2", "[fd00::2]:3300"))]}
    assert mon_addresses(monmap) == ["10.0.0.1:6789", "[fd00::2]:3300"]


@pytest.mark.parametrize(
    ("before", "watchers", "after", "expected"),
    [
        ({"10.0.0.1:0/1"}, {"10.0.0.2:0/2"}, {"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}),
        ({"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}, {"10.0.0.1:0/1"}, set()),
        ({"10.0.0.1:0/1"}, set(), set(), set()),
        (set(), set(), {"10.0.0.1:0/1"}, set()),
    ],
)
def test_owners_of_a_lock_that_are_lost(
    before: set[str], watchers: set[str], after: set[str], expected: set[str]
) -> None:
    assert lost(before, watchers, after) == expected


async def test_without_a_cluster() -> None:
    volume = Volume(driver=DRIVER, attributes={"clusterID": "gone", "pool": "p", "imageName": "i"})
    assert await backend().holders(volume) == ()  # whoever had it open writes nowhere any more
    with pytest.raises(BackendError, match=r"no CephCluster in namespace 'gone' \(clusterID of image p/i\)"):
        await backend().create(volume, 1, {})
    here = Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})
    with pytest.raises(BackendError, match="has not been reached yet"):
        await backend().holders(here)


class Pool:
    """A cluster with one image, whose size changes only when it is let (`may_resize`), as that of a slow cluster.

    It stands for librbd, too. A call that is given up on goes on, as in its thread.
    """

    def __init__(self, size: int) -> None:
        self.size, self.asked, self.may_resize = size, threading.Event(), threading.Event()

    async def handle(self) -> Any:
        return SimpleNamespace(open_ioctx=lambda _: self)

    async def call(self, function: Any, *, seconds: float) -> Any:
        return await anyio.to_thread.run_sync(function, abandon_on_cancel=True)

    def set_namespace(self, _: str) -> None: ...

    def close(self) -> None: ...


class Image:
    """The image of a `Pool`, with what of `rbd.Image` growing it takes."""

    def __init__(self, pool: Pool, name: str, *, read_only: bool = False) -> None:
        self._pool = pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def size(self) -> int:
        return self._pool.size

    def resize(self, size: int, *, allow_shrink: bool = True) -> None:
        self._pool.asked.set()
        assert self._pool.may_resize.wait(60)
        self._pool.size = size


async def test_an_expansion_that_was_given_up_on_does_not_shrink_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim was made larger again while the first call hung; the second must not overtake it."""
    pool, found = Pool(5), backend()
    monkeypatch.setattr(rbd, "_rbd", lambda: SimpleNamespace(Image=Image))
    monkeypatch.setattr(found, "_connections", {"rook-ceph": pool})
    volume = Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.expand, volume, 10)
        await anyio.to_thread.run_sync(pool.asked.wait, 10)
        tasks.cancel_scope.cancel()
    with pytest.raises(BackendError, match="image p/i: it is being grown"):
        await found.expand(volume, 20)
    pool.may_resize.set()
    with anyio.fail_after(60):
        while await grown(found, volume, 20) < 20:
            pass
    assert pool.size == 20


async def grown(found: RbdBackend, volume: Volume, size: int) -> int:
    """The size by another try; 0 while there cannot be one."""
    try:
        return await found.expand(volume, size)
    except BackendError:
        await anyio.lowlevel.checkpoint()
        return 0
