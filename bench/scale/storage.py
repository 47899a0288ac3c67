"""What volumes are made of in the simulated Ceph cluster: images and subvolumes as the unit tests' stand-ins have them.

Beside them it has what else users may ask for: users, RADOS namespaces, groups of subvolumes.
"""

from __future__ import annotations

import errno
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.scale.ceph import SimulatedCeph
from controller.ceph.access.rados import CephError
from tests.unit.ceph.cephfs.cephfs import Ceph as Subvolumes
from tests.unit.ceph.rbd.librbd import Cluster, Image, ImageExists, Pool

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Coroutine

POOL, FILESYSTEM = "replicapool", "myfs"
KEY = "AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA=="
COPIES = 1 << 30
"""How many subvolumes are copied at a time: those that wait for others are measured in time, and not in work."""

LOCAL = frozenset({"id", "size", "features", "create_timestamp", "get_pool_id", "get_addrs", "RBD"})
"""What librados and librbd answer by themselves."""


class Counted:
    """A stand-in's object. What is asked of it is counted, but for what costs no message to the cluster."""

    def __init__(self, inner: Any, asked: Counter[str]) -> None:
        self._inner, self._asked = inner, asked

    def __enter__(self) -> Counted:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if isinstance(found, type) or not callable(found) or name in LOCAL:
            return found

        def ask(*args: Any, **options: Any) -> Any:
            self._asked[f"rbd {name}"] += 1
            answer = found(*args, **options)
            return Counted(answer, self._asked) if isinstance(answer, Image) else answer

        return ask


class Images(Cluster):
    """Images by librbd, and RADOS namespaces; what librados and librbd are in the place of.

    Args:
        asked: Counts what was asked.
    """

    def __init__(self, asked: Counter[str]) -> None:
        super().__init__(POOL)
        self._asked = asked
        self._made: dict[str, None] = {}

    def RBD(self) -> Any:  # noqa: N802  librbd's name
        """librbd, counted."""
        return Counted(self, self._asked)

    def namespace_list(self, _: Pool) -> list[str]:
        """The pool's RADOS namespaces."""
        return list(self._made)

    def namespace_create(self, _: Pool, name: str) -> None:
        """Makes one."""
        if name in self._made:
            raise ImageExists
        self._made[name] = None


@dataclass
class CephWithVolumes(SimulatedCeph):
    """A cluster with a pool and a file system, and what users have in them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images = Images(self.asked)
        self.subvolumes = Subvolumes()
        self.subvolumes.max_clones = COPIES
        self._users: dict[str, dict[str, str]] = {}
        self._groups: dict[str, dict[str, Any]] = {"csi": {"bytes_quota": "infinite"}}

    def install(self) -> None:
        """Puts the simulation in the place of the system's librados and librbd."""
        super().install()
        images = self.images
        rados = sys.modules["rados"].Rados
        for name in ("open_ioctx", "pool_exists", "pool_reverse_lookup", "get_addrs"):
            setattr(rados, name, _of(getattr(images, name)))
        sys.modules["rbd"] = Counted(images, self.asked)  # type: ignore[assignment]  # a stand-in for a module

    def _short(self, prefix: str, command: dict[str, Any]) -> Any:
        arguments = {key: value for key, value in command.items() if key not in ("prefix", "format", "target")}
        match prefix:
            case "fs dump":
                return at_once(self.subvolumes.mon(prefix))
            case "config get" if command["key"].startswith(("mgr/volumes/", "mds_max_snaps")):
                return at_once(self.subvolumes.mon(prefix, **arguments))
            case "auth get-or-create" | "auth get" if "caps" in command or command["entity"] in self._users:
                if prefix == "auth get-or-create":
                    pairs = command["caps"]
                    self._users.setdefault(command["entity"], dict(zip(pairs[::2], pairs[1::2], strict=True)))
                return [{"entity": command["entity"], "key": KEY, "caps": self._users[command["entity"]]}]
            case "auth get":
                raise CephError(errno.ENOENT, f"there is no {command['entity']}")
            case "fs subvolumegroup ls":
                return [{"name": name} for name in self._groups]
            case "fs subvolumegroup info":
                return self._groups[command["group_name"]]
            case "fs subvolumegroup create":
                self._groups[command["group_name"]] = {"bytes_quota": command.get("size", "infinite")}
                return None
            case "fs subvolumegroup pin":
                return None
            case _ if prefix.startswith(("fs subvolume ", "fs clone ")):
                return self._of_subvolumes(prefix, arguments)
        return super()._short(prefix, command)

    def _of_subvolumes(self, prefix: str, arguments: dict[str, Any]) -> Any:
        """Copies are begun and whole whenever anybody asks: time that passes is not measured."""
        if prefix.startswith("fs clone "):
            for _ in range(2):
                self.subvolumes.work()
        return at_once(self.subvolumes.mgr(prefix, **arguments))


def at_once(answer: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        answer.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a stand-in waits for something")


def _of(function: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a class that calls the function without its object."""
    return lambda _, *args: function(*args)
