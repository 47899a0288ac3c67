"""Block volumes of Ceph: RBD images, by librbd (https://docs.ceph.com/en/latest/rbd/api/librbdpy/).

StorageClass parameters, volume handles and volume attributes are those of Ceph's CSI driver
(https://github.com/ceph/ceph-csi/blob/devel/docs/rbd/deploy.md), so its classes and volumes are served as they are; the
parameters of the Flexvolume driver that came before it (`ceph.rook.io/block`) are, too.
"""

from __future__ import annotations

import errno
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from anyio import current_time

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph.members import ENDPOINTS, requires_msgr2
from controller.ceph.rados import CephError
from controller.ceph.threads import Lane
from controller.runtime.kube import (
    CONFIG_MAP,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    ConfigMap,
    StorageClass,
    VolumeAttachment,
    resource_of,
)
from controller.runtime.reconciler import Request
from controller.volumes import system
from controller.volumes.backend import BackendError, Created, Description, GoneError, Holder, ParameterError, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Set
    from types import ModuleType

    from controller.ceph.rados import Connections, RadosCluster
    from controller.framework.settings import Settings
    from controller.runtime import Manager
    from informers import Delta, Informer

SUFFIX = ".rbd.csi.ceph.com"
LEGACY_PROVISIONER = "ceph.rook.io/block"
LEGACY_NAMESPACE = "rook-ceph"
"""Where the cluster is that a legacy class does not name."""

NODE_SECRET, PROVISIONER_SECRET = "rook-csi-rbd-node", "rook-csi-rbd-provisioner"
"""The Secrets that this operator keeps in a cluster's namespace."""

NAME_PREFIX = "csi-vol-"
HANDLE_VERSION = "0001"
"""What a volume handle of Ceph's CSI driver begins with."""

_NAME = re.compile(r"[^\s,/@]+")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:\[\]]+:[0-9]+")
"""What the kernel reads as a whole: it is handed pool, image, namespace and mons in one line of text."""

_CLIENT = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9.]+):\d+/\d+")
"""A client's address with its nonce, as in "v1:10.0.0.1:0/123" and "[v2:[fd00::1]:0/123,v1:[fd00::1]:0/123]"."""

FEATURES = {
    "layering": 1,
    "striping": 2,
    "exclusive-lock": 4,
    "object-map": 8,
    "fast-diff": 16,
    "deep-flatten": 32,
    "journaling": 64,
}
"""Feature bits by the names that `rbd feature` knows."""

_NEEDS = {"object-map": "exclusive-lock", "fast-diff": "object-map", "journaling": "exclusive-lock"}

_SERVED = frozenset(
    {
        "clusterID",
        "pool",
        "dataPool",
        "radosNamespace",
        "imageFormat",
        "imageFeatures",
        "volumeNamePrefix",
        "mounter",
        "mapOptions",
        "stripeUnit",
        "stripeCount",
        "objectSize",
    }
)
_LEGACY_SERVED = frozenset({"blockPool", "pool", "clusterNamespace", "clusterName", "fstype", "dataBlockPool"})

_FENCE_SECONDS = 5 * 365 * 24 * 3600
"""How long a client stays fenced; as long as by Ceph's CSI driver. A node that was cut off, not down, still has data to
write when it is back. It can never be fenced for longer than it should: a new client has another nonce.
"""

_CALL_SECONDS = 60.0
_WAY_SECONDS = 5.0
"""How long what a cluster says of the way to it holds, and how long it is not asked again after it did not answer."""

_REMOVAL_SECONDS = 540.0
"""The removal of a large image takes minutes, object by object; it goes on where it was cut off."""


class PoolMissingError(BackendError):
    """There is no pool of that name, and so no image in it."""


class IncompleteError(BackendError):
    """A volume's attributes do not say which image it is: nobody can have opened it."""


