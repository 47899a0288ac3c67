"""What StorageClasses and volume handles of all Ceph's CSI drivers have in common. All of it pure.

They are those of ceph-csi (https://github.com/ceph/ceph-csi/tree/devel/docs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.volumes.backend import ParameterError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.runtime.kube import StorageClass

NAME_PREFIX = "csi-vol-"
"""What the names of new images and subvolumes begin with, where the class does not say."""

HANDLE_VERSION = "0001"
"""What a volume handle begins with."""


def handle(cluster: str, number: int, uid: str) -> str:
    """The CSI volume id: version, cluster, place and volume, told apart by lengths.

    Args:
        cluster: The clusterID.
        number: The number of the pool, or of the file system.
        uid: The end of the volume's name, 36 characters.
    """
    return f"{HANDLE_VERSION}-{len(cluster):04x}-{cluster}-{number:016x}-{uid}"


def required(storage_class: StorageClass, parameter: str, expected: str) -> str:
    """The value of a parameter.

    Raises:
        ParameterError: There is none; `expected` says what would be right.
    """
    value = storage_class.parameters.get(parameter, "")
    if not value:
        raise wrong(storage_class, parameter, value, expected)
    return value


def wrong(storage_class: StorageClass, parameter: str, found: str, expected: str) -> ParameterError:
    """What tells of a parameter that cannot be served."""
    return ParameterError(
        f"StorageClass {storage_class.metadata.name}: parameters[{parameter!r}] is {found!r}: expected {expected}"
    )


def unserved(parameters: Mapping[str, str], served: Collection[str]) -> tuple[str, ...]:
    """The parameters that have no effect.

    Args:
        parameters: Those of a class.
        served: The names of those that have one, beside those that all drivers have.
    """
    return tuple(
        name
        for name, value in parameters.items()
        if value
        and name not in served
        and not name.startswith("csi.storage.k8s.io/")
        and name not in ("encrypted", "fsType")
    )
