"""RBD volumes: what StorageClasses ask for, and what goes between us and Ceph. librbd itself is met end to end."""

from __future__ import annotations

import errno
import json
import re
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self

import anyio
import anyio.lowlevel
import anyio.to_thread
import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.access.rados import CephError, Connections
from controller.ceph.access.rados_namespaces import cluster_id
from controller.ceph.access.threads import Lane
from controller.ceph.csi.drivers import Drivers
from controller.ceph.csi.ways import mon_addresses, ms_mode
from controller.ceph.rbd import images as rbd_image
from controller.ceph.rbd.backend import RbdBackend
from controller.framework.settings import Served
from controller.runtime.kube import ConfigMap, ObjectMeta, StorageClass
from controller.testkit import virtual_time
from controller.volumes.backend import BackendError, GoneError, Holder, NewVolume, ParameterError, Volume
from tests.unit.ceph.rados_namespaces import a_namespace, known
from tests.unit.ceph.volumes import DRIVER, HANDLE, UID, storage_class


class Clusters:
    """The cache of CephClusters: those of these namespaces."""

    def __init__(self, *clusters: CephCluster) -> None:
        self.clusters = clusters

    def keys(self, namespace: str | None) -> list[tuple[str, str]]:
        return [(c.metadata.namespace, "c") for c in self.clusters if namespace in (None, c.metadata.namespace)]

    def list(self, namespace: str) -> list[CephCluster]:
        return [c for c in self.clusters if c.metadata.namespace == namespace]


class ConfigMaps:
    """The cache of ConfigMaps: where the mons are."""

    def __init__(self) -> None:
        self.mons = "a=10.0.0.1:6789"

    def get(self, namespace: str, name: str) -> ConfigMap:
        return ConfigMap(metadata=ObjectMeta(namespace=namespace, name=name), data={"data": self.mons})


def ceph_cluster(namespace: str = "rook-ceph", **connections: Any) -> CephCluster:
    spec = {"network": {"connections": connections}}
    return msgspec.convert({"metadata": {"namespace": namespace, "name": "c"}, "spec": spec}, CephCluster)


def backend(
    *served: str, clusters: tuple[CephCluster, ...] = (ceph_cluster(),), home: str = "rook", **caches: Any
) -> RbdBackend:
    found: Any = Clusters(*clusters)
    rados = known(*caches.get("rados", ()))
    namespaces = Served(named=served or ("rook-ceph",), everywhere=not served)
    return RbdBackend(Connections(), found, caches.get("config_maps", ConfigMaps()), namespaces, home, rados)


@pytest.mark.parametrize(
    ("driver", "served", "expected"),
    [
        (DRIVER, (), True),
        ("ceph-csi.rbd.csi.ceph.com", (), False),  # another operator's: all namespaces are served, it is not named
        (DRIVER, ("rook-ceph",), True),
        (DRIVER, ("other",), False),
        ("rook.rbd.csi.ceph.com", ("rook-ceph",), True),  # upstream names it after the operator's namespace
        ("rook.rbd.csi.ceph.com", (), True),
        ("rook-ceph.cephfs.csi.ceph.com", (), False),
        ("ebs.csi.aws.com", (), False),
    ],
)
def test_drivers_are_named_after_the_operators_namespace_or_a_clusters(
    driver: str, served: tuple[str, ...], expected: bool
) -> None:
    assert backend(*served).serves(driver) is expected
    assert bool(backend(*served).driver_of(storage_class(driver))) is expected


@pytest.mark.parametrize(
    ("provisioner", "cluster", "told"),
    [
        ("rook-operator.rbd.csi.ceph.com", "rook-ceph", True),
        ("rook-operator.rbd.csi.ceph.com", "another", False),  # somebody else's cluster
        (DRIVER, "rook-ceph", False),
        ("ebs.csi.aws.com", "rook-ceph", False),
    ],
)
@pytest.mark.parametrize("served", [(), ("rook-ceph",)])
def test_a_class_for_a_cluster_here_by_a_driver_that_is_not_is_told_what_is_served(
    provisioner: str, cluster: str, told: bool, served: tuple[str, ...]
) -> None:
    found = StorageClass(
        metadata=ObjectMeta(name="rbd"), provisioner=provisioner, parameters={"clusterID": cluster, "pool": "p"}
    )
    message = backend(*served).not_served(found)
    assert bool(message) is told
    if told:
        assert f"provisioner is '{provisioner}'" in message
        assert message.endswith("expected rook.rbd.csi.ceph.com or rook-ceph.rbd.csi.ceph.com")


