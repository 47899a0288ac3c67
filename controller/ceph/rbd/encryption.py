"""Encrypted volumes, as far as the operator has to do with them: KMSs, the room that a header takes, copies.

The ConfigMaps and the images' metadata are those of Ceph's CSI driver
(https://github.com/ceph/ceph-csi/blob/devel/docs/rbd/deploy.md). Passphrases are the nodes': the operator sees none.
"""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

from controller.apis.rook.encryption import (
    DEFAULT,
    DEK,
    DEK_OF,
    ENCRYPTED,
    METADATA,
    PREPARED,
    STATE,
    header_bytes,
    told_of,
)
from controller.ceph.access.rados import CephError
from controller.ceph.rbd import images
from controller.ceph.rbd.volumes import image_name, named
from controller.volumes.backend import BackendError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.rbd.images import Changes
    from controller.runtime.kube import ConfigMap
    from controller.volumes.backend import Volume
    from informers import Informer

CONFIG_MAPS = ("rook-ceph-csi-kms-config", "csi-kms-connection-details")
"""Which ConfigMaps tell of KMSs: the names that upstream and Ceph's CSI driver document."""

_FILE = "config.json"


def is_encrypted(volume: Volume) -> bool:
    """Whether a volume's attributes say that it is encrypted. Pure."""
    return volume.attributes.get("encrypted", "").lower() == "true"


class KeyServices:
    """The KMSs that StorageClasses name.

    Args:
        config_maps: The ConfigMaps of the namespaces that are served.
        home: The operator's own namespace.
    """

    def __init__(self, config_maps: Informer[ConfigMap], home: str) -> None:
        self._config_maps = config_maps
        self._home = home

    def type_of(self, volume: Volume, namespace: str) -> str:
        """The type of the KMS of a volume: `DEFAULT` or `METADATA`; empty: it is not encrypted.

        Args:
            volume: The volume.
            namespace: Where its cluster is.

        Raises:
            BackendError: It is not there, or is none that is served.
        """
        if not is_encrypted(volume):
            return ""
        name = volume.attributes.get("encryptionKMSID", "")
        if name in ("", DEFAULT):
            return DEFAULT
        where, section = self._section(name, namespace)
        kind = section.get("encryptionKMSType") or section.get("KMS_PROVIDER") or ""
        if kind != METADATA:
            raise BackendError(
                f"image {named(volume)}: encryptionKMSID {name!r} has encryptionKMSType {kind!r} in {where}: expected "
                f"{METADATA!r}, or no encryptionKMSID: no other KMS is served"
            )
        if section.get("secretName"):
            raise BackendError(
                f"image {named(volume)}: encryptionKMSID {name!r} has secretName {section['secretName']!r} in {where}: "
                "expected none, as nodes read no Secret but that of the StorageClass' parameter "
                "csi.storage.k8s.io/node-stage-secret-name; put encryptionPassphrase there"
            )
        return METADATA

    def _section(self, name: str, namespace: str) -> tuple[str, Mapping[str, Any]]:
        known: set[str] = set()
        for where in dict.fromkeys((namespace, self._home)):
            for config_map in CONFIG_MAPS:
                found = self._config_maps.get(where, config_map)
                if found is None:
                    continue
                sections = _sections(found, f"ConfigMap {where}/{config_map}")
                if name in sections:
                    return f"ConfigMap {where}/{config_map}", sections[name]
                known |= sections.keys()
        has = f"have {', '.join(sorted(known))}" if known else "are not there"
        raise BackendError(
            f"encryptionKMSID is {name!r}: expected one of ConfigMap {' or '.join(CONFIG_MAPS)} in {namespace}, "
            f"which {has}"
        )


def _sections(config_map: ConfigMap, where: str) -> dict[str, Mapping[str, Any]]:
    """The KMSs of a ConfigMap, by id: all in one file, or a key for each."""
    try:
        found = json.loads(config_map.data[_FILE]) if _FILE in config_map.data else {}
        if _FILE not in config_map.data:
            found = {name: json.loads(text) for name, text in config_map.data.items()}
        return {name: dict(section) for name, section in found.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise BackendError(f"{where}: expected JSON objects by encryptionKMSID: {error}") from error


def prepare(ioctx: Any, volume: Volume, size: int, changes: Changes) -> int:
    """Makes a new image ready to be encrypted, with room for `size` bytes beside its header; returns how many it has.

    A node writes the header at the first use. Until then, the note here tells copies what they are copies of.
    """
    with images.library().Image(ioctx, image_name(volume)) as image:
        if not told_of(dict(image.metadata_list()), STATE):
            image.metadata_set(STATE, PREPARED)
    return grow(ioctx, volume, size, changes)


def grow(ioctx: Any, volume: Volume, size: int, changes: Changes) -> int:
    """Makes an encrypted image so large that `size` bytes are usable, if it is smaller; returns how many are."""
    with images.library().Image(ioctx, image_name(volume), read_only=True) as image:
        header = _header(image)
        is_locked = bool(image.list_lockers())
    # The owner of the lock grows the image for us, and adds the header by itself where it has decrypted the image.
    whole = images.grow(ioctx, volume, size, changes) if is_locked else 0
    if whole < size + header:
        whole = images.grow(ioctx, volume, size + header, changes)
    return whole - header


def usable(image: Any) -> int:
    """The bytes of an open image that a pod can have: without the header, where it is encrypted."""
    size: int = image.size()
    return size - _header(image) if told_of(dict(image.metadata_list()), STATE) else size


def check_source(ioctx: Any, source: str, kms: str) -> None:
    """Refuses a copy that nobody could open, or that would be less protected than its source.

    Args:
        ioctx: An I/O context of the source's pool and namespace.
        source: The image that is copied.
        kms: The type of the KMS that the copy's class names; empty: it is not to be encrypted.

    One that is not there is not refused: the copy may have been made before it went.

    Raises:
        CephError: It is encrypted in another way.
    """
    rbd = images.library()
    try:
        with rbd.Image(ioctx, source, read_only=True) as image:
            metadata = dict(image.metadata_list())
    except rbd.ImageNotFound:
        return
    state = told_of(metadata, STATE)
    if bool(state) != bool(kms):
        found, wanted = ("encrypted", "that is, too") if state else ("not encrypted", "that is not, either")
        raise CephError(errno.EINVAL, f"{source} is {found}: expected a StorageClass for its copy {wanted}")
    own = bool(told_of(metadata, DEK))
    if state == ENCRYPTED and own != (kms == METADATA):
        wanted = f"an encryptionKMSID whose type is {METADATA!r}" if own else "no encryptionKMSID"
        raise CephError(errno.EINVAL, f"{source} was encrypted otherwise: expected a StorageClass with {wanted}")


def inherit(ioctx: Any, name: str, handle: str) -> None:
    """Notes for which volume the passphrase of a copy is sealed; Ceph's CSI driver notes it nowhere.

    Args:
        ioctx: An I/O context of the copy's pool and namespace.
        name: The copy: it has its source's metadata.
        handle: The CSI handle of the source.
    """
    with images.library().Image(ioctx, name) as image:
        metadata = dict(image.metadata_list())
        if told_of(metadata, DEK) and DEK_OF not in metadata:
            image.metadata_set(DEK_OF, handle)


def _header(image: Any) -> int:
    return header_bytes(image.stat()["obj_size"] * image.stripe_count())
