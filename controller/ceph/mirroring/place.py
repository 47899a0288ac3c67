"""Where images are mirrored: a pool, or a RADOS namespace of one; and what is mirrored there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Mode(IntEnum):
    """What is mirrored of a place; the numbers are librbd's."""

    DISABLED = 0
    IMAGE = 1
    POOL = 2
    INIT_ONLY = 3

    @property
    def word(self) -> str:
        """Ceph's word for it, which specs have, too."""
        return self.name.lower().replace("_", "-")

    @classmethod
    def of(cls, word: str) -> Mode:
        """The mode of Ceph's word; empty: nothing is mirrored."""
        return next((mode for mode in cls if mode.word == word), cls.DISABLED)


class ImageState(IntEnum):
    """How the copying of an image goes; the numbers are librbd's."""

    UNKNOWN = 0
    ERROR = 1
    SYNCING = 2
    STARTING_REPLAY = 3
    REPLAYING = 4
    STOPPING_REPLAY = 5
    STOPPED = 6

    @property
    def word(self) -> str:
        """Ceph's word for it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Place:
    """A pool, a RADOS namespace of one, or an image in one of these."""

    pool: str
    namespace: str = ""
    image: str = ""

    @property
    def name(self) -> str:
        """As Ceph's tools name it: "pool", "pool/namespace", "pool/image" or "pool/namespace/image"."""
        return "/".join(filter(None, (self.pool, self.namespace, self.image)))

    @property
    def level(self) -> str:
        """As the mgr names it where it keeps schedules."""
        return self.name if self.image else f"{self.name}/"
