"""The passphrase of a volume's own, in the form in which Ceph's CSI driver keeps it in an image's metadata.

It is sealed by AES-GCM, with a key that scrypt makes of the passphrase of the volume's Secret and of its handle
(`secretsMetadataKMS` of https://github.com/ceph/ceph-csi/tree/devel/internal/kms).
"""

from __future__ import annotations

import base64
import secrets

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_COST, _BLOCK, _PARALLEL = 32768, 8, 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_RANDOM_BYTES = 32


class _Sealed(msgspec.Struct):
    dek: bytes
    nonce: bytes


def new() -> str:
    """A passphrase of 256 random bits."""
    return base64.urlsafe_b64encode(secrets.token_bytes(_RANDOM_BYTES)).decode()


def wrap(key: str, passphrase: str, handle: str) -> str:
    """Seals a volume's own passphrase.

    Args:
        key: What is sealed.
        passphrase: The Secret's.
        handle: The volume's CSI handle.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    sealed = _Sealed(_cipher(passphrase, handle).encrypt(nonce, key.encode(), None), nonce)
    return msgspec.json.encode(sealed).decode()


def unwrap(wrapped: str, passphrase: str, handle: str) -> str | None:
    """Opens what `wrap` has sealed; None: passphrase or handle are others.

    Raises:
        ValueError: It has another form.
    """
    sealed = msgspec.json.decode(wrapped, type=_Sealed)
    try:
        return _cipher(passphrase, handle).decrypt(sealed.nonce, sealed.dek, None).decode()
    except InvalidTag:
        return None


def _cipher(passphrase: str, handle: str) -> AESGCM:
    made = Scrypt(salt=handle.encode(), length=_KEY_BYTES, n=_COST, r=_BLOCK, p=_PARALLEL)
    return AESGCM(made.derive(passphrase.encode()))
