"""librbd in memory: pools of images with snapshots, clones of format 2, metadata, groups, the trash. It may die at any
write.

What a clone is while librbd makes it, and what becomes of snapshots and images that have clones, is as in librbd's own
`CloneRequest`, `SnapshotRemoveRequest`, `DetachChildRequest` and `PreRemoveRequest`; groups are as in `api/Group.cc`.
Between its writes, clients may write to images (`Cluster.client`), but to none whose lock it holds.
"""

from __future__ import annotations

import errno
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from controller.ceph.access.rados import CephError

IN_GROUP, IN_TRASH = 1, 2
INCOMPLETE, COMPLETE = 0, 1
EXCLUSIVE_LOCK = 4
ZERO = "\0"
CREATED = datetime(2026, 1, 1)  # noqa: DTZ001  librbd's times have no zone


class CrashError(BaseException):
    """The operator dies here: no handler may catch it."""


class RbdError(OSError):
    """What librbd raises."""

    number = errno.EINVAL

    def __init__(self, message: str = "") -> None:
        super().__init__(self.number, message or type(self).__name__)


class ImageNotFound(RbdError):  # noqa: N818  its names are librbd's
    number = errno.ENOENT


class ImageExists(RbdError):  # noqa: N818
    number = errno.EEXIST


class ImageBusy(RbdError):  # noqa: N818
    number = errno.EBUSY


class ImageHasSnapshots(RbdError):  # noqa: N818
    number = errno.ENOTEMPTY


class ObjectNotFound(RbdError):  # noqa: N818  of groups
    number = errno.ENOENT


class ObjectExists(RbdError):  # noqa: N818
    number = errno.EEXIST


class InGroup(RbdError):  # noqa: N818  librbd has no name for it
    number = errno.EMLINK


@dataclass
class Snap:
    """A snapshot; `clones`: the ids of images that it knows of as its clones; `group`: whose it is."""

    name: str
    size: int
    data: str
    namespace: int = 0
    clones: set[str] = field(default_factory=set)
    id: int = 0
    group: str = ""


@dataclass
class Grouped:
    """A group: the images in it, and the states of its snapshots by name."""

    images: list[Stored] = field(default_factory=list)
    snaps: dict[str, int] = field(default_factory=dict)


@dataclass
class Stored:
    """An image. `data` is what was written to it; empty: it has its parent's."""

    id: str
    name: str
    pool: Pool
    size: int
    data: str = ""
    features: int = 1
    parent: tuple[Stored, Snap] | None = None
    snaps: list[Snap] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    watched: bool = False
    group: str = ""
    clients: set[str] = field(default_factory=set)
    """Those that have it open for writing, "10.0.0.1:0/1"."""
    objects: list[str] = field(default_factory=list)
    """What its objects have."""
    owner: str = ""
    """The client that owns the exclusive lock."""
    header: int = 0
    """The bytes that this client adds where it grows the image: it has decrypted it."""
    source: int = 0
    """Who moved it to the trash; 3: a removal that is under way."""

    def content(self) -> str:
        """What a client reads. A parent's data is gone with its snapshot."""
        if self.data or self.parent is None:
            return self.data
        parent, snap = self.parent
        if snap not in parent.snaps:
            raise AssertionError(f"{self.name}: its parent's snapshot is gone")
        return snap.data