def test_the_driver_of_a_class_for_the_one_before_csi() -> None:
    old = storage_class("ceph.rook.io/block", blockPool="p", clusterNamespace="storage")
    everywhere = backend(clusters=(ceph_cluster("storage"),))
    assert everywhere.driver_of(old) == "rook.rbd.csi.ceph.com", "no node has a driver of a namespace that is not named"
    assert backend("storage").driver_of(old) == "storage.rbd.csi.ceph.com"
    assert backend().driver_of(old) == ""
    assert backend("rook-ceph").driver_of(old) == ""
    assert backend().driver_of(storage_class("ceph.rook.io/block", pool="p")) == DRIVER


def test_two_volumes_are_one_when_they_are_of_one_image() -> None:
    image = {"clusterID": "rook-ceph", "pool": "p"}
    made = Volume(driver=DRIVER, attributes={**image, "imageName": f"csi-vol-{UID}"}, handle=HANDLE)
    by_hand = Volume(
        driver="rook.rbd.csi.ceph.com", attributes={**image, "staticVolume": "true"}, handle=f"csi-vol-{UID}"
    )
    another = Volume(driver=DRIVER, attributes={**image, "radosNamespace": "n"}, handle=HANDLE)
    assert backend().identity(made) == backend().identity(by_hand)
    assert backend().identity(made) != backend().identity(another)
    ebs = [Volume(driver="ebs.csi.aws.com", attributes={}, handle=handle) for handle in "ab"]
    assert len({backend().identity(volume) for volume in ebs}) == 2


def test_images_of_one_name_in_pools_of_one_name_are_two_where_the_clusters_are() -> None:
    place = {"pool": "p", "imageName": "i"}
    first, second = (
        Volume(driver="rook.rbd.csi.ceph.com", attributes={**place, "clusterID": cluster}, handle=f"0001-{cluster}")
        for cluster in ("rook-ceph", "rook-ceph-second")
    )
    assert backend().identity(first) != backend().identity(second)


@pytest.mark.parametrize(
    ("served", "gone"),
    [
        (Served(named=("rook",), everywhere=True), True),
        (Served(named=("rook",), everywhere=True, refused=frozenset({"elsewhere"})), False),
        (Served(named=("rook", "elsewhere")), True),
        (Served(named=("rook",)), False),
    ],
)
def test_a_cluster_is_gone_only_where_it_would_be_seen(served: Served, gone: bool) -> None:
    clusters: Any = Clusters(ceph_cluster())
    drivers = Drivers(".rbd.csi.ceph.com", clusters, served, "rook")
    with pytest.raises(BackendError) as raised:
        drivers.cluster("elsewhere", "volume v", Connections())
    assert isinstance(raised.value, GoneError) is gone
    assert ("is not served by this operator" in str(raised.value)) is not gone


def test_mon_addresses() -> None:
    def mon(*addresses: tuple[str, str]) -> dict[str, Any]:
        return {"public_addrs": {"addrvec": [{"type": kind, "addr": address} for kind, address in addresses]}}

    monmap = {"mons": [mon(("v2", "10.0.0.1:3300"), ("v1", "10.0.0.1:6789")), mon(("v2", "[fd00::2]:3300"))]}
    assert mon_addresses(monmap, msgr2=False) == ["10.0.0.1:6789", "[fd00::2]:3300"]
    assert mon_addresses(monmap, msgr2=True) == ["10.0.0.1:3300", "[fd00::2]:3300"]
    with pytest.raises(BackendError, match="'a b:1': expected an IP address and a port"):
        mon_addresses({"mons": [mon(("v1", "a b:1"))]}, msgr2=False)


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ({}, ""),
        ({"requireMsgr2": True}, "prefer-crc"),
        ({"compression": {"enabled": True}}, "prefer-crc"),
        ({"encryption": {"enabled": True}}, "secure"),
    ],
)
def test_the_protocol_that_the_kernel_has_to_speak(connections: dict[str, Any], expected: str) -> None:
    assert ms_mode(ceph_cluster(**connections)) == expected