class Changes:
    """Images that are being grown or removed: by one call at a time, which may be one that nobody waits for any more.

    Of two growths at once, the one that asks for less could be carried out last, and librbd would cut the image to that
    size. A second removal would hold a second thread for as long as the first takes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[tuple[str, str], str] = {}

    @contextmanager
    def alone(self, volume: Volume, change: str) -> Iterator[None]:
        """Until the block is left, nobody else in this process changes the volume's image.

        Args:
            volume: The volume.
            change: What is done to it, as in "it is being grown".

        Raises:
            CephError: Somebody does already (`errno.EBUSY`).
        """
        image = (volume.attributes.get("clusterID", ""), _named(volume))
        with self._lock:
            if image in self._images:
                raise CephError(errno.EBUSY, f"it is being {self._images[image]}, by a call that has not ended")
            self._images[image] = change
        try:
            yield
        finally:
            with self._lock:
                del self._images[image]


@dataclass(frozen=True, slots=True)
class Way:
    """How nodes reach a cluster.

    Attributes:
        fsid: Which cluster it is.
        monitors: The mons' "address:port", with commas between them.
        mode: The kernel client's `ms_mode`; empty for its default, the first version of the protocol.
    """

    fsid: str
    monitors: str
    mode: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a cluster said of the way to it, or why it did not, to whom that was said, and until when it holds."""

    cluster: RadosCluster
    endpoints: str
    until: float
    answer: Way | CephError