@dataclass
class Pool:
    """A pool, and an I/O context of it."""

    cluster: Cluster
    name: str
    id: int
    images: dict[str, Stored] = field(default_factory=dict)
    trash: dict[str, Stored] = field(default_factory=dict)
    groups: dict[str, Grouped] = field(default_factory=dict)
    namespace: str = ""
    """The one that was asked for last; all have the same images."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def set_namespace(self, name: str) -> None:
        self.namespace = name
        self.cluster.namespaces.add(name)

    def close(self) -> None: ...

    def get_pool_id(self) -> int:
        return self.id


class Cluster:
    """A cluster; also a connection to it, and the module `rbd`."""

    ImageNotFound, ImageExists, ImageBusy, ImageHasSnapshots = ImageNotFound, ImageExists, ImageBusy, ImageHasSnapshots
    ObjectNotFound, ObjectExists = ObjectNotFound, ObjectExists

    def __init__(self, *pools: str) -> None:
        self.pools = {name: Pool(self, name, number) for number, name in enumerate(pools, 1)}
        self.writes = 0
        self.crash_at: int | None = None
        self.ids, self.snap_ids = itertools.count(1), itertools.count(1)
        self.by_id: dict[str, Stored] = {}
        self.most_parents = 0
        self.namespaces: set[str] = set()
        self.client: Callable[[], None] = lambda: None
        self.locked: list[Stored] = []

    def write(self) -> None:
        """One write of librbd's: it may be the last."""
        self.writes += 1
        self.client()
        if self.writes == self.crash_at:
            self.crash_at = None
            raise CrashError

    async def use(self, function: Callable[[Any], Any], *, lane: Any, seconds: float) -> Any:
        try:
            return function(self)
        except RbdError as error:
            raise CephError(error.number, str(error)) from error

    def open_ioctx(self, name: str) -> Pool:
        if name not in self.pools:
            raise ImageNotFound
        return self.pools[name]

    def pool_exists(self, name: str) -> bool:
        return name in self.pools

    def pool_reverse_lookup(self, pool_id: int) -> str | None:
        return next((pool.name for pool in self.pools.values() if pool.id == pool_id), None)

    def get_addrs(self) -> str:
        return "v1:10.0.0.9:0/9"

    def add(self, pool: str, name: str, data: str = "", size: int = 1) -> Stored:
        """Puts an image there, as by somebody else."""
        image = Stored(f"id{next(self.ids)}", name, self.pools[pool], size, data)
        self.pools[pool].images[name] = self.by_id[image.id] = image
        return image

    def RBD(self) -> Self:  # noqa: N802  librbd's name
        return self

    def Image(self, ioctx: Pool, name: str = "", **which: Any) -> Image:  # noqa: N802
        return Image(ioctx, name, **which)

    def Group(self, ioctx: Pool, name: str) -> Group:  # noqa: N802
        return Group(ioctx, name)

    def group_create(self, ioctx: Pool, name: str) -> None:
        if name in ioctx.groups:
            raise ObjectExists
        self.write()
        ioctx.groups[name] = Grouped()

    def group_remove(self, ioctx: Pool, name: str) -> None:
        """As `rbd group rm`: with its snapshots, without its images. No error if there is none."""
        if name not in ioctx.groups:
            return
        group = ioctx.groups[name]
        for snap in list(group.snaps):
            Group(ioctx, name).remove_snap(snap)
        for image in list(group.images):
            self.write()
            image.group = ""
            group.images.remove(image)
        self.write()
        del ioctx.groups[name]

    def create(self, ioctx: Pool, name: str, size: int, order: object, **_: object) -> None:
        if name in ioctx.images:
            raise ImageExists
        self.write()
        self.add(ioctx.name, name, size=size)

    def clone(
        self, p_ioctx: Pool, p_name: str, p_snapname: str, c_ioctx: Pool, c_name: str, *, clone_format: int, **made: Any
    ) -> None:
        assert clone_format == 2, "one of format 1 needs protected snapshots"
        with Image(p_ioctx, p_name, snapshot=p_snapname) as opened:
            parent, snap = opened.stored, opened.at
        assert snap is not None
        if c_name in c_ioctx.images:
            raise ImageExists
        self.write()
        child = self.add(c_ioctx.name, c_name, size=snap.size)
        child.features = made.get("features") or 1
        self.write()
        child.parent = (parent, snap)
        self.write()
        snap.clones.add(child.id)
        self.write()
        child.metadata = dict(parent.metadata)
        self.most_parents = max(self.most_parents, parents_of(child))

    def remove(self, ioctx: Pool, name: str) -> None:
        if name not in ioctx.images:
            raise ImageNotFound
        self._remove(ioctx.images[name])
        self.write()
        del self.by_id[ioctx.images.pop(name).id]

    def _remove(self, image: Stored) -> None:
        if any(snap.namespace != IN_TRASH for snap in image.snaps):
            raise ImageHasSnapshots
        if image.group:
            raise InGroup
        if image.watched or image.clients:
            raise ImageBusy
        for snap in list(image.snaps):
            if not snap.clones:
                self.write()
                image.snaps.remove(snap)
        if image.snaps:
            raise ImageHasSnapshots
        self.detach(image)

    def detach(self, image: Stored) -> None:
        """Takes an image off its parent, whose snapshot goes with its last clone if it is in the trash."""
        if image.parent is None:
            return
        parent, snap = image.parent
        self.write()
        snap.clones.discard(image.id)
        if snap.namespace == IN_TRASH and not snap.clones and snap in parent.snaps:
            self.write()
            parent.snaps.remove(snap)
        image.parent = None

    def trash_move(self, ioctx: Pool, name: str, delay: int) -> None:
        if ioctx.images[name].watched or ioctx.images[name].clients:
            raise ImageBusy
        self.write()
        image = ioctx.images.pop(name)
        ioctx.trash[image.id] = image

    def trash_list(self, ioctx: Pool) -> Iterator[dict[str, str]]:
        for image in ioctx.trash.values():
            yield {"id": image.id, "name": image.name, "source": ("USER", "MIRRORING")[image.source]}

    def trash_remove(self, ioctx: Pool, image_id: str) -> None:
        if image_id not in ioctx.trash:
            raise ImageNotFound
        self._remove(ioctx.trash[image_id])
        self.write()
        del self.by_id[ioctx.trash.pop(image_id).id]

    def left(self) -> list[str]:
        """All images, those in the trash included, and all groups."""
        pools = self.pools.values()
        images = [image.name for pool in pools for image in (*pool.images.values(), *pool.trash.values())]
        return sorted([*images, *(f"group {name}" for pool in pools for name in pool.groups)])


