"""Clusters that mirror images with each other, as librbd, mons and mgr show them; nothing is copied.

What librbd refuses, it refuses here: see `librbd/api/Mirror.cc` (`mode_set`, `peer_bootstrap_import`).
"""

from __future__ import annotations

import errno
import itertools
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.access.rados import CephError
from controller.ceph.mirroring import images, tokens
from controller.runtime.kube import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from informers import JsonObject

FSIDS = {"a": "5f6a64d9-1b6c-4d0a-9b0e-1f6a1f3c2a10", "b": "770687f1-9c84-4010-8018-2a4e8f74eb9f"}
UNKNOWN_TO_18 = 3


class RbdError(OSError):
    """What librbd and librados raise."""

    number = errno.EINVAL

    def __init__(self, number: int = 0) -> None:
        super().__init__(number or self.number, type(self).__name__)


class InvalidArgument(RbdError):  # noqa: N818  their names are librbd's
    pass


class ImageBusy(RbdError):  # noqa: N818
    number = errno.EBUSY


class ImageNotFound(RbdError):  # noqa: N818
    number = errno.ENOENT


class ObjectNotFound(RbdError):  # noqa: N818
    number = errno.ENOENT


@dataclass
class Place:
    """A pool, or a RADOS namespace of one."""

    mode: int = 0
    peers: list[dict[str, Any]] = field(default_factory=list)
    attributes: dict[str, dict[str, str]] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    """The names of images that are mirrored."""
    remote_namespace: str | None = None


class Site:
    """A cluster: a connection to it, `Rados` to others, mons and mgr."""

    def __init__(self, name: str, network: dict[str, Site], *, release: int = 18) -> None:
        self.fsid, self.network, self.release = FSIDS[name], network, release
        self.host = f"[v2:10.0.0.{ord(name)}:3300]"
        network[self.host] = self
        self.pools: dict[str, dict[str, Place]] = {"replicapool": {"": Place()}}
        self.keys: dict[str, str] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.schedules: dict[str, list[dict[str, str | None]]] = {}
        self.services: JsonObject = {}
        self.reports: JsonObject = {}
        self.commands: list[str] = []
        self.down = self.mgr_down = False
        self._numbers = itertools.count(1)

    def place(self, pool: str = "replicapool", namespace: str = "") -> Place:
        return self.pools[pool][namespace]

    def token(self, key: str = "key-1") -> str:
        """The token of this cluster."""
        return tokens.for_images(
            fsid=self.fsid, user="client.rbd-mirror-peer", key=key, mon_host=self.host, namespace="rook-ceph"
        )

    # What `RadosCluster` does.

    async def use(self, function: Callable[[Any], Any], **_: Any) -> Any:
        if self.down:
            raise CephError(errno.ETIMEDOUT, "no answer")
        try:
            return function(self)
        except RbdError as error:
            raise CephError(error.errno or 0, str(error)) from error

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        if self.down:
            raise CephError(errno.ETIMEDOUT, "no answer")
        match prefix:
            case "config-key dump":
                return {key: value for key, value in self.keys.items() if key.startswith(args["key"])}
            case "mon dump":
                return {"fsid": self.fsid, "mons": [{"public_addrs": {"addrvec": [self._address()]}}]}
            case "auth get":
                if args["entity"] not in self.users:
                    raise CephError(errno.ENOENT, "no such user")
                return [self.users[args["entity"]]]
        self.commands.append(prefix)
        match prefix:
            case "config-key set":
                self.keys[args["key"]] = args["val"]
            case "config-key rm":
                self.keys.pop(args["key"], None)
            case "auth get-or-create":
                caps = dict(zip(args["caps"][::2], args["caps"][1::2], strict=True))
                return [self.users.setdefault(args["entity"], {"key": f"key-{next(self._numbers)}", "caps": caps})]
            case "auth rm":
                self.users.pop(args["entity"], None)
        return None

    def _address(self) -> JsonObject:
        return {"type": "v2", "addr": self.host.removeprefix("[v2:").removesuffix("]")}

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        if self.mgr_down:
            raise CephError(errno.ETIMEDOUT, "no mgr answers")
        match prefix:
            case "service dump":
                return {"services": self.services}
            case "service status":
                return self.reports
            case "rbd mirror snapshot schedule list":
                within = (
                    (name, items) for name, items in self.schedules.items() if name.startswith(args["level_spec"])
                )
                return {str(n): {"name": name, "schedule": items} for n, (name, items) in enumerate(within) if items}
        self.commands.append(prefix)
        item = {"interval": args["interval"], "start_time": args.get("start_time")}
        items = self.schedules.setdefault(args["level_spec"], [])
        if prefix.endswith("add") and item not in items:
            items.append(item)
        if prefix.endswith("remove") and item in items:
            items.remove(item)
        return None

    # What `rados.Rados` does.

    def get_fsid(self) -> str:
        return self.fsid

    def shutdown(self) -> None: ...

    @contextmanager
    def open_ioctx(self, pool: str) -> Iterator[Context]:
        if pool not in self.pools:
            raise ObjectNotFound
        yield Context(self, pool)


