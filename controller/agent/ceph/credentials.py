"""A Ceph user and its key on their way to the process that uses them. Imports little: the mounters use it too."""

from __future__ import annotations

import base64
import binascii
import os

import msgspec


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """A Ceph user and its key. The key is in no representation."""

    user: str
    key: str

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"


def key_descriptor(credentials: Credentials) -> int:
    """An open memory file with the key; only a process that inherits the descriptor can read it.

    Raises:
        ValueError: The key is no key.
    """
    try:
        base64.b64decode(credentials.key, validate=True)
    except binascii.Error:
        raise ValueError(f"the key of Ceph user {credentials.user} is not base64 text") from None
    return memory_file("key", credentials.key)


def memory_file(name: str, secret: str) -> int:
    """An open memory file with a secret, likewise."""
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    os.write(descriptor, secret.encode())
    return descriptor