class RbdBackend:
    """Serves RBD images as volumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        connections: Ways to the clusters, by namespace.
        clusters: The CephClusters that are served.
        config_maps: The ConfigMaps of their namespaces.
        namespaces: The namespaces that are served; None: all.
        home: The operator's own namespace. Upstream names the driver after it, whatever namespaces the clusters are in.
    """

    def __init__(
        self,
        connections: Connections,
        clusters: Informer[CephCluster],
        config_maps: Informer[ConfigMap],
        namespaces: Collection[str] | None,
        home: str,
    ) -> None:
        self._connections = connections
        self._clusters = clusters
        self._config_maps = config_maps
        self._namespaces = namespaces
        self._home = home
        self._changes = Changes()
        self._asking: dict[str, anyio.Lock] = {}
        self._asked: dict[str, _Asked] = {}

    def serves(self, driver: str) -> bool:
        """Drivers are named after the operator's namespace, or after a cluster's that is served.

        Where all namespaces are served, others' drivers are told apart by their having no CephCluster here.
        """
        namespace = driver.removesuffix(SUFFIX)
        return driver.endswith(SUFFIX) and (namespace == self._home or self._has_driver(namespace))

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself; a legacy class names the namespace in its parameters."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            namespace = _legacy_namespace(storage_class.parameters)
            return f"{namespace}{SUFFIX}" if self._has_driver(namespace) else ""
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def not_served(self, storage_class: StorageClass) -> str:
        """For a class of a cluster here, with a driver that nobody here is."""
        cluster = storage_class.parameters.get("clusterID", "")
        if not storage_class.provisioner.endswith(SUFFIX) or self.serves(storage_class.provisioner):
            return ""
        if not self._has(cluster) or not self._clusters.keys(cluster):
            return ""
        namespaces = self._namespaces
        if namespaces is None:
            namespaces = [namespace for namespace, _ in self._clusters.keys(None)]
        served = " or ".join(f"{namespace}{SUFFIX}" for namespace in sorted({self._home, *namespaces}))
        return (
            f"StorageClass {storage_class.metadata.name}: provisioner is {storage_class.provisioner!r}, which this "
            f"operator does not serve, though it serves the cluster in namespace {cluster}: expected {served}"
        )

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The image that a claim gets: its name comes from the claim's uid."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            return _describe_legacy(storage_class, claim_uid)
        return _describe(storage_class, claim_uid, self._has)

    def identity(self, volume: Volume) -> str:
        """The image, where the attributes tell: several drivers, and handles of several forms, may be of one image."""
        attributes = volume.attributes
        if volume.driver.endswith(SUFFIX) and attributes.get("clusterID") and attributes.get("pool"):
            return f"{attributes['clusterID']}/{_named(volume)}"
        return f"{volume.driver} {volume.handle}"

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """By the end of the image's name."""
        return image_name(volume).endswith(claim_uid)

    async def create(self, volume: Volume, size: int, options: Mapping[str, str]) -> Created:
        """Creates the image."""
        found, pool_id = await self._on_pool(
            volume, lambda handle, ioctx: _create(handle, ioctx, volume, size, options, self._changes)
        )
        return Created(handle=volume_handle(volume, pool_id), size=found)

    async def delete(self, volume: Volume) -> None:
        """Removes the image, object by object; a removal that was cut off is continued by the next.

        Not by the mgr's task queue, as Ceph's CSI driver does it: there, a task that crashes the mgr is tried for ever.
        """
        _check(volume)
        cluster = self._cluster(volume)

        def remove(_: Any, ioctx: Any) -> None:
            with self._changes.alone(volume, "removed"):
                _remove(ioctx, volume)

        try:
            await cluster.use(
                lambda handle: _with_ioctx(handle, volume, remove), lane=Lane.LONG, seconds=_REMOVAL_SECONDS
            )
        except PoolMissingError:
            return
        except Exception as error:
            if getattr(error, "errno", None) is None:
                raise
            raise BackendError(f"image {_named(volume)}: {error}") from error

    async def expand(self, volume: Volume, size: int) -> int:
        """Grows the image; the client that holds its lock does it for us."""
        return await self._on_pool(volume, lambda _, ioctx: _grow(ioctx, volume, size, self._changes))

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """The image's watchers: each client that has it open for writing is one, and for 30 s after its death.

        This operator's own client is none: it has images open for moments, to grow them.
        """
        return await self._clients(volume, _watchers)

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """The owner of the image's exclusive lock, if it is no watcher: the lock outlives the watch."""
        return await self._clients(volume, _absent)

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Puts the client on the OSDs' blocklist."""
        try:
            await self._cluster(volume).mon(
                "osd blocklist", blocklistop="add", addr=holder.client, expire=float(_FENCE_SECONDS)
            )
        except CephError as error:
            raise BackendError(f"client {holder.client} of image {_named(volume)} was not fenced: {error}") from error

    async def attachment(self, volume: Volume, told: Mapping[str, str]) -> Mapping[str, str]:
        """Which cluster it is, where its mons are, and the image's features, by which a node chooses how to map it."""
        way = await self._way(volume)
        features = told.get("imageFeatures")
        if not features:
            features = str(await self._on_pool(volume, lambda _, ioctx: _features(ioctx, volume)))
        attributes = volume.attributes
        metadata = {
            "clusterID": attributes["clusterID"],
            "fsid": way.fsid,
            "monitors": way.monitors,
            "pool": attributes["pool"],
            "imageName": image_name(volume),
            "imageFeatures": features,
        }
        if attributes.get("radosNamespace"):
            metadata["radosNamespace"] = attributes["radosNamespace"]
        if way.mode:
            metadata["msMode"] = way.mode
        return metadata

    def _has(self, namespace: str) -> bool:
        return self._namespaces is None or namespace in self._namespaces

    def _has_driver(self, namespace: str) -> bool:
        return bool(self._clusters.keys(namespace)) if self._namespaces is None else namespace in self._namespaces

    def _cluster(self, volume: Volume) -> RadosCluster:
        namespace = volume.attributes.get("clusterID", "")
        if not self._has(namespace) or not self._clusters.keys(namespace):
            raise GoneError(f"there is no CephCluster in namespace {namespace!r} (clusterID of image {_named(volume)})")
        cluster = self._connections.get(namespace)
        if cluster is None:
            raise BackendError(f"the CephCluster in namespace {namespace} has not been reached yet")
        return cluster

    async def _clients(
        self, volume: Volume, look: Callable[[Any, Any, Volume], tuple[Holder, ...]]
    ) -> tuple[Holder, ...]:
        if not self._clusters.keys(volume.attributes.get("clusterID", "")):
            return ()  # with the cluster, nothing is left that could be written to twice
        try:
            return await self._on_pool(volume, lambda handle, ioctx: look(handle, ioctx, volume))
        except (PoolMissingError, IncompleteError):
            return ()

    async def _on_pool[T](self, volume: Volume, work: Callable[[Any, Any], T]) -> T:
        """Runs `work` in a worker thread, with the connection and an I/O context of the volume's pool and namespace."""
        _check(volume)
        cluster = self._cluster(volume)
        try:
            return await cluster.use(
                lambda handle: _with_ioctx(handle, volume, work), lane=Lane.IMAGES, seconds=_CALL_SECONDS
            )
        except CephError as error:
            raise BackendError(f"image {_named(volume)}: {error}") from error

    async def _way(self, volume: Volume) -> Way:
        """How nodes reach the volume's cluster.

        Many volumes ask at once, when a leader starts or the mons have moved: one question answers them all.
        """
        _check(volume)
        cluster, namespace = self._cluster(volume), volume.attributes["clusterID"]
        config_map = self._config_maps.get(namespace, ENDPOINTS)
        endpoints = config_map.data.get("data", "") if config_map is not None else ""
        async with self._asking.setdefault(namespace, anyio.Lock()):
            asked = self._asked.get(namespace)
            if (
                asked is None
                or (asked.cluster, asked.endpoints) != (cluster, endpoints)
                or asked.until < current_time()
            ):
                answer = await self._ask(cluster, namespace)
                asked = _Asked(cluster, endpoints, current_time() + _WAY_SECONDS, answer)
                self._asked[namespace] = asked
        if isinstance(asked.answer, CephError):
            error = asked.answer
            raise BackendError(f"the mons of the Ceph cluster of image {_named(volume)} do not answer: {error}")
        return asked.answer

    async def _ask(self, cluster: RadosCluster, namespace: str) -> Way | CephError:
        mode = next((ms_mode(found) for found in self._clusters.list(namespace)), "")
        try:
            monmap = await cluster.mon("mon dump")
        except CephError as error:
            return error
        return Way(monmap["fsid"], ",".join(mon_addresses(monmap, msgr2=bool(mode))), mode)


