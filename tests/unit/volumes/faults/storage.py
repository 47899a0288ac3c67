"""A Ceph cluster in memory: images and file systems, clients that have them open, and times when it does not answer."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from controller.ceph.access.rados import CephError
from tests.unit.ceph.cephfs.cephfs import Ceph, client_of, session
from tests.unit.ceph.rbd.librbd import Cluster

WATCH_SECONDS, STALE_SECONDS, AUTOCLOSE_SECONDS = 30.0, 60.0, 300.0
"""After which Ceph takes a client that it does not hear of for gone: as a watcher, and at its MDS daemons."""


class AwayError(Exception):
    """Ceph does not answer a client."""


@dataclass
class Client:
    """A client of a node. It may write once it is `used`, until it is closed or on the blocklist."""

    name: str
    host: str
    volume: str
    used: bool = False
    silent: float | None = None
    """Since when Ceph has not heard of it."""


class Storage(Cluster):
    """Images in pool p, and file system myfs.

    Args:
        step: Called at each write of an operator's: it may raise what kills it.
        clock: Seconds.
    """

    def __init__(self, step: Callable[[], None], clock: Callable[[], float]) -> None:
        super().__init__("p")
        self._step = step
        self._clock = clock
        self.files = Ceph(self._stepping)
        self.clients: dict[str, Client] = {}
        self.away = False
        self.mds_away = False

    @contextmanager
    def _stepping(self) -> Iterator[None]:
        self._step()
        yield
        self._step()

    def write(self) -> None:
        self._step()

    async def use(self, function: Callable[[Any], Any], *, lane: Any, seconds: float) -> Any:
        self._answer()
        return await super().use(function, lane=lane, seconds=seconds)

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        self._answer()
        self.files.filesystems["myfs"] = "up:replay" if self.mds_away else "up:active"
        answer = await self.files.mon(prefix, **args)
        if prefix == "osd blocklist":
            self._drop(args["addr"])
        return answer

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        self._answer()
        return await self.files.mgr(prefix, **args)

    async def mds(self, roles: Any, prefix: str, /, **args: Any) -> Any:
        self._answer()
        return await self.files.mds(roles, prefix, **args)

    def open_image(self, name: str, client: Client) -> None:
        """A client opens an image for writing."""
        self._reach(client.name)
        if name not in self.pools["p"].images:
            raise AwayError(f"image {name} was not found")
        self.pools["p"].images[name].clients.add(client.name)
        self.clients[client.name] = client

    def open_directory(self, root: str, client: Client) -> None:
        """A client mounts a directory."""
        self._reach(client.name)
        if self.mds_away:
            raise AwayError("no MDS daemon answers")
        if not any(root == self.files.path(*key) for key in self.files.subvolumes):
            raise AwayError(f"{root}: no such directory")
        self.files.sessions.append(session(client.name, root, host=client.host))
        self.clients[client.name] = client

    def uses(self, client: Client) -> None:
        """It writes for the first time, by which it gets the lock of its image."""
        client.used = True
        for image in self.pools["p"].images.values():
            if client.name in image.clients:
                image.owner = client.name

    def close(self, name: str, *, force: bool = False) -> None:
        """A client has flushed and goes; `force`: its process was killed."""
        client = self.clients.pop(name, None)
        if client is None:
            return
        if force:
            client.used, client.silent = False, self._clock()
            self.clients[name] = client
            return
        try:
            self._reach(name)
        except AwayError:
            self.clients[name] = client
            raise
        self._drop(name)
        for image in self.pools["p"].images.values():
            image.owner = "" if image.owner == name else image.owner

    def silence(self, host: str, *, died: bool) -> None:
        """Ceph hears of a node's clients no more; those of one that died never write again."""
        for client in self.clients.values():
            if client.host == host:
                client.silent = client.silent if client.silent is not None else self._clock()
                client.used = client.used and not died

    def hear(self, host: str) -> None:
        """The clients of a node that was cut off are back."""
        for client in self.clients.values():
            if client.host == host and client.used:
                client.silent = None
                if client.name not in self.files.fenced:
                    self._rewatch(client)

    def forget(self) -> None:
        """Time has passed: what Ceph has not heard of for long is gone."""
        for client in list(self.clients.values()):
            if client.silent is None:
                continue
            silent = self._clock() - client.silent
            if silent > WATCH_SECONDS:
                for image in self.pools["p"].images.values():
                    image.clients.discard(client.name)
            mine = [found for found in self.files.sessions if client_of(found) == client.name]
            if mine and silent > AUTOCLOSE_SECONDS and not self.mds_away:
                self.files.fenced.append(client.name)
                self._drop(client.name)
            elif silent > STALE_SECONDS:
                for found in mine:
                    found["state"] = "stale"

    def writers(self, volume: str) -> set[str]:
        """The nodes whose clients may write to a volume, now or when they are back."""
        found = self.clients.values()
        return {c.host for c in found if c.volume == volume and c.used and c.name not in self.files.fenced}

    def everything(self) -> list[str]:
        """What there is: images, those in the trash included, their snapshots, and subvolumes."""
        snaps = [f"{i.name}@{snap.name}" for p in self.pools.values() for i in p.images.values() for snap in i.snaps]
        return [*self.left(), *snaps, *(name for _, name in self.files.subvolumes)]

    def _rewatch(self, client: Client) -> None:
        for image in self.pools["p"].images.values():
            if image.owner == client.name:
                image.clients.add(client.name)
        for found in self.files.sessions:
            if client_of(found) == client.name:
                found["state"] = "open"

    def _drop(self, name: str) -> None:
        for image in self.pools["p"].images.values():
            image.clients.discard(name)
        self.files.sessions = [found for found in self.files.sessions if client_of(found) != name]

    def _reach(self, name: str) -> None:
        if self.away:
            raise AwayError("Ceph does not answer")
        if name in self.files.fenced:
            raise AwayError(f"{name} is on the blocklist")

    def _answer(self) -> None:
        if self.away:
            raise CephError(errno.ETIMEDOUT, "no answer within 15 s")
