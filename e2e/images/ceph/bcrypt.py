"""The bcrypt functions that Ceph's mgr modules use, on the C library's own crypt instead of the Rust extension.

The extension cannot be imported twice in one process, and the mgr imports it once for each of its modules.
"""

import ctypes
import ctypes.util

__all__ = ["checkpw", "gensalt", "hashpw"]

_library = ctypes.CDLL(ctypes.util.find_library("crypt") or "libcrypt.so.1")
_library.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
_library.crypt_gensalt.restype = ctypes.c_char_p
_library.crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
_library.crypt_r.restype = ctypes.c_char_p

_STATE_BYTES = 32768
"""The size of the C library's `struct crypt_data`."""


def gensalt(rounds: int = 12, prefix: bytes = b"2b") -> bytes:
    """A new random salt for `hashpw`, for 2**rounds rounds."""
    salt = _library.crypt_gensalt(b"$" + prefix + b"$", rounds, None, 0)
    if salt is None:
        raise ValueError(f"no bcrypt salt for prefix {prefix!r} and {rounds} rounds")
    return bytes(salt)


def hashpw(password: bytes, salt: bytes) -> bytes:
    """The bcrypt hash of a password, with a salt or with the hash that it is to be compared with."""
    # With other salts the library would make other kinds of hashes.
    hashed = salt.startswith(b"$2") and _library.crypt_r(password, salt, ctypes.create_string_buffer(_STATE_BYTES))
    if not hashed or hashed.startswith(b"*"):
        raise ValueError("Invalid salt")
    return bytes(hashed)


def checkpw(password: bytes, hashed_password: bytes) -> bool:
    """Whether the password is the one that was hashed."""
    return hashpw(password, hashed_password) == hashed_password
