"""The label that Ceph writes at the start of an OSD's device: whose OSD it is.

Layout: `bluestore_bdev_label_t` in Ceph's src/os/bluestore/bluestore_types.h. The label also holds the OSD's key, which
is left there.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

LABEL_SIZE = 4096
"""Bytes at the start of the device in which the label lies."""

_MAGIC = b"bluestore block device\n"
_HEADER = 60
"""The magic, the OSD's UUID as text, and a line feed."""


@dataclass(frozen=True, slots=True)
class Label:
    """Whose a device is. `fsid` is the cluster's, `osd_id` the OSD's number: -1 when the label has none."""

    osd_uuid: str
    fsid: str = ""
    osd_id: int = -1


def parse(block: bytes) -> Label | None:
    """The label in the first `LABEL_SIZE` bytes of a device; None where there is none."""
    if not block.startswith(_MAGIC):
        return None
    osd_uuid = block[len(_MAGIC) : _HEADER - 1].decode(errors="replace")
    try:
        fields = _fields(block)
        return Label(osd_uuid, fields.get("ceph_fsid", ""), int(fields.get("whoami", "-1")))
    except (struct.error, ValueError):
        # Another version's, or damaged: it is an OSD's device all the same.
        return Label(osd_uuid)


def _fields(block: bytes) -> dict[str, str]:
    # Version, oldest reader's version, length; then UUID, size, seconds and nanoseconds of birth.
    offset = _HEADER + struct.calcsize("<BBI") + 16 + struct.calcsize("<QII")
    _, offset = _text(block, offset)  # the description: "main", "bluefs db"
    (count,) = struct.unpack_from("<I", block, offset)
    offset += 4
    fields: dict[str, str] = {}
    for _ in range(count):
        name, offset = _text(block, offset)
        fields[name], offset = _text(block, offset)
    return fields


def _text(block: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", block, offset)
    start = offset + 4
    if start + length > len(block):
        raise ValueError("a text reaches beyond the label")
    return block[start : start + length].decode(errors="replace"), start + length