def register(manager: Manager, settings: Settings, connections: Connections) -> None:
    """Has `manager` serve RBD volumes."""
    informers = manager.informers
    clusters = informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    config_maps = informers.informer(CONFIG_MAP, ConfigMap)
    attachments = informers.informer(VOLUME_ATTACHMENT, VolumeAttachment)
    classes = informers.informer(STORAGE_CLASS, StorageClass)
    scopes = tuple(clusters.cache.scopes)
    served, home = (None if "" in scopes else scopes), settings.operator_namespace
    backend = RbdBackend(connections, clusters, config_maps, served, home)
    registered = system.register(manager, "rbd", backend, home)

    def attached(config_map: ConfigMap) -> list[Request]:
        """Every attachment of the cluster whose mons these are: nodes are told where the mons are."""
        namespace = config_map.metadata.namespace
        return [
            Request("", attachment.metadata.name)
            for attachment in attachments.list()
            if attachment.status.attachment_metadata.get("clusterID") == namespace
        ]

    def waiting(cluster: CephCluster) -> list[Request]:
        """Every claim of a class for the cluster."""
        namespace = cluster.metadata.namespace
        found = [
            c for c in classes.list() if namespace in (c.parameters.get("clusterID"), _legacy_namespace(c.parameters))
        ]
        return [request for storage_class in found for request in registered.claims_of(storage_class)]

    registered.attachments.watch(config_maps, attached, _endpoints_changed)
    registered.claims.watch(clusters, waiting, lambda delta: delta.old is None)


def volume_handle(volume: Volume, pool_id: int) -> str:
    """The CSI volume id, in the form of Ceph's CSI driver: version, cluster, pool and image, told apart by lengths."""
    cluster = volume.attributes["clusterID"]
    uid = image_name(volume)[-36:]
    return f"{HANDLE_VERSION}-{len(cluster):04x}-{cluster}-{pool_id:016x}-{uid}"


