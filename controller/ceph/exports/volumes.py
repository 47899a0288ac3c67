"""What says which subvolume an NFS volume is, and by which servers it is exported. All of it pure.

Parameters and attributes are those of Ceph's CSI driver for NFS
(https://github.com/ceph/ceph-csi/blob/devel/docs/nfs/deploy.md): those of CephFS, and `nfsCluster`, `server`, `share`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from controller.ceph.cephfs import volumes as cephfs
from controller.ceph.csi.volumes import required, wrong
from controller.volumes.backend import BackendError, Description, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.runtime.kube import StorageClass

SUFFIX = ".nfs.csi.ceph.com"

KINDS_OF_SECURITY = ("sys", "krb5", "krb5i", "krb5p", "none")
"""What exports may ask of clients."""

_OWN = ("nfsCluster", "server", "secTypes", "clients")
_OF_OTHER_CLIENTS = ("mounter", "kernelMountOptions", "fuseMountOptions", "backingSnapshot")
"""Parameters of CephFS that mean nothing here."""
_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
_CLIENT = re.compile(r"[^\s,]+")


def describe(storage_class: StorageClass, claim_uid: str, has: Callable[[str], bool]) -> Description:
    """The subvolume that a claim gets, and how it is exported.

    Args:
        storage_class: The claim's class.
        claim_uid: The claim's uid.
        has: Whether a namespace is served.

    Raises:
        ParameterError: A parameter is missing or wrong; the message names it.
    """
    parameters = storage_class.parameters
    servers = required(storage_class, "nfsCluster", "the name of a CephNFS")
    server = required(storage_class, "server", "the Service of one of its servers, such as rook-ceph-nfs-my-nfs-a")
    if not cephfs.NAME.fullmatch(servers):
        raise wrong(storage_class, "nfsCluster", servers, "the name of a CephNFS")
    if not _SERVER.fullmatch(server):
        raise wrong(storage_class, "server", server, "the name of a Service or host, or an address")
    for kind in listed(parameters.get("secTypes", "")):
        if kind not in KINDS_OF_SECURITY:
            expected = f"some of {', '.join(KINDS_OF_SECURITY)}, with commas between them"
            raise wrong(storage_class, "secTypes", kind, expected)
    for client in listed(parameters.get("clients", "")):
        if not _CLIENT.fullmatch(client):
            raise wrong(storage_class, "clients", client, "addresses or networks, with commas between them")
    others = {k: v for k, v in parameters.items() if k not in (*_OWN, *_OF_OTHER_CLIENTS)}
    found = cephfs.describe(msgspec.structs.replace(storage_class, parameters=others), claim_uid, has)
    attributes = {**found.volume.attributes, "nfsCluster": servers, "server": server}
    options = {key: parameters[key] for key in ("secTypes", "clients") if parameters.get(key)}
    return replace(
        found,
        volume=replace(found.volume, attributes=attributes),
        options={**found.options, **options},
        unserved=(*found.unserved, *(key for key in _OF_OTHER_CLIENTS if parameters.get(key))),
    )


def listed(text: str) -> tuple[str, ...]:
    """The values of a parameter that has several, with commas between them."""
    return tuple(filter(None, (value.strip() for value in text.split(","))))


def share_of(volume: Volume) -> str:
    """Where the servers export a volume: as by Ceph's CSI driver, by its handle."""
    return volume.attributes.get("share") or f"/{volume.handle}"


def check(volume: Volume) -> None:
    """Refuses attributes with which nothing can be done.

    Raises:
        BackendError: It names the attribute.
    """
    if not volume.attributes.get("nfsCluster"):
        attributes = f"volume {volume.handle}: spec.csi.volumeAttributes"
        raise BackendError(f"{attributes} has no 'nfsCluster': expected the name of the CephNFS that exports it")