async def test_without_a_cluster() -> None:
    volume = Volume(driver=DRIVER, attributes={"clusterID": "gone", "pool": "p", "imageName": "i"})
    assert await backend().holders(volume) == ()  # whoever had it open writes nowhere any more
    with pytest.raises(BackendError, match=r"no CephCluster in namespace 'gone' \(clusterID of image p/i\)"):
        await backend().create(NewVolume(volume=volume, size=1, options={}))
    here = Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})
    with pytest.raises(BackendError, match="has not been reached yet"):
        await backend().holders(here)


class NotFoundError(Exception):
    """There is no such image."""


class Pool:
    """A cluster with one pool and one image, which changes only when it is let (`may_change`), as in a slow cluster.

    It stands for librados and librbd, too. A call that is given up on goes on, as in its thread.
    """

    def __init__(self, size: int = 1, *watchers: str, pools: tuple[str, ...] = ("p",)) -> None:
        self.size, self.watchers, self.pools = size, watchers, pools
        self.asked, self.may_change = threading.Event(), threading.Event()
        self.opened = self.dumps = self.removals = 0
        self.namespaces: list[str] = []
        self.down = False
        self.own = "v1:10.0.0.9:0/9"
        self.sessions: dict[str, list[dict[str, Any]] | None] | None = None

    async def use(self, function: Any, *, lane: Lane, seconds: float) -> Any:
        return await anyio.to_thread.run_sync(lambda: function(self), abandon_on_cancel=True)

    async def mon(self, prefix: str) -> Any:
        assert prefix == "mon dump"
        self.dumps += 1
        if self.down:
            raise CephError(errno.ETIMEDOUT, "no answer")
        addresses = [{"type": "v2", "addr": "10.0.0.1:3300"}, {"type": "v1", "addr": "10.0.0.1:6789"}]
        return {"fsid": "f", "mons": [{"public_addrs": {"addrvec": addresses}}]}

    def open_ioctx(self, name: str) -> Self:
        assert name in self.pools
        return self

    def get_pool_id(self) -> int:
        return 3

    def pool_exists(self, name: str) -> bool:
        return name in self.pools

    def get_addrs(self) -> str:
        return self.own

    def mon_command(self, command: str, _: bytes, timeout: int, target: str = "") -> tuple[int, bytes, str]:
        assert timeout
        assert self.sessions is not None, "nobody asks of an image that is not mirrored"
        if json.loads(command)["prefix"] == "quorum_status":
            return 0, json.dumps({"quorum_names": list(self.sessions)}).encode(), ""
        found = self.sessions[target]
        return (0, json.dumps(found).encode(), "") if found is not None else (-errno.EINTR, b"", "timed out")

    def set_namespace(self, name: str) -> None:
        self.namespaces.append(name)

    def close(self) -> None: ...

    def remove(self, ioctx: object, name: str) -> None:
        self.removals += 1
        self.asked.set()
        assert self.may_change.wait(60)
        self.size = 0


class Image:
    """The image of a `Pool`, with what of `rbd.Image` is used."""

    def __init__(self, pool: Pool, name: str, *, read_only: bool = False) -> None:
        self._pool = pool
        pool.opened += 1
        if not pool.size:
            raise NotFoundError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def size(self) -> int:
        return self._pool.size

    def features(self) -> int:
        return 5

    def list_snaps(self) -> list[dict[str, Any]]:
        return []

    def metadata_list(self) -> list[tuple[str, str]]:
        return []

    def get_parent_image_spec(self) -> dict[str, str]:
        raise NotFoundError

    def group(self) -> dict[str, Any]:
        return {"pool": -1, "name": ""}

    def watchers_list(self) -> list[dict[str, str]]:
        return [{"addr": watcher} for watcher in self._pool.watchers]

    def mirror_image_get_info(self) -> dict[str, int]:
        return {"state": 1 if self._pool.sessions is not None else 2}

    def list_lockers(self) -> dict[str, Any]:
        return {}

    def resize(self, size: int, *, allow_shrink: bool = True) -> None:
        self._pool.asked.set()
        assert self._pool.may_change.wait(60)
        self._pool.size = size