def image_name(volume: Volume) -> str:
    """The image of a volume: empty where nothing tells.

    As by Ceph's CSI driver: attributes may lack it. The handle of a volume that was made by hand is the image's name
    (https://github.com/ceph/ceph-csi/blob/devel/docs/static-pvc.md), that of one which an old driver made ends in it.
    """
    attributes, handle = volume.attributes, volume.handle
    if attributes.get("imageName"):
        return attributes["imageName"]
    if volume.is_static or not handle.startswith(f"{HANDLE_VERSION}-"):
        return handle
    return f"{attributes.get('volumeNamePrefix') or NAME_PREFIX}{handle[-36:]}"


def ms_mode(cluster: CephCluster) -> str:
    """How the kernel's client has to speak to a cluster: its option `ms_mode`; empty: as it does by itself.

    https://docs.ceph.com/en/latest/man/8/rbd/#kernel-rbd-krbd-options. A kernel compresses nothing.
    """
    if cluster.spec.network.connections.encryption.enabled:
        return "secure"
    return "prefer-crc" if requires_msgr2(cluster) else ""


def mon_addresses(monmap: Mapping[str, Any], *, msgr2: bool) -> list[str]:
    """An "address:port" for each mon of `mon dump`: of the first protocol if it has one, which every client speaks.

    A client finds out the rest from the mons. With `msgr2`: of the second.
    """
    addresses = []
    for mon in monmap["mons"]:
        by_protocol = {a["type"]: a["addr"] for a in mon["public_addrs"]["addrvec"]}
        order = ("v2", "v1", "any") if msgr2 else ("v1", "v2", "any")
        address = next(by_protocol[protocol] for protocol in order if protocol in by_protocol)
        if not _ADDRESS.fullmatch(address):
            raise BackendError(f"a mon's address is {address!r}: expected an IP address and a port")
        addresses.append(address)
    return addresses


def _describe(storage_class: StorageClass, claim_uid: str, has: Callable[[str], bool]) -> Description:
    parameters = storage_class.parameters
    cluster = _required(storage_class, "clusterID", "the namespace of a CephCluster")
    if not has(cluster):
        raise _wrong(storage_class, "clusterID", cluster, "a namespace that this operator serves")
    pool = _required(storage_class, "pool", "the name of a CephBlockPool")
    if (image_format := parameters.get("imageFormat") or "2") != "2":
        raise _wrong(storage_class, "imageFormat", image_format, '"2"')
    if (encrypted := parameters.get("encrypted", "false")).lower() != "false":
        raise _wrong(storage_class, "encrypted", encrypted, '"false": volumes are not encrypted by this operator')
    for key in ("pool", "dataPool", "radosNamespace", "volumeNamePrefix"):
        if (value := parameters.get(key)) and not _NAME.fullmatch(value):
            raise _wrong(storage_class, key, value, "a name without spaces, commas, slashes and @")
    if re.search(r"\s", options := parameters.get("mapOptions", "")):
        raise _wrong(storage_class, "mapOptions", options, "options without spaces, with commas between them")
    features = _checked_features(storage_class)
    attributes = {"clusterID": cluster, "pool": pool, "imageFormat": image_format}
    attributes["imageName"] = f"{parameters.get('volumeNamePrefix') or NAME_PREFIX}{claim_uid}"
    if features:
        attributes["imageFeatures"] = ",".join(features)
    for key in ("dataPool", "radosNamespace", "mounter", "mapOptions"):
        if parameters.get(key):
            attributes[key] = parameters[key]
    for key in ("stripeUnit", "stripeCount", "objectSize"):
        if key in parameters and not parameters[key].isdigit():
            raise _wrong(storage_class, key, parameters[key], "a whole number")
    return Description(
        volume=Volume(driver=storage_class.provisioner, attributes=attributes),
        secret_namespace=cluster,
        stage_secret=NODE_SECRET,
        expand_secret=PROVISIONER_SECRET,
        options={key: parameters[key] for key in ("stripeUnit", "stripeCount", "objectSize") if key in parameters},
        unserved=_unserved(parameters, _SERVED),
    )


