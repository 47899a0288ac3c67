"""Block volumes of Ceph: RBD images, by librbd (https://docs.ceph.com/en/latest/rbd/api/librbdpy/).

StorageClass parameters, volume handles and volume attributes are those of Ceph's CSI driver
(https://github.com/ceph/ceph-csi/blob/devel/docs/rbd/deploy.md), so its classes and volumes are served as they are; the
parameters of the Flexvolume driver that came before it (`ceph.rook.io/block`) are, too.
"""

from __future__ import annotations

import errno
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CEPH_CLUSTER, CephCluster
from controller.ceph.members import ENDPOINTS
from controller.ceph.rados import CephError
from controller.ceph.threads import Lane
from controller.runtime.kube import CONFIG_MAP, VOLUME_ATTACHMENT, ConfigMap, VolumeAttachment, resource_of
from controller.runtime.reconciler import Request
from controller.volumes import system
from controller.volumes.backend import BackendError, Created, Description, GoneError, Holder, ParameterError, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Set
    from types import ModuleType

    from controller.ceph.rados import Connections, RadosCluster
    from controller.runtime import Manager
    from controller.runtime.kube import StorageClass
    from informers import Delta, Informer

SUFFIX = ".rbd.csi.ceph.com"
LEGACY_PROVISIONER = "ceph.rook.io/block"
LEGACY_NAMESPACE = "rook-ceph"
"""Where the cluster is that a legacy class does not name."""

NODE_SECRET, PROVISIONER_SECRET = "rook-csi-rbd-node", "rook-csi-rbd-provisioner"
"""The Secrets that this operator keeps in a cluster's namespace."""

NAME_PREFIX = "csi-vol-"

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
_REMOVAL_SECONDS = 540.0
"""The removal of a large image takes minutes, object by object; it goes on where it was cut off."""


class PoolMissingError(BackendError):
    """There is no pool of that name, and so no image in it."""


