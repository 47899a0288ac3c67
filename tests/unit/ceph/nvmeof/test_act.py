"""What is asked anew at the moment of an act, and the commands."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.ceph.access.nvmeof import POOL
from controller.ceph.nvmeof import act
from controller.ceph.nvmeof.act import JoinGroup, LeaveGroup, RemoveUser, RunningGatewayError, StopGateway
from controller.framework.consent import NoConsentError
from tests.unit.ceph.nvmeof.test_mons import Ceph
from tests.unit.ceph.nvmeof_gateways import DISCONNECT, GROUP, NOW, NQN, PLAIN, SURE, a_gateway
from tests.unit.ceph.rados_objects import Stored

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client

A, B = "rook-ceph-nvmeof-my-gw-a", "rook-ceph-nvmeof-my-gw-b"
STOP_B = StopGateway("b", B, "u")


class Case:
    """A CephNVMeOFGateway that the API server has so, and gateways a and b in the mons' map.

    Args:
        instances: The gateways that it asks for.
        listening: The letters of those that listen for the one subsystem.
        pods: Pods of the gateway that is asked about.
        found: Fields of its metadata.
    """

    def __init__(self, instances: int, listening: str = "b", *, pods: int = 0, **found: Any) -> None:
        rows = [
            {"gw-id": f"rook-ceph-nvmeof-my-gw-{letter}", "anagrp-id": number, "Availability": "AVAILABLE"}
            for number, letter in enumerate("ab", 1)
        ]
        listeners = [{"gw_id": f"rook-ceph-nvmeof-my-gw-{letter}"} for letter in listening]
        self.ceph = Ceph(
            {
                "nvme-gw show": {"Created Gateways:": rows},
                "nvme-gw listeners": {"Created listeners": {NQN: listeners}},
                "osd pool ls": [POOL, "replicapool"],
            }
        )
        self.ceph.objects.stored["", f"nvmeof.{GROUP}.state"] = Stored(b"", {f"subsystem_{NQN}": b"{}"})
        meta = {"name": "my-gw", "namespace": "rook-ceph", "uid": "g1", **found}
        self.client = SimpleNamespace(
            get=AsyncMock(return_value={"metadata": meta, "spec": {**PLAIN, "instances": instances}}),
            list=AsyncMock(return_value=[{"metadata": {"name": "pod"}}] * pods),
            delete=AsyncMock(),
        )
        self.handlers = act.handlers(a_gateway(), GROUP, cast("Client", self.client), cast("RadosCluster", self.ceph))

    async def do(self, action: object) -> None:
        await self.handlers[type(action)](action)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (Case(2), "gateway b is wanted by now"),
        (Case(1), f"hosts would lose {NQN} by now: gateway b stays"),
        (Case(1, annotations=SURE), "hosts would lose"),
        (Case(2, "ab", deletionTimestamp=NOW, annotations=DISCONNECT), "hosts would lose"),
        (Case(1, uid="another", annotations=DISCONNECT), "it is another"),
    ],
)
async def test_a_gateway_stays(case: Case, words: str) -> None:
    with pytest.raises(NoConsentError, match=words):
        await case.do(STOP_B)
    case.client.delete.assert_not_awaited()


@pytest.mark.parametrize(
    "case",
    [
        Case(1, "ab"),
        Case(1, "a"),
        Case(1, annotations=DISCONNECT),
        Case(2, "ab", deletionTimestamp=NOW, annotations=SURE),
    ],
)
async def test_a_gateway_goes(case: Case) -> None:
    await case.do(STOP_B)
    assert case.client.delete.await_args.args[1:] == ("rook-ceph", B)
    assert case.client.delete.await_args.kwargs == {"uid": "u"}


async def test_a_gateway_that_has_a_pod_stays_in_the_map() -> None:
    case = Case(1, pods=1)
    with pytest.raises(RunningGatewayError, match="pod pod is there"):
        await case.do(LeaveGroup("b"))
    selector = case.client.list.await_args.kwargs["label_selector"]
    assert selector == "app=rook-ceph-nvmeof,ceph_daemon_id=my-gw-b,rook_cluster=rook-ceph"
    assert case.ceph.asked == []


async def test_commands() -> None:
    case = Case(1)
    for action in (JoinGroup(A), LeaveGroup("b"), RemoveUser("client.x")):
        await case.do(action)
    assert case.ceph.asked == [
        ("nvme-gw create", {"id": A, "pool": POOL, "group": GROUP}),
        ("nvme-gw delete", {"id": B, "pool": POOL, "group": GROUP}),
        ("auth rm", {"entity": "client.x"}),
    ]