def _describe_legacy(storage_class: StorageClass, claim_uid: str) -> Description:
    parameters = storage_class.parameters
    namespace = _legacy_namespace(parameters)
    pool = parameters.get("blockPool") or parameters.get("pool")
    if not pool:
        raise _wrong(storage_class, "blockPool", "", "the name of a CephBlockPool")
    attributes = {"clusterID": namespace, "pool": pool, "imageFormat": "2", "imageName": f"{NAME_PREFIX}{claim_uid}"}
    if parameters.get("dataBlockPool"):
        attributes["dataPool"] = parameters["dataBlockPool"]
    return Description(
        volume=Volume(driver=f"{namespace}{SUFFIX}", attributes=attributes),
        secret_namespace=namespace,
        stage_secret=NODE_SECRET,
        expand_secret=PROVISIONER_SECRET,
        unserved=_unserved(parameters, _LEGACY_SERVED),
    )


def _legacy_namespace(parameters: Mapping[str, str]) -> str:
    return parameters.get("clusterNamespace") or parameters.get("clusterName") or LEGACY_NAMESPACE


def _unserved(parameters: Mapping[str, str], served: Collection[str]) -> tuple[str, ...]:
    return tuple(
        name
        for name, value in parameters.items()
        if value
        and name not in served
        and not name.startswith("csi.storage.k8s.io/")
        and name not in ("encrypted", "fsType")
    )


def _checked_features(storage_class: StorageClass) -> tuple[str, ...]:
    value = storage_class.parameters.get("imageFeatures", "")
    features = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in features:
        if name not in FEATURES:
            raise _wrong(storage_class, "imageFeatures", value, f"names among {', '.join(FEATURES)}")
        if (needed := _NEEDS.get(name)) and needed not in features:
            raise _wrong(storage_class, "imageFeatures", value, f"{needed} with {name}, which needs it")
    return features


def _required(storage_class: StorageClass, parameter: str, expected: str) -> str:
    value = storage_class.parameters.get(parameter, "")
    if not value:
        raise _wrong(storage_class, parameter, value, expected)
    return value


def _wrong(storage_class: StorageClass, parameter: str, found: str, expected: str) -> ParameterError:
    return ParameterError(
        f"StorageClass {storage_class.metadata.name}: parameters[{parameter!r}] is {found!r}: expected {expected}"
    )


def _named(volume: Volume) -> str:
    attributes = volume.attributes
    return "/".join(filter(None, (attributes.get("pool"), attributes.get("radosNamespace"), image_name(volume))))


def _check(volume: Volume) -> None:
    """Refuses attributes, written by hand perhaps, with which nothing can be done.

    Raises:
        IncompleteError: It names the attribute.
    """
    given, image = volume.attributes, image_name(volume)
    attributes = f"volume {volume.handle}: spec.csi.volumeAttributes"
    for key, value, expected in (
        ("clusterID", given.get("clusterID"), "the namespace of the CephCluster"),
        ("pool", given.get("pool"), "the pool of the image"),
        ("imageName", image, "the name of the image"),
    ):
        if not value:
            raise IncompleteError(f"{attributes} has no {key!r}: expected {expected}")
    for key, value in (("pool", given["pool"]), ("radosNamespace", given.get("radosNamespace")), ("imageName", image)):
        if value and not _NAME.fullmatch(value):
            raise IncompleteError(
                f"{attributes} has {key!r} {value!r}: expected a name without spaces, commas, slashes and @"
            )


def _rbd() -> ModuleType:
    import rbd  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rbd
    return module


def _with_ioctx[T](handle: Any, volume: Volume, work: Callable[[Any, Any], T]) -> T:
    pool = volume.attributes["pool"]
    try:
        ioctx = handle.open_ioctx(pool)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOENT:
            raise _pool_missing(volume, "pool") from error
        raise
    try:
        ioctx.set_namespace(volume.attributes.get("radosNamespace", ""))
        return work(handle, ioctx)
    finally:
        ioctx.close()


def _pool_missing(volume: Volume, parameter: str) -> PoolMissingError:
    pool = volume.attributes[parameter]
    return PoolMissingError(f"image {_named(volume)}: pool {pool!r} (parameter {parameter!r}) does not exist")


