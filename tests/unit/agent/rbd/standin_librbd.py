"""librbd in memory, as far as `controller.agent.rbd.luks` uses it: encrypted images. It may die at any write.

In place of a cipher, what is encrypted has each byte turned by a number that the header holds. What was never written
reads as zeros, as by librbd, with encryption and without.
"""

from __future__ import annotations

import errno
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from controller.agent.rbd.luks import MAGIC
from controller.apis.rook.encryption import HEADER, PREPARED, STATE

MIB = 1 << 20
_ZEROS = bytes(MIB)
_headers = itertools.count(1)
_TURNED = [bytes((byte + turn) % 256 for byte in range(256)) for turn in range(257)]


class CrashError(BaseException):
    """The process dies here."""


class RbdError(Exception):
    """What librbd and librados raise."""

    def __init__(self, number: int) -> None:
        super().__init__(errno.errorcode[number])
        self.errno = number


def header(passphrase: str, size: int) -> bytes:
    """A header in place of a LUKS2 one, with a key of its own."""
    turn = next(_headers) % 255 + 1
    return (MAGIC + json.dumps({"passphrase": passphrase, "turn": turn}).encode()).ljust(size, b"\xaa")


@dataclass
class Stored:
    """An image: what was written, by MiB."""

    size: int
    blocks: dict[int, bytes] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def turn(self, passphrase: str) -> int:
        """The number by which data is turned."""
        start = self.blocks.get(0, b"")
        if not start.startswith(MAGIC):
            raise RbdError(errno.EINVAL)
        found = json.loads(start[len(MAGIC) :].split(b"\xaa")[0].rstrip(b"\0"))
        if found["passphrase"] != passphrase:
            raise RbdError(errno.EPERM)
        return int(found["turn"])


class Cluster:
    """The module `rbd`, and an I/O context."""

    RBD_ENCRYPTION_FORMAT_LUKS2 = 1

    def __init__(self, **images: Stored) -> None:
        self.images = images
        self.crash_at: int | None = None
        self.writes = 0
        self.locked = False

    def write(self) -> None:
        """One write: it may be the last."""
        self.writes += 1
        if self.writes == self.crash_at:
            self.crash_at = None
            raise CrashError

    def Image(self, ioctx: Self, name: str, *, read_only: bool = False) -> Image:  # noqa: N802  librbd's name
        return Image(self, self.images[name], read_only=read_only)

    def lock_exclusive(self, key: str, name: str, cookie: str, *, desc: str, duration: int) -> None:
        assert duration, "a lock of a node that died would stay"
        if self.locked:
            raise RbdError(errno.EBUSY)
        self.locked = True

    def unlock(self, key: str, name: str, cookie: str) -> None:
        self.locked = False


class Image:
    """An open image."""

    def __init__(self, cluster: Cluster, stored: Stored, *, read_only: bool) -> None:
        self._cluster, self._stored, self._read_only = cluster, stored, read_only
        self._turn: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def id(self) -> str:
        return "id1"

    def stat(self) -> dict[str, int]:
        return {"obj_size": 4 * MIB}

    def stripe_count(self) -> int:
        return 1

    def size(self) -> int:
        return self._stored.size - (HEADER if self._turn else 0)

    def metadata_list(self) -> list[tuple[str, str]]:
        return list(self._stored.metadata.items())

    def metadata_set(self, key: str, value: str) -> None:
        assert not self._read_only
        self._cluster.write()
        self._stored.metadata[key] = value

    def encryption_load(self, kind: int, passphrase: str) -> None:
        self._turn = self._stored.turn(passphrase)

    def read(self, offset: int, length: int) -> bytes:
        at = offset + (HEADER if self._turn else 0)
        found = self._stored.blocks.get(at // MIB)
        if found is None:
            return bytes(length)
        found = found[at % MIB : at % MIB + length]
        return found.translate(_TURNED[256 - self._turn]) if self._turn else found

    def write(self, data: bytes, offset: int) -> None:
        assert not self._read_only
        at = offset + (HEADER if self._turn else 0)
        assert self._turn or at + len(data) <= HEADER, "data that is not encrypted"
        assert self._turn or self._stored.metadata.get(STATE) == PREPARED, "written before it was noted"
        for start in range(0, len(data), MIB):
            self._cluster.write()
            part = data[start : start + MIB]
            if self._turn:
                is_zeros = part == _ZEROS[: len(part)]
                part = bytes([self._turn]) * len(part) if is_zeros else part.translate(_TURNED[self._turn])
            block = bytearray(self._stored.blocks.get((at + start) // MIB, bytes(MIB)))
            block[(at + start) % MIB : (at + start) % MIB + len(part)] = part
            self._stored.blocks[(at + start) // MIB] = bytes(block[:MIB])

    def flush(self) -> None: ...

    def diff_iterate(
        self, offset: int, length: int, from_snapshot: None, take: Callable[[int, int, bool], Any]
    ) -> None:
        for start in sorted({block // 4 * 4 for block in self._stored.blocks}):
            take(start * MIB, 4 * MIB, True)
