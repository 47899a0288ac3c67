"""What operator and agents agree on about encrypted RBD images: what an image's metadata and its attachment tell.

The keys are those of Ceph's CSI driver, so that each opens the other's volumes
(https://github.com/ceph/ceph-csi/blob/devel/docs/design/proposals/encryption-with-vault-tokens.md), but for `DEK_OF`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

STATE = "rbd.csi.ceph.com/encrypted"
"""Metadata of an image that is encrypted, or is to be."""

PREPARED, ENCRYPTED = "encryptionPrepared", "encrypted"
"""The values of `STATE`: nobody has used it yet; it has a LUKS header, and may have data."""

DEK = "rbd.csi.ceph.com/dek"
"""Metadata: the volume's own passphrase, wrapped by that of its Secret; where its KMS is of the type `METADATA`."""

DEK_OF = "rook.io/dek-of"
"""Metadata: the CSI handle for which `DEK` was wrapped; while that changes, both, a line each. A copy of an image has
the metadata of its source.
"""

DEFAULT, METADATA = "default", "metadata"
"""Types of KMS: the Secret's passphrase opens the volume; or it opens the volume's own one."""

KMS_TYPE = "encryptionKMSType"
"""What the attachment of an encrypted volume tells: `DEFAULT` or `METADATA`."""

MONITORS = "monitorsForEncrypted"
"""In place of "monitors" in what the attachment of an encrypted volume tells: an agent from before there were any asks
for that one, and would write what is not encrypted.
"""

HEADER = 16 << 20
"""Bytes of a LUKS2 header, with all that cryptsetup keeps free for keys."""


def told_of(metadata: Mapping[str, str], key: str) -> str:
    """What an image's metadata says; old releases of Ceph's CSI driver had a dot before its keys. Pure."""
    return (metadata.get(key) or metadata.get(f".{key}") or "").strip()


def header_bytes(period: int) -> int:
    """Bytes of the header of an image: librbd wants the data to begin with a stripe period. Pure.

    Args:
        period: Bytes of an object, times the image's stripe count.
    """
    return -(-HEADER // period) * period