class Growths:
    """Images that are being grown: by one call at a time, and that may be one that nobody waits for any more.

    Of two at once, the one that asks for less could be carried out last, and librbd would cut the image to that size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: set[tuple[str, str]] = set()

    @contextmanager
    def alone(self, volume: Volume) -> Iterator[None]:
        """Until the block is left, nobody else in this process grows the volume's image.

        Raises:
            CephError: Somebody does already (`errno.EBUSY`).
        """
        image = (volume.attributes.get("clusterID", ""), _named(volume))
        with self._lock:
            if image in self._images:
                raise CephError(errno.EBUSY, "it is being grown, by a call that has not ended")
            self._images.add(image)
        try:
            yield
        finally:
            with self._lock:
                self._images.discard(image)


class RbdBackend:
    """Serves RBD images as volumes. Implements `controller.volumes.backend.VolumeBackend`.

    Args:
        connections: Ways to the clusters, by namespace.
        clusters: The CephClusters that are served.
        namespaces: The namespaces that are served; None: all.
    """

    def __init__(
        self, connections: Connections, clusters: Informer[CephCluster], namespaces: Collection[str] | None
    ) -> None:
        self._connections = connections
        self._clusters = clusters
        self._namespaces = namespaces
        self._growths = Growths()

    def serves(self, driver: str) -> bool:
        """Drivers are named after the namespaces that are served."""
        return driver.endswith(SUFFIX) and self._has(driver.removesuffix(SUFFIX))

    def driver_of(self, storage_class: StorageClass) -> str:
        """The provisioner itself; a legacy class names the namespace in its parameters."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            namespace = _legacy_namespace(storage_class.parameters)
            return f"{namespace}{SUFFIX}" if self._has(namespace) else ""
        return storage_class.provisioner if self.serves(storage_class.provisioner) else ""

    def describe(self, storage_class: StorageClass, claim_uid: str, *, filesystem: bool) -> Description:
        """The image that a claim gets: its name comes from the claim's uid."""
        if storage_class.provisioner == LEGACY_PROVISIONER:
            return _describe_legacy(storage_class, claim_uid)
        return _describe(storage_class, claim_uid, self._has)

    def is_made_for(self, volume: Volume, claim_uid: str) -> bool:
        """By the end of the image's name."""
        return image_name(volume.attributes).endswith(claim_uid)

    async def create(self, volume: Volume, size: int, options: Mapping[str, str]) -> Created:
        """Creates the image."""
        found, pool_id = await self._on_pool(
            volume, lambda ioctx, _: _create(ioctx, volume, size, options, self._growths)
        )
        return Created(handle=volume_handle(volume.attributes, pool_id), size=found)

    async def delete(self, volume: Volume) -> None:
        """Removes the image, object by object; a removal that was cut off is continued by the next.

        Not by the mgr's task queue, as Ceph's CSI driver does it: there, a task that crashes the mgr is tried for ever.
        """
        cluster = self._cluster(volume)
        try:
            await cluster.use(
                lambda handle: _with_ioctx(handle, volume, _remove), lane=Lane.LONG, seconds=_REMOVAL_SECONDS
            )
        except PoolMissingError:
            return
        except Exception as error:
            if getattr(error, "errno", None) is None:
                raise
            raise BackendError(f"image {_named(volume)}: {error}") from error

    async def expand(self, volume: Volume, size: int) -> int:
        """Grows the image; the client that holds its lock does it for us."""
        return await self._on_pool(volume, lambda ioctx, _: _grow(ioctx, volume, size, self._growths))

    async def holders(self, volume: Volume) -> tuple[Holder, ...]:
        """The image's watchers: each client that has it open for writing is one, and for 30 s after its death."""
        if not self._clusters.list(volume.attributes.get("clusterID", "")):
            return ()  # with the cluster, nothing is left that could be written to twice
        try:
            return await self._on_pool(volume, _watchers)
        except PoolMissingError:
            return ()

    async def absent(self, volume: Volume) -> tuple[Holder, ...]:
        """The owner of the image's exclusive lock, if it is no watcher: the lock outlives the watch."""
        if not self._clusters.list(volume.attributes.get("clusterID", "")):
            return ()
        try:
            return await self._on_pool(volume, _absent)
        except PoolMissingError:
            return ()

    async def fence(self, volume: Volume, holder: Holder) -> None:
        """Puts the client on the OSDs' blocklist."""
        try:
            await self._cluster(volume).mon(
                "osd blocklist", blocklistop="add", addr=holder.client, expire=float(_FENCE_SECONDS)
            )
        except CephError as error:
            raise BackendError(f"client {holder.client} of image {_named(volume)} was not fenced: {error}") from error

    async def attachment(self, volume: Volume) -> Mapping[str, str]:
        """Which cluster it is, where its mons are, and the image's features, by which a node chooses how to map it."""
        try:
            monmap = await self._cluster(volume).mon("mon dump")
        except CephError as error:
            raise BackendError(
                f"the mons of the Ceph cluster of image {_named(volume)} do not answer: {error}"
            ) from error
        features = await self._on_pool(volume, _features)
        attributes = volume.attributes
        metadata = {
            "clusterID": attributes["clusterID"],
            "fsid": monmap["fsid"],
            "monitors": ",".join(mon_addresses(monmap)),
            "pool": attributes["pool"],
            "imageName": image_name(attributes),
            "imageFeatures": str(features),
        }
        if attributes.get("radosNamespace"):
            metadata["radosNamespace"] = attributes["radosNamespace"]
        return metadata

    def _has(self, namespace: str) -> bool:
        return self._namespaces is None or namespace in self._namespaces

    def _cluster(self, volume: Volume) -> RadosCluster:
        namespace = volume.attributes.get("clusterID", "")
        if not self._has(namespace) or not self._clusters.list(namespace):
            raise GoneError(f"there is no CephCluster in namespace {namespace!r} (clusterID of image {_named(volume)})")
        cluster = self._connections.get(namespace)
        if cluster is None:
            raise BackendError(f"the CephCluster in namespace {namespace} has not been reached yet")
        return cluster

    async def _on_pool[T](self, volume: Volume, work: Callable[[Any, Volume], T]) -> T:
        """Runs `work` in a worker thread, with an I/O context of the volume's pool and namespace."""
        cluster = self._cluster(volume)
        try:
            return await cluster.use(
                lambda handle: _with_ioctx(handle, volume, work), lane=Lane.IMAGES, seconds=_CALL_SECONDS
            )
        except CephError as error:
            raise BackendError(f"image {_named(volume)}: {error}") from error


def register(manager: Manager, connections: Connections) -> None:
    """Has `manager` serve RBD volumes."""
    clusters = manager.informers.informer(resource_of(CEPH_CLUSTER), CephCluster)
    scopes = tuple(clusters.cache.scopes)
    backend = RbdBackend(connections, clusters, None if "" in scopes else scopes)
    registered = system.register(manager, "rbd", backend)
    attachments = manager.informers.informer(VOLUME_ATTACHMENT, VolumeAttachment)
    config_maps = manager.informers.informer(CONFIG_MAP, ConfigMap)

    def attached(config_map: ConfigMap) -> list[Request]:
        """Every attachment of the cluster whose mons these are: nodes are told where the mons are."""
        namespace = config_map.metadata.namespace
        return [
            Request("", attachment.metadata.name)
            for attachment in attachments.list()
            if attachment.status.attachment_metadata.get("clusterID") == namespace
        ]

    registered.attachments.watch(config_maps, attached, _endpoints_changed)


