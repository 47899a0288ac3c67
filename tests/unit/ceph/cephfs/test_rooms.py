"""How much fits into the file system of a class."""

from __future__ import annotations

import errno

import pytest

from controller.volumes.backend import BackendError, ParameterError
from controller.volumes.features import LARGEST, Room
from tests.unit.ceph.cephfs.cephfs import Ceph, backend, storage_class


async def test_room_is_that_of_the_pool_for_data() -> None:
    rooms = backend(Ceph()).rooms
    assert await rooms.of(storage_class()) == (Room(place={}, free=1000, largest=LARGEST),)
    assert await rooms.of(storage_class(pool="myfs-data0")) == (Room(place={}, free=1000, largest=LARGEST),)


async def test_without_room_for_metadata_there_is_none() -> None:
    ceph = Ceph()
    ceph.free["myfs-metadata"] = 0
    assert await backend(ceph).rooms.of(storage_class()) == (Room(place={}, free=0, largest=0),)


async def test_a_class_that_is_wrong_holds_no_pod_back() -> None:
    rooms = backend(Ceph()).rooms
    with pytest.raises(ParameterError, match=r"pool 'other' is none of file system myfs: expected myfs-data0"):
        await rooms.of(storage_class(pool="other"))
    with pytest.raises(ParameterError, match=r"file system 'another' \(fsName\) does not exist"):
        await rooms.of(storage_class(fsName="another"))


async def test_what_is_not_known_is_told() -> None:
    ceph = Ceph()
    ceph.down = errno.ETIMEDOUT
    with pytest.raises(BackendError, match="StorageClass rook-cephfs: no answer"):
        await backend(ceph).rooms.of(storage_class())
