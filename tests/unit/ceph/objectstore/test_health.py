"""Whether a store serves, by requests to a stand-in for S3 that behaves as gateways did."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from controller.ceph.objectstore.health import AFTER_FAILURE, EVERY, Checked, HealthChecks
from tests.unit.ceph.objectstores import a_store


class S3:
    """Buckets with objects. `broken`: what every request raises."""

    def __init__(self) -> None:
        self.buckets: dict[str, dict[str, bytes]] = {}
        self.requests: list[str] = []
        self.broken: Exception | None = None
        self.garbles = False

    def _asked(self, what: str) -> None:
        self.requests.append(what)
        if self.broken is not None:
            raise self.broken

    def _bucket(self, name: str, what: str) -> dict[str, bytes]:
        self._asked(what)
        if name not in self.buckets:
            raise ClientError({"Error": {"Code": "NoSuchBucket"}}, what)
        return self.buckets[name]

    def create_bucket(self, *, Bucket: str) -> None:  # noqa: N803
        self._asked("create")
        self.buckets.setdefault(Bucket, {})

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        self._bucket(Bucket, "put")[Key] = b"other" if self.garbles else Body

    def get_object(self, *, Bucket: str, Key: str) -> Any:  # noqa: N803
        return {"Body": io.BytesIO(self._bucket(Bucket, "get")[Key])}

    def delete_object(self, *, Bucket: str, Key: str) -> None:  # noqa: N803
        del self._bucket(Bucket, "delete")[Key]

    def list_buckets(self) -> None:
        self._asked("list")


class Scene:
    """Health checks with a clock of their own."""

    def __init__(self, *, admin: object | None = True) -> None:
        self.now, self.s3 = 0.0, S3()
        way = SimpleNamespace(admin=admin, endpoint="http://s")
        found = SimpleNamespace(reach=lambda *_: way, keys=lambda _: ("AK", "SK"), s3=lambda *_: self.s3)
        self.checks = HealthChecks(cast("Any", found), clock=lambda: self.now)


async def test_an_object_is_put_read_and_deleted_in_a_bucket_of_our_own() -> None:
    scene = Scene()

    assert await scene.checks.check(a_store()) == Checked()
    assert scene.s3.requests == ["put", "create", "put", "get", "delete"]
    assert scene.s3.buckets == {"rook-ceph-bucket-checker-s-1": {}}


async def test_an_answer_holds_for_a_while() -> None:
    scene = Scene()
    await scene.checks.check(a_store())
    asked = len(scene.s3.requests)
    scene.now = EVERY - 1
    await scene.checks.check(a_store())
    assert len(scene.s3.requests) == asked

    scene.now = EVERY + 1
    scene.s3.broken = EndpointConnectionError(endpoint_url="http://s")
    checked = await scene.checks.check(a_store())
    assert checked is not None
    assert "Could not connect" in checked.trouble
    scene.s3.broken = None
    scene.now += AFTER_FAILURE + 1
    assert await scene.checks.check(a_store()) == Checked()


async def test_what_is_read_has_to_be_what_was_put() -> None:
    scene = Scene()
    scene.s3.garbles = True

    checked = await scene.checks.check(a_store())
    assert checked is not None
    assert "is not what was put there" in checked.trouble


async def test_in_a_zone_nothing_is_written() -> None:
    scene = Scene()

    assert await scene.checks.check(a_store({"zone": {"name": "z"}})) == Checked()
    assert scene.s3.requests == ["list"]


@pytest.mark.parametrize("admin", [None])
async def test_a_store_that_is_not_set_up_is_not_asked(admin: object | None) -> None:
    scene = Scene(admin=admin)

    assert await scene.checks.check(a_store()) is None
    assert scene.s3.requests == []


async def test_stores_that_are_gone_are_forgotten() -> None:
    scene = Scene()
    await scene.checks.check(a_store())
    scene.checks.forget(frozenset())
    await scene.checks.check(a_store())

    assert scene.s3.requests.count("get") == 2