class Image:
    """An open image: what of `rbd.Image` is used."""

    def __init__(
        self, ioctx: Pool, name: str = "", *, snapshot: str = "", read_only: bool = False, image_id: str = ""
    ) -> None:
        found = ioctx.images.get(name)
        if image_id:
            found = ioctx.cluster.by_id.get(image_id)
        if found is None or found.pool is not ioctx:
            raise ImageNotFound
        self.stored = found
        self.at = None
        if snapshot:
            self.at = self._snap(snapshot)
        self._cluster = ioctx.cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def _snap(self, name: str) -> Snap:
        found = [snap for snap in self.stored.snaps if snap.name == name and snap.namespace != IN_TRASH]
        if not found:
            raise ImageNotFound
        return found[0]

    def id(self) -> str:
        return self.stored.id

    def size(self) -> int:
        return self.at.size if self.at is not None else self.stored.size

    def features(self) -> int:
        return self.stored.features

    def stripe_count(self) -> int:
        return 1

    def create_timestamp(self) -> datetime:
        return CREATED

    def resize(self, size: int, *, allow_shrink: bool = True) -> None:
        assert not allow_shrink
        self._cluster.write()
        self.stored.size = size + (self.stored.header if self.stored.owner else 0)

    def watchers_list(self) -> list[dict[str, str]]:
        clients = [*self.stored.clients, *(["10.0.0.1:0/1"] if self.stored.watched else [])]
        return [{"addr": f"v1:{client}"} for client in clients]

    def mirror_image_get_info(self) -> dict[str, int]:
        return {"state": 2}

    def get_name(self) -> str:
        return self.stored.name

    def stat(self) -> dict[str, int]:
        return {"obj_size": 4}

    def sparsify(self, sparse_size: int) -> None:
        assert sparse_size == 4
        self._cluster.write()
        self.stored.objects = [found for found in self.stored.objects if found.strip("0")]

    def list_lockers(self) -> dict[str, Any]:
        return {"lockers": [("client.1", "auto 1", self.stored.owner)]} if self.stored.owner else {}

    def list_snaps(self) -> list[dict[str, Any]]:
        return [
            {
                "id": snap.id,
                "name": snap.name,
                "namespace": snap.namespace,
                **({"group": {"name": snap.group}} if snap.namespace == IN_GROUP else {}),
            }
            for snap in self.stored.snaps
        ]

    def create_snap(self, name: str, **of_group: Any) -> None:
        if any(snap.name == name and snap.namespace != IN_TRASH for snap in self.stored.snaps):
            raise ImageExists
        self._cluster.write()
        made = Snap(name, self.stored.size, self.stored.content(), id=next(self._cluster.snap_ids), **of_group)
        self.stored.snaps.append(made)

    def group(self) -> dict[str, Any]:
        return {"pool": self.stored.pool.id if self.stored.group else -1, "name": self.stored.group}

    def set_snap_by_id(self, number: int) -> None:
        self.at = next(snap for snap in self.stored.snaps if snap.id == number)

    def diff_iterate(
        self,
        offset: int,
        length: int,
        from_snapshot: str | None,
        call: Callable[[int, int, bool], object],
        *,
        include_parent: bool,
        whole_object: bool,
    ) -> None:
        assert (offset, include_parent, whole_object) == (0, False, True)
        if from_snapshot is not None:
            self._diff(self._snap(from_snapshot), call)
            return
        for number, found in enumerate(self.stored.objects):
            call(4 * number, len(found), True)
        call(length, 4, False)

    def _diff(self, before: Snap, call: Callable[[int, int, bool], object]) -> None:
        """Byte by byte: objects are of that size here."""
        now = self.at
        assert now is not None
        if before.id >= now.id:
            raise RbdError("the diff begins after its end")
        for at in range(max(len(before.data), len(now.data))):
            if (byte := byte_of(now.data, at)) != byte_of(before.data, at):
                call(at, 1, byte != ZERO)

    def read(self, offset: int, length: int) -> bytes:
        data = self.at.data if self.at is not None else self.stored.content()
        return "".join(byte_of(data, at) for at in range(offset, offset + length)).encode()

    def write(self, data: bytes, offset: int) -> None:
        self._cluster.write()
        has = self.stored.content().ljust(offset + len(data), ZERO)
        self.stored.data = has[:offset] + data.decode() + has[offset + len(data) :]

    def write_zeroes(self, offset: int, length: int) -> None:
        self.write(ZERO.encode() * length, offset)

    def flush(self) -> None: ...

    def remove_snap(self, name: str) -> None:
        snap = self._snap(name)
        self._cluster.write()
        if snap.clones:
            snap.namespace = IN_TRASH
        else:
            self.stored.snaps.remove(snap)

    def list_children(self) -> list[tuple[str, str]]:
        assert self.at is not None
        children = (self._cluster.by_id.get(child) for child in sorted(self.at.clones))
        return [(c.pool.name, c.name) for c in children if c is not None and c.name in c.pool.images]

    def get_parent_image_spec(self) -> dict[str, str]:
        if self.stored.parent is None:
            raise ImageNotFound
        parent, snap = self.stored.parent
        return {
            "pool_name": parent.pool.name,
            "pool_namespace": parent.pool.namespace,
            "image_name": parent.name,
            "snap_name": snap.name,
        }

    def parent_id(self) -> str:
        if self.stored.parent is None:
            raise ImageNotFound
        return self.stored.parent[0].id

    def flatten(self) -> None:
        self._cluster.write()
        self.stored.data = self.stored.content()
        self._cluster.detach(self.stored)

    def metadata_set(self, key: str, value: str) -> None:
        self._cluster.write()
        self.stored.metadata[key] = value

    def metadata_remove(self, key: str) -> None:
        if key not in self.stored.metadata:
            raise KeyError(key)
        self._cluster.write()
        del self.stored.metadata[key]

    def metadata_list(self) -> list[tuple[str, str]]:
        return list(self.stored.metadata.items())


