"""What a CephFilesystemSubVolumeGroup's spec asks for, in Ceph's terms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephFilesystemSubVolumeGroupSpec
from controller.apis.ceph.served import SUBVOLUME_GROUP
from controller.framework.honoured import unhonoured
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephFilesystemSubVolumeGroup

NO_QUOTA = "infinite"
"""What Ceph is told to take a quota away, and answers where there is none."""


def group_name(group: CephFilesystemSubVolumeGroup) -> str:
    """The group's name in Ceph."""
    return group.spec.name or group.metadata.name


def quota(spec: CephFilesystemSubVolumeGroupSpec) -> str:
    """The quota in bytes, or `NO_QUOTA`."""
    number = quantity(spec.quota) if spec.quota is not None else None
    return str(int(number)) if number else NO_QUOTA


def pinning(spec: CephFilesystemSubVolumeGroupSpec) -> tuple[str, str]:
    """The kind of pinning and its value, as `ceph fs subvolumegroup pin` takes them; upstream's where none is set."""
    pin = spec.pinning
    if pin.export is not None:
        return "export", str(pin.export)
    if pin.random is not None:
        return "random", f"{pin.random:g}"
    return "distributed", str(1 if pin.distributed is None else pin.distributed)


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, SUBVOLUME_GROUP, CephFilesystemSubVolumeGroupSpec)
