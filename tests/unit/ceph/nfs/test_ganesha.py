"""The database of grace periods: its format as Ganesha has it, and changes by several at once."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from controller.ceph.access import ganesha
from controller.ceph.access.ganesha import POOL, Grace, Server, Shared, client_address, parse
from controller.ceph.access.rados import CephError
from tests.unit.ceph.rados_objects import Objects, Stored

NAME = "my-nfs"
KEY = (NAME, "grace")


class Ceph:
    """A cluster with these objects."""

    def __init__(self) -> None:
        self.objects = Objects(POOL)

    async def use(self, function: Any, **_: Any) -> Any:
        return function(self.objects)

    def grace(self, current: int, recovering: int, **flags: int) -> None:
        keys = {f"{NAME}.{server}": bytes((value,)) for server, value in flags.items()}
        self.objects.stored[KEY] = Stored(struct.pack("<QQ", current, recovering), keys)

    def clients(self, epoch: int, server: str, *addresses: str) -> None:
        keys = {str(n): f"::ffff:{a}-(27:Linux NFSv4.1 x)".encode() for n, a in enumerate(addresses)}
        self.objects.stored[NAME, f"rec-{epoch:016x}:{NAME}.{server}"] = Stored(b"", keys)


async def grace_of(ceph: Ceph) -> Grace:
    found = await ganesha.read(ceph, NAME)
    assert found.grace is not None
    return found.grace


def test_format() -> None:
    # As `ganesha-rados-grace add my-nfs.a` made it with Ganesha 6.5.
    assert parse(b"\x01" + bytes(15), {"my-nfs.a": b"\x02"}) == Grace(
        current=1, recovering=0, servers={"my-nfs.a": Server(enforcing=True)}
    )
    found = parse(struct.pack("<QQ", 5, 4), {"a": b"\x03", "b": b"\x00", "c": b""})
    assert (found.in_effect, found.servers["a"].needs_grace, found.servers["b"]) == (True, True, Server())
    with pytest.raises(CephError, match="has 3 bytes: expected 16"):
        parse(b"abc", {})


@pytest.mark.parametrize(
    ("record", "address"),
    [
        (b"::ffff:10.0.0.5-(27:Linux NFSv4.1 host)", "10.0.0.5"),
        (b"fd00::5-(3:x-(y)", "fd00::5"),
        (b"\xff", "\ufffd"),
    ],
)
def test_address_of_a_client(record: bytes, address: str) -> None:
    assert client_address(record) == address


async def test_nothing_is_there_and_then_servers_join() -> None:
    ceph = Ceph()
    assert await ganesha.read(ceph, NAME) == Shared()
    await ganesha.configure(ceph, NAME)
    await ganesha.configure(ceph, NAME)
    assert await ganesha.read(ceph, NAME) == Shared(configured=True)
    await ganesha.join(ceph, NAME, "my-nfs.a")
    stored = ceph.objects.stored[KEY]
    assert (stored.data, stored.keys) == (struct.pack("<QQ", 1, 0), {"my-nfs.a": b"\x02"})
    assert ceph.objects.told == ["grace"]


async def test_who_is_there_is_left_as_it_is() -> None:
    ceph = Ceph()
    ceph.grace(7, 6, a=3)
    await ganesha.join(ceph, NAME, "my-nfs.a")
    assert ceph.objects.written == []
    await ganesha.join(ceph, NAME, "my-nfs.b")
    assert ceph.objects.stored[KEY].keys == {"my-nfs.a": b"\x03", "my-nfs.b": b"\x02"}
    assert ceph.objects.stored[KEY].data == struct.pack("<QQ", 7, 6)


async def test_clients_of_both_epochs() -> None:
    ceph = Ceph()
    ceph.grace(5, 4, a=0, b=3)
    ceph.clients(5, "a", "10.0.0.1", "10.0.0.2")
    ceph.clients(4, "b", "10.0.0.3")
    ceph.clients(3, "b", "10.0.0.9")  # of an epoch that nobody can reclaim from
    found = await grace_of(ceph)
    assert found.servers["my-nfs.a"].clients == ("10.0.0.1", "10.0.0.2")
    assert found.servers["my-nfs.b"].clients == ("10.0.0.3",)


@pytest.mark.parametrize(
    ("flags", "recovering"),
    [
        ({"a": 2, "b": 3}, 0),  # only b was waited for
        ({"a": 3, "b": 3}, 4),  # a is waited for, too
        ({"a": 3, "b": 0}, 4),  # b was not waited for; Ganesha's own tool would end a's grace period here
    ],
)
async def test_a_server_that_leaves_ends_the_grace_period_that_waited_for_it_alone(
    flags: dict[str, int], recovering: int
) -> None:
    ceph = Ceph()
    ceph.grace(5, 4, **flags)
    ceph.clients(5, "b", "10.0.0.3")
    ceph.clients(4, "b", "10.0.0.3")
    ceph.clients(5, "a", "10.0.0.1")
    await ganesha.leave(ceph, NAME, "my-nfs.b")
    found = await grace_of(ceph)
    assert (found.current, found.recovering, list(found.servers)) == (5, recovering, ["my-nfs.a"])
    # Were its clients' records left, they could reclaim from a later server b what others have locked since.
    assert [name for _, name in ceph.objects.stored if name.startswith("rec-")] == ["rec-0000000000000005:my-nfs.a"]
    await ganesha.leave(ceph, NAME, "my-nfs.b")


async def test_who_never_was_leaves() -> None:
    await ganesha.leave(Ceph(), NAME, "my-nfs.b")


@pytest.mark.parametrize("act", [ganesha.join, ganesha.leave])
async def test_what_others_write_meanwhile_is_kept(act: Any) -> None:
    ceph = Ceph()
    ceph.grace(1, 0, a=0, b=0)
    others = iter([3, 1])

    def another_first(_: str) -> None:
        flags = next(others, None)
        if flags is not None:
            stored = ceph.objects.stored[KEY]
            keys = {**stored.keys, "my-nfs.a": bytes((flags,))}
            ceph.objects.stored[KEY] = Stored(struct.pack("<QQ", 2, 1), keys, stored.version + 1)

    ceph.objects.before_write = another_first
    await act(ceph, NAME, "my-nfs.c" if act is ganesha.join else "my-nfs.b")
    found = await grace_of(ceph)
    assert (found.recovering, found.servers["my-nfs.a"].needs_grace) == (1, True)
    assert set(found.servers) == ({"my-nfs.a", "my-nfs.b", "my-nfs.c"} if act is ganesha.join else {"my-nfs.a"})


async def test_an_object_that_never_rests_is_an_error() -> None:
    ceph = Ceph()
    ceph.grace(1, 0, a=0)

    def another_first(_: str) -> None:
        stored = ceph.objects.stored[KEY]
        ceph.objects.stored[KEY] = Stored(stored.data, stored.keys, stored.version + 1)

    ceph.objects.before_write = another_first
    with pytest.raises(CephError, match="changes all the time"):
        await ganesha.join(ceph, NAME, "my-nfs.b")


async def test_without_a_pool_it_is_an_error() -> None:
    ceph = Ceph()
    ceph.objects.pool = "another"
    with pytest.raises(Exception, match="not found"):
        await ganesha.read(ceph, NAME)
