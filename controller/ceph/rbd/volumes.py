"""What says which RBD image a volume is: StorageClass parameters, volume handles and volume attributes. All of it pure.

They are those of Ceph's CSI driver (https://github.com/ceph/ceph-csi/blob/devel/docs/rbd/deploy.md), so its classes and
volumes are served as they are; the parameters of the Flexvolume driver that came before it (`ceph.rook.io/block`) are,
too.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from controller.ceph.access.rados_namespaces import NAME, address_of, name_of
from controller.ceph.csi import users as csi
from controller.ceph.csi.volumes import HANDLE_VERSION, NAME_PREFIX, handle, required, unserved, wrong
from controller.ceph.rbd.constrained import PARAMETER, constrained_pools
from controller.volumes.backend import BackendError, Choice, Description, Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from controller.runtime.kube import StorageClass

SUFFIX = ".rbd.csi.ceph.com"
LEGACY_PROVISIONER = "ceph.rook.io/block"
LEGACY_NAMESPACE = "rook-ceph"
"""Where the cluster is that a legacy class does not name."""

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
        PARAMETER,
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


_OF_RADOS_NAMESPACE = "status.info.clusterID of a CephBlockPoolRadosNamespace"


class IncompleteError(BackendError):
    """A volume's attributes do not say which image it is: nobody can have opened it."""


def describe(
    storage_class: StorageClass,
    claim_uid: str,
    has: Callable[[str], bool],
    find: Callable[[str], CephBlockPoolRadosNamespace | None],
) -> Description:
    """The image that a claim gets: its name comes from the claim's uid.

    Args:
        storage_class: The claim's class, of this driver or the one before it.
        claim_uid: The claim's uid.
        has: Whether a namespace is served.
        find: The RADOS namespace that a clusterID stands for; None: it is a namespace of Kubernetes'.

    Raises:
        ParameterError: A parameter is missing or wrong; the message names it.
    """
    if storage_class.provisioner == LEGACY_PROVISIONER:
        return _describe_legacy(storage_class, claim_uid)
    return _describe(storage_class, claim_uid, has, find)


def volume_handle(volume: Volume, pool_id: int) -> str:
    """The CSI volume id, in the form of Ceph's CSI driver."""
    return handle(volume.attributes["clusterID"], pool_id, image_name(volume)[-36:])


def image_name(volume: Volume) -> str:
    """The image of a volume: empty where nothing tells.

    As by Ceph's CSI driver: attributes may lack it. The handle of a volume that was made by hand is the image's name
    (https://github.com/ceph/ceph-csi/blob/devel/docs/static-pvc.md), that of one which an old driver made ends in it.
    """
    attributes, known = volume.attributes, volume.handle
    if attributes.get("imageName"):
        return attributes["imageName"]
    if volume.is_static or not known.startswith(f"{HANDLE_VERSION}-"):
        return known
    return f"{attributes.get('volumeNamePrefix') or NAME_PREFIX}{known[-36:]}"


def named(volume: Volume) -> str:
    """The image of a volume with its pool and namespace, for messages."""
    attributes = volume.attributes
    return "/".join(filter(None, (attributes.get("pool"), attributes.get("radosNamespace"), image_name(volume))))


def check(volume: Volume) -> None:
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
        if value and not NAME.fullmatch(value):
            raise IncompleteError(
                f"{attributes} has {key!r} {value!r}: expected a name without spaces, commas, slashes and @"
            )


def legacy_namespace(parameters: Mapping[str, str]) -> str:
    """The namespace of the cluster that a legacy class is for."""
    return parameters.get("clusterNamespace") or parameters.get("clusterName") or LEGACY_NAMESPACE