class Group:
    """What of `rbd.Group` is used."""

    def __init__(self, ioctx: Pool, name: str) -> None:
        self._ioctx, self._name, self._cluster = ioctx, name, ioctx.cluster

    @property
    def _group(self) -> Grouped:
        if self._name not in self._ioctx.groups:
            raise ObjectNotFound
        return self._ioctx.groups[self._name]

    def add_image(self, ioctx: Pool, name: str) -> None:
        if name not in ioctx.images:
            raise ObjectNotFound
        image = ioctx.images[name]
        if image.group not in ("", self._name):
            raise ObjectExists
        self._cluster.write()
        if image not in self._group.images:
            self._group.images.append(image)
        self._cluster.write()
        image.group = self._name

    def list_snaps(self) -> list[dict[str, Any]]:
        return [{"name": name, "state": state} for name, state in self._group.snaps.items()]

    def create_snap(self, name: str) -> None:
        """The images whose clients can be held are locked from before the first of their snapshots to the last."""
        group = self._group
        if name in group.snaps:
            raise ObjectExists
        self._cluster.write()
        group.snaps[name] = INCOMPLETE
        try:
            self._cluster.locked = [image for image in group.images if image.features & EXCLUSIVE_LOCK]
            for image in group.images:
                with Image(image.pool, image.name) as opened:
                    opened.create_snap(f".group.{name}", namespace=IN_GROUP, group=self._name)
        finally:
            self._cluster.locked = []
        self._cluster.write()
        group.snaps[name] = COMPLETE

    def remove_snap(self, name: str) -> None:
        for image in self._group.images:
            for snap in [snap for snap in image.snaps if snap.group == self._name]:
                self._cluster.write()
                image.snaps.remove(snap)
        self._cluster.write()
        del self._group.snaps[name]


def byte_of(data: str, at: int) -> str:
    """A byte of an image: what was never written is zero."""
    return data[at] if at < len(data) else ZERO


def parents_of(image: Stored) -> int:
    """How many parents an image has, one behind the other."""
    return 0 if image.parent is None else 1 + parents_of(image.parent[0])
