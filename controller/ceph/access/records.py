"""Which settings of a cluster are ours, as `framework.owned` has it: a record for each, in the cluster itself.

Each has a config-key of its own, so that settings can be changed side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from controller.framework.owned import Owned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.ceph.access.rados import Cluster

type Name = tuple[str, str]
"""What a setting is of, such as a section of the configuration or a pool, and its own name."""


class _Record(msgspec.Struct, frozen=True):
    who: str
    name: str
    asked: str
    stored: str


def parse(dump: Mapping[str, str]) -> dict[Name, Owned]:
    """The records in an answer to `config-key dump`; what is none is left out, so its setting counts as not ours."""
    found: dict[Name, Owned] = {}
    for text in dump.values():
        try:
            record = msgspec.json.decode(text, type=_Record)
        except msgspec.MsgspecError:
            continue
        found[record.who, record.name] = Owned(record.asked, record.stored)
    return found


@dataclass(frozen=True, slots=True)
class Records:
    """The records in a cluster below a prefix, such as "rook/pool/". Methods raise CephError where nobody answers."""

    ceph: Cluster
    prefix: str

    async def read(self) -> dict[Name, Owned]:
        """All of them, by their setting."""
        return parse(await self.ceph.mon("config-key dump", key=self.prefix) or {})

    async def write(self, name: Name, owned: Owned) -> None:
        """Writes the record of a setting that was set."""
        record = msgspec.json.encode(_Record(*name, owned.asked, owned.stored)).decode()
        await self.ceph.mon("config-key set", key=self._key(name), val=record)

    async def remove(self, name: Name) -> None:
        """Removes the record of a setting that was unset."""
        await self.ceph.mon("config-key rm", key=self._key(name))

    def _key(self, name: Name) -> str:
        return f"{self.prefix}{'/'.join(name)}"