def _describe(
    storage_class: StorageClass,
    claim_uid: str,
    has: Callable[[str], bool],
    find: Callable[[str], CephBlockPoolRadosNamespace | None],
) -> Description:
    parameters = storage_class.parameters
    cluster = required(storage_class, "clusterID", f"the namespace of a CephCluster, or {_OF_RADOS_NAMESPACE}")
    rados, constrained = find(cluster), constrained_pools(storage_class)
    if constrained:
        pools = {f"{PARAMETER}[{number}].poolName": found.pool_name for number, found in enumerate(constrained)}
    else:
        pools = {"pool": required(storage_class, "pool", "the name of a CephBlockPool")}
    namespace, place = _place(storage_class, has, rados, pools)
    if (image_format := parameters.get("imageFormat") or "2") != "2":
        raise wrong(storage_class, "imageFormat", image_format, '"2"')
    if (encrypted := parameters.get("encrypted", "false")).lower() != "false":
        raise wrong(storage_class, "encrypted", encrypted, '"false": volumes are not encrypted by this operator')
    for key in ("pool", "dataPool", "radosNamespace", "volumeNamePrefix"):
        if (value := parameters.get(key)) and not NAME.fullmatch(value):
            raise wrong(storage_class, key, value, "a name without spaces, commas, slashes and @")
    if re.search(r"\s", options := parameters.get("mapOptions", "")):
        raise wrong(storage_class, "mapOptions", options, "options without spaces, with commas between them")
    features = _checked_features(storage_class)
    attributes = {"clusterID": cluster, "pool": next(iter(pools.values())), "imageFormat": image_format, **place}
    attributes["imageName"] = f"{parameters.get('volumeNamePrefix') or NAME_PREFIX}{claim_uid}"
    if features:
        attributes["imageFeatures"] = ",".join(features)
    for key in ("dataPool", "radosNamespace", "mounter", "mapOptions"):
        if parameters.get(key) and not (constrained and key == "dataPool"):
            attributes[key] = parameters[key]
    for key in ("stripeUnit", "stripeCount", "objectSize"):
        if key in parameters and not parameters[key].isdecimal():
            raise wrong(storage_class, key, parameters[key], "a whole number")
    driver = storage_class.provisioner
    choices = tuple(
        Choice(volume=Volume(driver=driver, attributes={**attributes, **found.attributes}), place=found.place(driver))
        for found in constrained
    )
    return Description(
        volume=choices[0].volume if choices else Volume(driver=driver, attributes=attributes),
        choices=choices,
        secret_namespace=namespace,
        stage_secret=csi.secret_name(csi.NODE),
        expand_secret=csi.secret_name(csi.PROVISIONER),
        options={key: parameters[key] for key in ("stripeUnit", "stripeCount", "objectSize") if key in parameters},
        unserved=unserved(parameters, _SERVED - {"dataPool"} if constrained else _SERVED),
    )


def _place(
    storage_class: StorageClass,
    has: Callable[[str], bool],
    rados: CephBlockPoolRadosNamespace | None,
    pools: Mapping[str, str],
) -> tuple[str, dict[str, str]]:
    """The Kubernetes namespace of the cluster, and the attribute of a volume whose RADOS namespace the clusterID tells.

    Raises:
        ParameterError: The clusterID is of nothing here, or another parameter says another place than it does.
    """
    parameters = storage_class.parameters
    if rados is None:
        namespace = parameters["clusterID"]
        if not has(namespace):
            expected = f"a namespace that this operator serves, or {_OF_RADOS_NAMESPACE}"
            raise wrong(storage_class, "clusterID", namespace, expected)
        return namespace, {}
    whose, wanted = f"of CephBlockPoolRadosNamespace {address_of(rados)}", rados.spec.block_pool_name
    for parameter, pool in pools.items():
        if pool != wanted:
            raise wrong(storage_class, parameter, pool, f"{wanted}, the pool {whose}")
    if (name := parameters.get("radosNamespace")) and name != name_of(rados):
        raise wrong(storage_class, "radosNamespace", name, f"nothing, as the clusterID is that {whose}")
    return rados.metadata.namespace, {"radosNamespace": name_of(rados)}


def _describe_legacy(storage_class: StorageClass, claim_uid: str) -> Description:
    parameters = storage_class.parameters
    namespace = legacy_namespace(parameters)
    pool = parameters.get("blockPool") or parameters.get("pool")
    if not pool:
        raise wrong(storage_class, "blockPool", "", "the name of a CephBlockPool")
    attributes = {"clusterID": namespace, "pool": pool, "imageFormat": "2", "imageName": f"{NAME_PREFIX}{claim_uid}"}
    if parameters.get("dataBlockPool"):
        attributes["dataPool"] = parameters["dataBlockPool"]
    return Description(
        volume=Volume(driver=f"{namespace}{SUFFIX}", attributes=attributes),
        secret_namespace=namespace,
        stage_secret=csi.secret_name(csi.NODE),
        expand_secret=csi.secret_name(csi.PROVISIONER),
        unserved=unserved(parameters, _LEGACY_SERVED),
    )


def _checked_features(storage_class: StorageClass) -> tuple[str, ...]:
    value = storage_class.parameters.get("imageFeatures", "")
    features = tuple(name.strip() for name in value.split(",") if name.strip())
    for name in features:
        if name not in FEATURES:
            raise wrong(storage_class, "imageFeatures", value, f"names among {', '.join(FEATURES)}")
        if (needed := _NEEDS.get(name)) and needed not in features:
            raise wrong(storage_class, "imageFeatures", value, f"{needed} with {name}, which needs it")
    return features