def session(user: str, address: str, nonce: int) -> dict[str, Any]:
    """What a mon says of a client."""
    return {"entity_name": user, "addrs": {"addrvec": [{"type": "any", "addr": address, "nonce": nonce}]}}


IMAGE = Volume(driver=DRIVER, attributes={"clusterID": "rook-ceph", "pool": "p", "imageName": "i"})


def on(pool: Pool, monkeypatch: pytest.MonkeyPatch, **kept: Any) -> RbdBackend:
    """The backend of that cluster."""
    found = backend(**kept)
    library = SimpleNamespace(
        Image=Image,
        ImageNotFound=NotFoundError,
        ImageBusy=BlockingIOError,
        ImageHasSnapshots=BlockingIOError,
        RBD=lambda: pool,
    )
    monkeypatch.setattr(rbd_image, "library", lambda: library)
    monkeypatch.setattr(found.calls, "_connections", {"rook-ceph": pool})
    return found


async def test_what_a_node_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = await on(Pool(), monkeypatch).attachment(IMAGE, {}, {})
    assert told == {
        "clusterID": "rook-ceph",
        "fsid": "f",
        "monitors": "10.0.0.1:6789",
        "pool": "p",
        "imageName": "i",
        "imageFeatures": "5",
    }
    encrypted = replace(IMAGE, attributes={**IMAGE.attributes, "encrypted": "true"})
    plain = {key: value for key, value in told.items() if key != "monitors"}
    sealed = {**plain, "monitorsForEncrypted": "10.0.0.1:6789", "encryptionKMSType": "default"}
    assert await on(Pool(), monkeypatch).attachment(encrypted, {}, {}) == sealed, "an old agent cannot map it as it is"
    kept = {**sealed, "encryptionKMSType": "metadata"}
    assert await on(Pool(), monkeypatch).attachment(encrypted, kept, {}) == kept
    secure = on(Pool(), monkeypatch, clusters=(ceph_cluster(encryption={"enabled": True}),))
    assert await secure.attachment(IMAGE, {}, {}) == {**told, "monitors": "10.0.0.1:3300", "msMode": "secure"}


RADOS = a_namespace({"blockPoolName": "p"}, status={"phase": "Ready"})
BY_CLUSTER_ID = {"clusterID": cluster_id(RADOS), "pool": "p"}
CLASS = storage_class("rook.rbd.csi.ceph.com", **BY_CLUSTER_ID)


async def test_a_volume_of_a_class_with_the_cluster_id_of_a_rados_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(size=1 << 20)
    found = on(pool, monkeypatch, rados=(RADOS,))
    description = found.describe(CLASS, UID, filesystem=True)
    volume, place = description.volume, {"clusterID": "rook-ceph", "radosNamespace": "namespace-a"}
    assert volume.attributes == {
        **BY_CLUSTER_ID,
        "imageFormat": "2",
        "imageName": f"csi-vol-{UID}",
        "radosNamespace": "namespace-a",
    }
    assert description.secret_namespace == "rook-ceph"

    created = await found.create(NewVolume(volume=volume, size=1, options={}))
    assert created.handle == f"0001-0020-{cluster_id(RADOS)}-0000000000000003-{UID}"
    # As Ceph's CSI driver makes them: without the RADOS namespace.
    csi = Volume(driver=DRIVER, attributes={**BY_CLUSTER_ID, "imageName": volume.attributes["imageName"]})
    assert found.identity(csi) == found.identity(volume) == f"rook-ceph/p/namespace-a/csi-vol-{UID}"
    pool.may_change.set()
    for known_by in (volume, csi):
        told = await found.attachment(known_by, {}, {})
        assert place.items() <= told.items()
        assert await found.expand(known_by, 1) == 1 << 20
        assert await found.holders(known_by) == ()
    await found.delete(csi)
    assert set(pool.namespaces) == {"namespace-a"}
    assert pool.removals == 1