def volume_handle(attributes: Mapping[str, str], pool_id: int) -> str:
    """The CSI volume id, in the form of Ceph's CSI driver: version, cluster, pool and image, told apart by lengths."""
    cluster = attributes["clusterID"]
    uid = image_name(attributes)[-36:]
    return f"0001-{len(cluster):04x}-{cluster}-{pool_id:016x}-{uid}"


def image_name(attributes: Mapping[str, str]) -> str:
    """The image of a volume."""
    return attributes["imageName"]


def mon_addresses(monmap: Mapping[str, Any]) -> list[str]:
    """An "address:port" for each mon of `mon dump`: of the first protocol, which every client speaks, if it has one.

    A client finds out the rest from the mons.
    """
    addresses = []
    for mon in monmap["mons"]:
        by_protocol = {a["type"]: a["addr"] for a in mon["public_addrs"]["addrvec"]}
        addresses.append(by_protocol.get("v1") or by_protocol.get("v2") or by_protocol["any"])
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
    return "/".join(
        filter(None, (attributes.get("pool"), attributes.get("radosNamespace"), attributes.get("imageName")))
    )


def _rbd() -> ModuleType:
    import rbd  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rbd
    return module


def _with_ioctx[T](handle: Any, volume: Volume, work: Callable[[Any, Volume], T]) -> T:
    pool = volume.attributes["pool"]
    try:
        ioctx = handle.open_ioctx(pool)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOENT:
            raise PoolMissingError(f"image {_named(volume)}: pool {pool!r} does not exist") from error
        raise
    try:
        ioctx.set_namespace(volume.attributes.get("radosNamespace", ""))
        return work(ioctx, volume)
    finally:
        ioctx.close()


def _create(ioctx: Any, volume: Volume, size: int, options: Mapping[str, str], growths: Growths) -> tuple[int, int]:
    rbd = _rbd()
    name = image_name(volume.attributes)
    try:
        return _grow(ioctx, volume, size, growths), ioctx.get_pool_id()
    except rbd.ImageNotFound:
        pass
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
        data_pool=volume.attributes.get("dataPool"),
    )
    return size, ioctx.get_pool_id()


def _grow(ioctx: Any, volume: Volume, size: int, growths: Growths) -> int:
    rbd, name = _rbd(), image_name(volume.attributes)
    with rbd.Image(ioctx, name, read_only=True) as image:
        present: int = image.size()
    if present >= size:
        return present
    with growths.alone(volume), rbd.Image(ioctx, name) as image:
        if image.size() < size:
            image.resize(size, allow_shrink=False)
        grown: int = image.size()
    return grown


def _remove(ioctx: Any, volume: Volume) -> None:
    rbd = _rbd()
    try:
        rbd.RBD().remove(ioctx, image_name(volume.attributes))
    except rbd.ImageNotFound:
        pass
    except rbd.ImageBusy as error:
        raise CephError(errno.EBUSY, "a client has it open") from error
    except rbd.ImageHasSnapshots as error:
        raise CephError(errno.ENOTEMPTY, "it has snapshots") from error


def _watchers(ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    rbd = _rbd()
    try:
        with rbd.Image(ioctx, image_name(volume.attributes), read_only=True) as image:
            return tuple(_holder(watcher["addr"]) for watcher in image.watchers_list())
    except rbd.ImageNotFound:
        return ()


def _absent(ioctx: Any, volume: Volume) -> tuple[Holder, ...]:
    rbd = _rbd()
    try:
        with rbd.Image(ioctx, image_name(volume.attributes), read_only=True) as image:
            before = _lockers(image)
            watchers = {watcher["addr"] for watcher in image.watchers_list()}
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
    return {client for _, _, client in found["lockers"]} if found else set()


def _holder(client: str) -> Holder:
    return Holder(address=address_of(client), client=client)


def address_of(entity: str) -> str:
    """The IP address of a client's "10.0.0.1:0/123", "v1:10.0.0.1:0/123" or "[fd00::1]:0/123"."""
    host = entity.rpartition(":")[0]
    for protocol in ("v1:", "v2:", "any:"):
        host = host.removeprefix(protocol)
    return host.strip("[]")


def _features(ioctx: Any, volume: Volume) -> int:
    with _rbd().Image(ioctx, image_name(volume.attributes), read_only=True) as image:
        features: int = image.features()
    return features


def _endpoints_changed(delta: Delta[ConfigMap]) -> bool:
    if delta.name != ENDPOINTS:
        return False
    old, new = delta.old, delta.new
    return old is not None and new is not None and old.data.get("data") != new.data.get("data")
