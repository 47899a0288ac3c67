"""What is asked anew at the moment of an act, and the commands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.ceph.access.modules import EnableModule
from controller.ceph.nfs import act
from controller.ceph.nfs.act import (
    CreateConfiguration,
    CreatePool,
    EnableApplication,
    JoinGrace,
    LeaveGrace,
    RemoveUser,
    RunningServerError,
    StopServer,
)
from controller.framework.consent import NoConsentError
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.nfs.test_ganesha import KEY
from tests.unit.ceph.nfs.test_ganesha import Ceph as Objects
from tests.unit.ceph.nfs_servers import DISCONNECT, NOW, SURE, a_nfs

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client

STOP_B = StopServer("b", "rook-ceph-nfs-my-nfs-b", "u")


class Ceph(FakeCeph, Objects):
    """Commands and objects."""

    def __init__(self) -> None:
        FakeCeph.__init__(self)
        Objects.__init__(self)


class Case:
    """A CephNFS whose number of servers, annotations and deletion the API server has so.

    Args:
        active: The servers that it asks for.
        found: Fields of its metadata.
        pods: Pods of the server that is asked about.
        using: What uses it.
    """

    def __init__(self, active: int, *, pods: int = 0, using: tuple[str, ...] = (), **found: Any) -> None:
        self.ceph = Ceph()
        meta = {"name": "my-nfs", "namespace": "rook-ceph", "uid": "n1", **found}
        self.client = SimpleNamespace(
            get=AsyncMock(return_value={"metadata": meta, "spec": {"server": {"active": active}}}),
            list=AsyncMock(return_value=[{"metadata": {"name": "pod"}}] * pods),
            delete=AsyncMock(),
        )
        self.handlers = act.handlers(
            a_nfs(), cast("Client", self.client), cast("RadosCluster", self.ceph), AsyncMock(return_value=using)
        )

    async def do(self, action: object) -> None:
        await self.handlers[type(action)](action)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case(2), "server b is wanted by now"),
        (Case(1), r"server b has clients by now, 10\.0\.0\.7"),
        (Case(1, annotations=SURE), "server b has clients by now"),
        (Case(1, deletionTimestamp=NOW, annotations=DISCONNECT), "server b has clients by now"),
        (Case(1, deletionTimestamp=NOW, annotations=SURE, using=("PersistentVolume p",)), "PersistentVolume p uses it"),
        (Case(1, uid="another", annotations=DISCONNECT), "it is another"),
    ],
)
async def test_a_server_stays(case: Case, words: str) -> None:
    case.ceph.grace(1, 0, a=0, b=0)
    case.ceph.clients(1, "b", "10.0.0.7")
    with pytest.raises(NoConsentError, match=words):
        await case.do(STOP_B)
    case.client.delete.assert_not_awaited()


@pytest.mark.parametrize(
    ("case", "clients"),
    [
        (Case(1), ()),
        (Case(1, annotations=DISCONNECT), ("10.0.0.7",)),
        (Case(2, deletionTimestamp=NOW), ()),
        (Case(2, deletionTimestamp=NOW, annotations=SURE), ("10.0.0.7",)),
    ],
)
async def test_a_server_goes(case: Case, clients: tuple[str, ...]) -> None:
    case.ceph.grace(1, 0, a=0, b=0)
    case.ceph.clients(1, "b", *clients)
    await case.do(STOP_B)
    assert case.client.delete.await_args.args[1:] == ("rook-ceph", "rook-ceph-nfs-my-nfs-b")


async def test_a_server_that_has_a_pod_stays_in_the_database() -> None:
    case = Case(1, pods=1)
    case.ceph.grace(1, 0, a=0, b=0)
    with pytest.raises(RunningServerError, match="pod pod is there"):
        await case.do(LeaveGrace("b", "my-nfs.b"))
    selector = case.client.list.await_args.kwargs["label_selector"]
    assert selector == "app=rook-ceph-nfs,ceph_daemon_id=my-nfs-b,rook_cluster=rook-ceph"
    assert set(case.ceph.objects.stored[KEY].keys) == {"my-nfs.a", "my-nfs.b"}
    gone = Case(1)
    gone.ceph.grace(1, 0, a=0, b=0)
    await gone.do(LeaveGrace("b", "my-nfs.b"))
    assert set(gone.ceph.objects.stored[KEY].keys) == {"my-nfs.a"}


async def test_commands() -> None:
    case = Case(1)
    for action in (CreatePool(), EnableApplication(), EnableModule("nfs"), RemoveUser("client.x")):
        await case.do(action)
    assert case.ceph.asked == [
        ("osd pool create", {"pool": ".nfs", "pool_type": "replicated", "yes_i_really_mean_it": True}),
        ("osd pool application enable", {"pool": ".nfs", "app": "nfs", "yes_i_really_mean_it": True}),
        ("mgr module enable", {"module": "nfs"}),
        ("auth rm", {"entity": "client.x"}),
    ]
    await case.do(CreateConfiguration())
    await case.do(JoinGrace("my-nfs.a"))
    assert set(case.ceph.objects.stored) == {("my-nfs", "conf-nfs.my-nfs"), ("my-nfs", "grace")}