async def test_of_the_implicit_namespace_volumes_are_in_none(monkeypatch: pytest.MonkeyPatch) -> None:
    implicit = a_namespace({"blockPoolName": "p", "name": "<implicit>", "clusterID": "plain"})
    pool = Pool(size=1 << 20)
    found = on(pool, monkeypatch, rados=(implicit,))
    plain = storage_class("rook.rbd.csi.ceph.com", clusterID="plain", pool="p")
    volume = found.describe(plain, UID, filesystem=True).volume
    await found.create(NewVolume(volume=volume, size=1, options={}))
    told = await found.attachment(volume, {}, {})
    assert (told["clusterID"], told.get("radosNamespace")) == ("rook-ceph", None)
    assert set(pool.namespaces) == {""}
    assert found.identity(volume) == f"rook-ceph/p/csi-vol-{UID}"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"pool": "q"}, "parameters['pool'] is 'q': expected p, the pool of CephBlockPoolRadosNamespace rook-ceph/"),
        ({"radosNamespace": "b"}, "parameters['radosNamespace'] is 'b': expected nothing, as the clusterID is that of"),
    ],
)
def test_a_class_that_says_another_place_than_its_cluster_id(more: dict[str, str], expected: str) -> None:
    wrong = storage_class("rook.rbd.csi.ceph.com", **{**BY_CLUSTER_ID, **more})
    with pytest.raises(ParameterError, match=re.escape(expected)):
        backend(rados=(RADOS,)).describe(wrong, UID, filesystem=True)


def test_a_cluster_id_of_nothing_here_is_refused_where_the_namespaces_are_known() -> None:
    with pytest.raises(ParameterError, match=r"or status.info.clusterID of a CephBlockPoolRadosNamespace"):
        backend("rook-ceph").describe(CLASS, UID, filesystem=True)


def test_a_class_by_a_driver_that_is_not_served_is_told_so_by_cluster_id_too() -> None:
    wrong = storage_class("rook-operator.rbd.csi.ceph.com", **BY_CLUSTER_ID)
    assert "it serves the cluster in namespace rook-ceph" in backend(rados=(RADOS,)).not_served(wrong)
    assert backend().not_served(wrong) == ""