@dataclass
class Context:
    """An I/O context of a pool."""

    site: Site
    pool: str
    namespace: str = ""

    @property
    def place(self) -> Place:
        return self.site.pools[self.pool][self.namespace]

    def set_namespace(self, name: str) -> None:
        self.namespace = name

    def execute(self, _: str, __: str, method: str, data: bytes) -> tuple[int, bytes]:
        if self.site.release < 20 and "remote_namespace" in method:
            raise RbdError(errno.EOPNOTSUPP)
        match method:
            case "mirror_mode_set":
                self.place.mode = int.from_bytes(data, "little")
            case "mirror_remote_namespace_set":
                self.place.remote_namespace = data[4:].decode()
            case "mirror_remote_namespace_get":
                name = self.place.remote_namespace
                if name is None:
                    raise RbdError(errno.ENOENT)
                return 0, len(name).to_bytes(4, "little") + name.encode()
        return 0, b""


class Rbd:
    """`rbd.RBD` of librbd 18."""

    def mirror_mode_get(self, ioctx: Context) -> int:
        if ioctx.place.mode == UNKNOWN_TO_18:
            raise InvalidArgument
        return ioctx.place.mode

    def mirror_mode_set(self, ioctx: Context, mode: int) -> None:
        if mode == UNKNOWN_TO_18:
            raise InvalidArgument
        if mode == 0 and ioctx.site.pools[ioctx.pool][""].peers and not ioctx.namespace:
            raise ImageBusy
        if mode == 0 and ioctx.place.images:
            raise InvalidArgument
        ioctx.place.mode = mode

    def mirror_site_name_get(self, handle: Site) -> str:
        return handle.fsid

    def mirror_image_status_summary(self, ioctx: Context) -> list[tuple[int, int]]:
        return [(4, len(ioctx.place.images))] if ioctx.place.images else []

    def mirror_image_status_list(self, ioctx: Context) -> list[JsonObject]:
        return [{"name": name, "info": {"state": 1}} for name in ioctx.place.images]

    def mirror_peer_list(self, ioctx: Context) -> list[JsonObject]:
        return ioctx.place.peers

    def mirror_peer_get_attributes(self, ioctx: Context, uuid: str) -> dict[str, str]:
        if uuid not in ioctx.place.attributes:
            raise ImageNotFound
        return ioctx.place.attributes[uuid]

    def mirror_peer_remove(self, ioctx: Context, uuid: str) -> None:
        ioctx.place.peers = [peer for peer in ioctx.place.peers if peer["uuid"] != uuid]
        ioctx.place.attributes.pop(uuid, None)

    def mirror_peer_bootstrap_import(self, ioctx: Context, direction: int, text: str) -> None:
        token = tokens.read({"token": text.encode()})
        if ioctx.place.peers and ioctx.place.peers[0]["site_name"] != token.fsid:
            raise InvalidArgument
        if direction == 2:
            remote = ioctx.site.network[token.mon_host]
            _add_peer(
                remote.place(ioctx.pool),
                ioctx.site.fsid,
                ioctx.site.users["client.rbd-mirror-peer"]["key"],
                ioctx.site.host,
                2,
            )
        _add_peer(ioctx.place, token.fsid, token.key, token.mon_host, direction)


def _add_peer(place: Place, fsid: str, key: str, mon_host: str, direction: int) -> None:
    uuid = f"uuid-{fsid[:4]}"
    if not place.peers:
        peer = {"uuid": uuid, "site_name": fsid, "client_name": "client.rbd-mirror-peer", "mirror_uuid": ""}
        place.peers.append({**peer, "direction": direction})
    place.attributes[uuid] = {"key": key, "mon_host": mon_host}


def install(monkeypatch: pytest.MonkeyPatch, network: dict[str, Site]) -> None:
    """Has the code under test find these clusters by librados and librbd."""
    names = {"InvalidArgument": InvalidArgument, "ImageBusy": ImageBusy, "ImageNotFound": ImageNotFound}
    monkeypatch.setattr(images, "_rbd", lambda: SimpleNamespace(RBD=Rbd, **names))

    class Rados:
        def __init__(self, name: str, conf: dict[str, str]) -> None:
            self.name, self.conf, self.fsid = name, conf, ""

        def connect(self) -> None:
            site = network.get(self.conf["mon_host"])
            if site is None or site.down:
                raise RbdError(errno.ETIMEDOUT)
            self.fsid, self.open_ioctx = site.fsid, site.open_ioctx

        def get_fsid(self) -> str:
            return self.fsid

        def shutdown(self) -> None: ...

    library = SimpleNamespace(Rados=Rados, Error=RbdError, ObjectNotFound=ObjectNotFound)
    monkeypatch.setattr(images, "_rados", lambda: library)


def reports(pool_id: int, *, leader: bool = True, level: str = "") -> JsonObject:
    """What the mgr knows of a daemon that mirrors a pool."""
    callouts = {"1": {"level": level, "text": "no peers"}} if level else {}
    return {"rbd-mirror": {"41": {"status": {"json": json.dumps({pool_id: {"leader": leader, "callouts": callouts}})}}}}


DAEMONS = {"rbd-mirror": {"daemons": {"summary": "", "41": {"metadata": {"id": "a"}}}}}
"""The answer to `service dump`, with a daemon."""


def a_secret(name: str, data: dict[str, str], owner: str = "") -> Secret:
    """A Secret with these texts."""
    meta: JsonObject = {"name": name, "namespace": "rook-ceph", "uid": f"uid-{name}"}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "kind": "K", "name": "n", "apiVersion": "v1"}]
    encoded = {key: value.encode() for key, value in data.items()}
    return msgspec.convert({"metadata": meta, "data": encoded}, Secret, builtin_types=(bytes,))
