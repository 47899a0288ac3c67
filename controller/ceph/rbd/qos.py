"""Limits of what clients do with an image, by the parameters of a VolumeAttributesClass.

Their names are those of Ceph's CSI driver, for its clients of librbd and of the kernel alike. librbd keeps the limits
in the image's metadata; each client that has the image open reads it again when it changes
(https://docs.ceph.com/en/latest/rbd/rbd-config-ref/#qos-settings). The kernel's client does not know them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.rbd import images
from controller.ceph.rbd.volumes import image_name, named
from controller.framework.quantities import GIB
from controller.volumes.backend import BackendError, ParameterError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from controller.apis.rook.node_report import NodeReport
    from controller.ceph.rbd.calls import Calls
    from controller.ceph.rbd.images import Changes
    from controller.volumes.backend import Volume

KERNEL = "krbd"
"""What a NodeReport calls the kernel's client."""

LIMITS = {
    "Iops": "rbd_qos_iops_limit",
    "ReadIops": "rbd_qos_read_iops_limit",
    "WriteIops": "rbd_qos_write_iops_limit",
    "Bps": "rbd_qos_bps_limit",
    "ReadBps": "rbd_qos_read_bps_limit",
    "WriteBps": "rbd_qos_write_bps_limit",
}
"""librbd's settings, by what parameters about them end in."""

BASE_SIZE = "baseVolSizeBytes"
PARAMETERS = (
    *(f"base{name}" for name in LIMITS),
    *(f"max{name}" for name in LIMITS),
    *(f"{name[0].lower()}{name[1:]}PerGiB" for name in LIMITS),
    BASE_SIZE,
)
"""All parameters."""

_OVERRIDE = "conf_"
"""What stands before the names of settings in the metadata of an image."""

RECORD = "rook.io/qos"
"""The metadata of an image whose limits are by a class: the class' parameters, as JSON. It grows by them."""

_MOST = 1 << 63


def check(parameters: Mapping[str, str]) -> None:
    """Refuses parameters that mean nothing. Pure.

    Raises:
        ParameterError: It names the parameter, and what would be right.
    """
    for key, value in parameters.items():
        if key not in PARAMETERS:
            raise ParameterError(f"parameter {key!r} is not known: expected some of {', '.join(PARAMETERS)}")
        if not value.isascii() or not value.isdecimal() or not 0 < int(value) < _MOST:
            raise ParameterError(
                f"parameters[{key!r}] is {value!r}: expected a whole number, 1 at least; what has no limit is left out"
            )
    for name in LIMITS:
        base, most, growth = _keys(name)
        if growth in parameters and not (base in parameters and BASE_SIZE in parameters):
            raise ParameterError(
                f"parameter {growth!r} says what a volume gets beyond {base!r} and {BASE_SIZE!r}: expected these, too"
            )
        if base in parameters and most in parameters and int(parameters[base]) > int(parameters[most]):
            raise ParameterError(
                f"parameters[{most!r}] is {parameters[most]}: expected at least {parameters[base]}, as {base!r}"
            )


def limits(parameters: Mapping[str, str], size: int) -> dict[str, str]:
    """librbd's settings for an image of `size` bytes, by parameters that `check` has passed. Pure.

    A limit is its base, with so much for each whole GiB by which the image is larger than the base is meant for, but no
    more than its maximum; or the maximum alone, where there is no base.
    """
    found = {}
    for name, setting in LIMITS.items():
        base, most, growth = _keys(name)
        if base in parameters:
            beyond = max(size - int(parameters.get(BASE_SIZE, size)), 0) // GIB
            value = int(parameters[base]) + beyond * int(parameters.get(growth, "0"))
            found[setting] = str(min(value, int(parameters.get(most, value))))
        elif most in parameters:
            found[setting] = str(int(parameters[most]))
    return found


def apply(ioctx: Any, volume: Volume, parameters: Mapping[str, str], changes: Changes) -> None:
    """Gives an image the limits of these parameters and no others; one that has them is left alone. Blocking.

    Raises:
        BackendError: A client that may come back owns the image, or there is no such image.
    """
    rbd, name = images.library(), image_name(volume)
    try:
        with rbd.Image(ioctx, name, read_only=True) as image:
            if not _change(image, parameters):
                return
        images.wait_for_owner(ioctx, volume, "its limits stay")
        with changes.alone(volume, "given other limits"), rbd.Image(ioctx, name) as image:
            for key, value in _change(image, parameters).items():
                if value is not None:
                    image.metadata_set(key, value)
                else:
                    with suppress(KeyError):
                        image.metadata_remove(key)
    except rbd.ImageNotFound:
        raise BackendError(f"image {named(volume)} does not exist") from None


def follow_size(ioctx: Any, volume: Volume, changes: Changes) -> None:
    """Gives an image that has grown the limits of its size, where these are by a class. Blocking."""
    with images.library().Image(ioctx, image_name(volume), read_only=True) as image:
        record = dict(image.metadata_list()).get(RECORD)
    if record:
        apply(ioctx, volume, msgspec.json.decode(record, type=dict[str, str]), changes)


def _change(image: Any, parameters: Mapping[str, str]) -> dict[str, str | None]:
    """The metadata that is to be set, or removed (None), in this order: the record last."""
    has = dict(image.metadata_list())
    settings = limits(parameters, image.size())
    wanted: dict[str, str | None] = {f"{_OVERRIDE}{s}": settings.get(s) for s in LIMITS.values()}
    wanted[RECORD] = msgspec.json.encode(dict(parameters), order="sorted").decode() if parameters else None
    return {key: value for key, value in wanted.items() if has.get(key) != value}


def _keys(name: str) -> tuple[str, str, str]:
    return f"base{name}", f"max{name}", f"{name[0].lower()}{name[1:]}PerGiB"


class Qos:
    """Limits of RBD images. Implements `controller.volumes.features.Attributes`."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def check(self, parameters: Mapping[str, str]) -> None:
        """By their names, and that they are numbers."""
        check(parameters)

    async def apply(self, volume: Volume, parameters: Mapping[str, str]) -> None:
        """Sets the image's metadata; clients that have it open follow at once."""
        await self._calls.on_pool(volume, lambda _, ioctx: apply(ioctx, volume, parameters, self._calls.changes))

    def without_effect(self, volume: Volume, reports: Iterable[NodeReport]) -> str:
        """On nodes where the kernel's client maps the image."""
        if volume.attributes.get("mounter", "") not in ("", "rbd"):
            return ""
        nodes = sorted(report.metadata.name for report in reports if report.mapper.name == KERNEL)
        if not nodes:
            return ""
        return (
            f"its limits have no effect on node {', '.join(nodes)}, where the kernel's client maps images: expected a "
            "volume of a StorageClass whose parameter 'mounter' is rbd-nbd, which librbd serves"
        )
