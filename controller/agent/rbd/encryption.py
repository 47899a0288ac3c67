"""Which volumes are encrypted, and by what they are opened, as PersistentVolume, attacher and Secret say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from controller.agent.node.calls import CsiError
from controller.apis.rook.encryption import DEFAULT, KMS_TYPE, METADATA

if TYPE_CHECKING:
    from controller.agent.node.driver import Stage

FIELD = "encryptionPassphrase"
"""Of the node-stage Secret."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a volume is opened.

    Attributes:
        kms: The type of its KMS: `DEFAULT` or `METADATA`.
        passphrase: That of its Secret.
    """

    kms: str
    passphrase: str = field(repr=False)


def is_encrypted(stage: Stage) -> bool:
    """Whether the volume's attributes say so."""
    return stage.attributes.get("encrypted", "").lower() == "true"


def encryption_of(stage: Stage) -> Encryption:
    """How an encrypted volume is opened.

    Raises:
        CsiError: Attacher or Secret do not say.
    """
    kms = stage.told.get(KMS_TYPE, "")
    if kms not in (DEFAULT, METADATA):
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"volume {stage.volume}: publish_context[{KMS_TYPE!r}] is {kms!r}: expected {DEFAULT} or {METADATA}, from "
            "the VolumeAttachment's status.attachmentMetadata",
        )
    if (kind := stage.attributes.get("encryptionType", "")) not in ("", "block"):
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"volume {stage.volume}: spec.csi.volumeAttributes['encryptionType'] is {kind!r}: expected 'block'; "
            "fscrypt is not served",
        )
    passphrase = stage.secrets.get(FIELD, "")
    if not passphrase:
        raise CsiError(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"volume {stage.volume} is encrypted, but the Secret of StorageClass parameter "
            f"csi.storage.k8s.io/node-stage-secret-name has no {FIELD}: expected one that is not empty",
        )
    return Encryption(kms, passphrase)