async def test_no_volume_is_made_in_a_namespace_that_goes_or_was_not_known_when_it_was_described(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    going = a_namespace({"blockPoolName": "p"}, deleting=True)
    volume = backend(rados=(RADOS,)).describe(CLASS, UID, filesystem=True).volume
    with pytest.raises(BackendError, match="CephBlockPoolRadosNamespace rook-ceph/namespace-a is being deleted"):
        await on(Pool(), monkeypatch, rados=(going,)).create(NewVolume(volume=volume, size=1, options={}))
    before = backend().describe(CLASS, UID, filesystem=True).volume
    with pytest.raises(BackendError, match="came a moment ago"):
        await on(Pool(), monkeypatch, rados=(RADOS,)).create(NewVolume(volume=before, size=1, options={}))


@virtual_time
async def test_of_many_volumes_that_are_attached_one_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, maps, told = Pool(), ConfigMaps(), {"imageFeatures": "5"}
    found = on(pool, monkeypatch, config_maps=maps)
    for _ in range(100):
        assert (await found.attachment(IMAGE, told, {}))["monitors"] == "10.0.0.1:6789"
    assert (pool.dumps, pool.opened) == (1, 0)
    maps.mons = "a=10.0.0.1:6789,b=10.0.0.2:6789"  # they have moved
    await found.attachment(IMAGE, told, {})
    assert pool.dumps == 2
    pool.down = True
    await anyio.sleep(6)
    for _ in range(100):
        with pytest.raises(BackendError, match="the mons of the Ceph cluster of image p/i do not answer"):
            await found.attachment(IMAGE, told, {})
    assert pool.dumps == 3


@pytest.mark.parametrize(
    ("own", "watcher"),
    [
        ("v1:10.0.0.9:0/9", "10.0.0.9:0/9"),
        ("[v2:10.0.0.9:0/9,v1:10.0.0.9:0/9]", "v1:10.0.0.9:0/9"),
        ("[v2:[fd00::9]:0/9,v1:[fd00::9]:0/9]", "[fd00::9]:0/9"),
    ],
)
async def test_the_operators_own_client_holds_nothing(own: str, watcher: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fenced by elimination, it could do nothing any more."""
    pool = Pool(1, watcher, "v1:10.0.0.1:0/1")
    pool.own = own
    found = on(pool, monkeypatch)
    assert await found.holders(IMAGE) == (Holder(address="10.0.0.1", client="10.0.0.1:0/1"),)


async def test_daemons_that_mirror_an_image_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their watches last as long as they copy: no node would ever let go of the volume."""
    pool = Pool(1, "10.0.0.1:0/1", "10.0.0.2:0/2", "[fd00::3]:0/3", "10.0.0.4:0/4", "10.0.0.5:0/5")
    pool.sessions = {
        "a": [session("client.csi-rbd-node", "10.0.0.1:0", 1), session("client.rbd-mirror-peer", "10.0.0.2:0", 2)],
        "b": [session("client.rbd-mirror.a", "[fd00::3]:0", 3), session("client.rbd-mirror-peer", "10.0.0.4:0", 5)],
        "c": None,
    }
    found = await on(pool, monkeypatch).holders(IMAGE)
    assert [holder.client for holder in found] == ["10.0.0.1:0/1", "10.0.0.4:0/4", "10.0.0.5:0/5"]


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"clusterID": "rook-ceph"}, "volume archive: spec.csi.volumeAttributes has no 'pool': expected the pool"),
        ({"pool": "p"}, "has no 'clusterID': expected the namespace"),
        (
            {"clusterID": "rook-ceph", "pool": "p", "radosNamespace": "a,b"},
            "has 'radosNamespace' 'a,b': expected a name",
        ),
    ],
)
async def test_an_attribute_that_is_missing_or_wrong_is_named(
    attributes: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = on(Pool(), monkeypatch)
    volume = Volume(driver=DRIVER, attributes=attributes, handle="archive")
    with pytest.raises(BackendError, match=named):
        await found.attachment(volume, {}, {})
    assert await found.holders(volume) == (), "nobody can have opened it: it may be detached"


async def test_the_pool_for_the_data_is_named_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    found = on(Pool(0), monkeypatch)
    volume = Volume(driver=DRIVER, attributes={**IMAGE.attributes, "dataPool": "ec-poool"})
    with pytest.raises(BackendError, match=r"pool 'ec-poool' \(parameter 'dataPool'\) does not exist"):
        await found.create(NewVolume(volume=volume, size=1, options={}))


async def test_an_image_is_removed_by_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first was given up on at its deadline, and goes on in its thread."""
    pool = Pool()
    found = on(pool, monkeypatch)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.delete, IMAGE)
        await anyio.to_thread.run_sync(pool.asked.wait, 10)
        tasks.cancel_scope.cancel()
    with pytest.raises(BackendError, match="image p/i: it is being removed, by a call that has not ended"):
        await found.delete(IMAGE)
    assert pool.removals == 1
    pool.may_change.set()


async def test_an_expansion_that_was_given_up_on_does_not_shrink_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim was made larger again while the first call hung; the second must not overtake it."""
    pool = Pool(5)
    found, volume = on(pool, monkeypatch), IMAGE
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(found.expand, volume, 10)
        await anyio.to_thread.run_sync(pool.asked.wait, 10)
        tasks.cancel_scope.cancel()
    with pytest.raises(BackendError, match="image p/i: it is being grown"):
        await found.expand(volume, 20)
    pool.may_change.set()
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