def _create(
    handle: Any, ioctx: Any, volume: Volume, size: int, options: Mapping[str, str], changes: Changes
) -> tuple[int, int]:
    rbd = _rbd()
    name = image_name(volume)
    try:
        return _grow(ioctx, volume, size, changes), ioctx.get_pool_id()
    except rbd.ImageNotFound:
        pass
    data_pool = volume.attributes.get("dataPool")
    if data_pool and not handle.pool_exists(data_pool):  # librbd would say that the image was not found
        raise _pool_missing(volume, "dataPool")
    features = volume.attributes.get("imageFeatures", "")
    order = None
    if object_size := int(options.get("objectSize", "0")):
        order = object_size.bit_length() - 1
    rbd.RBD().create(
        ioctx,
        name,
        size,
        order,
        old_format=False,
        features=sum(FEATURES[feature] for feature in features.split(",")) if features else None,
        stripe_unit=int(options.get("stripeUnit", "0")),
        stripe_count=int(options.get("stripeCount", "0")),
        data_pool=data_pool,
    )
    return size, ioctx.get_pool_id()


def _grow(ioctx: Any, volume: Volume, size: int, changes: Changes) -> int:
    rbd, name = _rbd(), image_name(volume)
    with rbd.Image(ioctx, name, read_only=True) as image:
        present: int = image.size()
    if present >= size:
        return present
    with changes.alone(volume, "grown"), rbd.Image(ioctx, name) as image:
        if image.size() < size:
            image.resize(size, allow_shrink=False)
        grown: int = image.size()
    return grown


def _remove(ioctx: Any, volume: Volume) -> None:
    rbd = _rbd()
    try:
        rbd.RBD().remove(ioctx, image_name(volume))
    except rbd.ImageNotFound:
        pass
    except rbd.ImageBusy as error:
        raise CephError(errno.EBUSY, "a client has it open") from error
    except rbd.ImageHasSnapshots as error:
        raise CephError(errno.ENOTEMPTY, "it has snapshots") from error


def _watchers(handle: Any, ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    rbd, own = _rbd(), set(_CLIENT.findall(handle.get_addrs()))
    try:
        with rbd.Image(ioctx, image_name(volume), read_only=True) as image:
            clients = {plain(watcher["addr"]) for watcher in image.watchers_list()}
    except rbd.ImageNotFound:
        return ()
    return tuple(_holder(client) for client in sorted(clients - own))


def _absent(_: Any, ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    rbd = _rbd()
    try:
        with rbd.Image(ioctx, image_name(volume), read_only=True) as image:
            before = _lockers(image)
            watchers = {plain(watcher["addr"]) for watcher in image.watchers_list()}
            after = _lockers(image)
    except rbd.ImageNotFound:
        return ()
    return tuple(_holder(client) for client in sorted(lost(before, watchers, after)))


def lost(before: Set[str], watchers: Set[str], after: Set[str]) -> Set[str]:
    """Clients that own a lock and watch no more, by three looks: at the owners, at the watchers, at the owners again.

    One that takes the lock or gives it back meanwhile is not among them.
    """
    return (before & after) - watchers


def _lockers(image: Any) -> set[str]:
    found = image.list_lockers()
    return {plain(client) for _, _, client in found["lockers"]} if found else set()


def _holder(client: str) -> Holder:
    return Holder(address=address_of(client), client=client)


def plain(entity: str) -> str:
    """A client's "10.0.0.1:0/123" or "[fd00::1]:0/123", without the protocol that may stand before it."""
    found = _CLIENT.search(entity)
    return found.group() if found is not None else entity


def address_of(entity: str) -> str:
    """The IP address of a client's "10.0.0.1:0/123", "v1:10.0.0.1:0/123" or "[fd00::1]:0/123"."""
    return plain(entity).rpartition(":")[0].strip("[]")


def _features(ioctx: Any, volume: Volume) -> int:
    with _rbd().Image(ioctx, image_name(volume), read_only=True) as image:
        features: int = image.features()
    return features


def _endpoints_changed(delta: Delta[ConfigMap]) -> bool:
    if delta.name != ENDPOINTS:
        return False
    old, new = delta.old, delta.new
    return old is not None and new is not None and old.data.get("data") != new.data.get("data")
