"""What mons say of gateways, as mons of Ceph 20.2.4 said it; and what a group keeps in its object."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from controller.ceph.access import nvmeof
from controller.ceph.access.nvmeof import POOL, Gateway, Group, Subsystem, subsystems, told
from controller.ceph.access.rados import CephError
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.rados_objects import Objects, Stored

A, B = "rook-ceph-nvmeof-nvmeof-a", "rook-ceph-nvmeof-nvmeof-b"
NONE = {"epoch": 2, "pool": ".nvmeof", "group": "group-a", "features": "LB", "num gws": 0}
TWO = {
    **NONE,
    "num gws": 2,
    "Anagrp list": "[ 1 ]",
    "num-namespaces": 0,
    "Created Gateways:": [
        {
            "gw-id": A,
            "anagrp-id": 1,
            "admin state": "ENABLED",
            "num-namespaces": 0,
            "Availability": "CREATED",
            "num-listeners": 0,
            "ana states": " 1: STANDBY ,  2: STANDBY ",
        },
        {
            "gw-id": B,
            "anagrp-id": 2,
            "admin state": "ENABLED",
            "num-namespaces": 0,
            "Availability": "DELETING",
            "ana states": " 1: STANDBY ,  2: STANDBY ",
        },
    ],
}
NQN = "nqn.2016-06.io.spdk:cnode1"


class Ceph(FakeCeph):
    """Commands, and objects of the pool of gateways."""

    def __init__(self, answers: dict[str, Any] | None = None) -> None:
        super().__init__({"nvme-gw show": NONE, "nvme-gw listeners": {}, **(answers or {})})
        self.objects = Objects(POOL)

    async def use(self, function: Any, **_: Any) -> Any:
        return function(self.objects)


def namespace(image: str) -> bytes:
    """A namespace as ceph-nvmeof's source has it."""
    return json.dumps(
        {"subsystem_nqn": NQN, "nsid": 1, "rbd_pool_name": "replicapool", "rbd_image_name": image}
    ).encode()


async def test_gateways() -> None:
    ceph = Ceph({"nvme-gw show": TWO, "nvme-gw listeners": {**NONE, "Created listeners": {}}})
    found = await nvmeof.read(ceph, "group-a", pool=True)
    assert found == Group(
        gateways={
            A: Gateway(ana_group=1, availability="CREATED"),
            B: Gateway(ana_group=2, availability="DELETING"),
        }
    )
    assert [gateway.leaving for gateway in found.gateways.values()] == [False, True]
    assert ceph.asked[0] == ("nvme-gw show", {"pool": ".nvmeof", "group": "group-a"})


@pytest.mark.parametrize(
    ("states", "active"), [(" 1: ACTIVE ,  2: STANDBY ", True), (" 1: STANDBY ,  2: ACTIVE ", False), ("", False)]
)
def test_whether_a_gateway_has_its_own_group(states: str, active: bool) -> None:
    row = {"gw-id": A, "anagrp-id": 1, "Availability": "AVAILABLE", "num-listeners": 2, "ana states": states}
    found = nvmeof.gateways({"Created Gateways:": [row]})[A]
    assert found == Gateway(ana_group=1, availability="AVAILABLE", active=active, listeners=2)


async def test_who_listens() -> None:
    row = {"address_family": "ipv4", "address": "10.0.0.1", "svcid": "4420"}
    listeners = {"Created listeners": {NQN: [{**row, "gw_id": A}, {**row, "gw_id": B}], "nqn.2": [{**row, "gw_id": A}]}}
    found = await nvmeof.read(Ceph({"nvme-gw show": TWO, "nvme-gw listeners": listeners}), "g", pool=False)
    assert found.listening == {NQN: frozenset({A, B}), "nqn.2": frozenset({A})}


async def test_mons_of_an_earlier_release() -> None:
    unknown = CephError(errno.EINVAL, "command not known")
    assert await nvmeof.read(Ceph({"nvme-gw show": unknown}), "g", pool=True) == Group(known=False)
    found = await nvmeof.read(Ceph({"nvme-gw show": TWO, "nvme-gw listeners": unknown}), "g", pool=True)
    assert (found.known, found.listening) == (True, None)
    with pytest.raises(CephError, match="late"):
        await nvmeof.read(Ceph({"nvme-gw show": CephError(errno.ETIMEDOUT, "late")}), "g", pool=True)
    with pytest.raises(CephError, match="late"):
        await nvmeof.read(
            Ceph({"nvme-gw show": TWO, "nvme-gw listeners": CephError(errno.ETIMEDOUT, "late")}), "g", pool=True
        )


async def test_what_a_group_shows_is_read_whole() -> None:
    ceph = Ceph()
    assert (await nvmeof.read(ceph, "group-a", pool=True)).subsystems == {}
    hosts = {f"host_{NQN}_nqn.host{number:04}": b"{}" for number in range(3000)}
    state = {"omap_version": b"3", f"subsystem_{NQN}": b"{}", f"namespace_{NQN}_1": namespace("disk"), **hosts}
    ceph.objects.stored["", "nvmeof.group-a.state"] = Stored(b"", state)
    found = (await nvmeof.read(ceph, "group-a", pool=True)).subsystems[NQN]
    assert (found.images, len(found.hosts)) == (("replicapool/disk",), 3000)
    assert (await nvmeof.read(ceph, "group-b", pool=True)).subsystems == {}
    assert (await nvmeof.read(ceph, "group-a", pool=False)).subsystems == {}


def test_keys_of_a_group() -> None:
    state = {
        f"subsystem_{NQN}": b"{}",
        "subsystem_nqn.empty": b"{}",
        f"namespace_{NQN}_1": namespace("disk"),
        f"namespace_{NQN}_2": b"of another release",
        f"namespace_{NQN}_3": b"[]",
        f"host_{NQN}_*": b"{}",
        f"key-host_{NQN}_nqn.host": b"a secret",
        f"listener_{NQN}_host_TCP_10.0.0.1_4420": b"{}",
        f"qos_{NQN}_1": b"{}",
        f"ns-host_{NQN}_1_nqn.host": b"{}",
        "omap_version": b"7",
    }
    found = subsystems(state)
    assert found == {
        NQN: Subsystem(images=("replicapool/disk", "namespace 2", "namespace 3"), hosts=("*",)),
        "nqn.empty": Subsystem(),
    }
    assert told(found, 2) == (
        f"{NQN} (replicapool/disk, namespace 2 and 1 more; for any host)",
        "nqn.empty (no namespaces; for no host)",
    )


SHOWN = {NQN: Subsystem(images=("p/a",)), "nqn.2": Subsystem(images=("p/b",))}
ALL = {A: Gateway(availability="AVAILABLE"), B: Gateway(availability="AVAILABLE")}


@pytest.mark.parametrize(
    ("group", "leaving", "lost"),
    [
        (Group(gateways=ALL, listening={NQN: frozenset({A, B})}, subsystems=SHOWN), {B}, []),
        (Group(gateways=ALL, listening={NQN: frozenset({B})}, subsystems=SHOWN), {B}, [NQN]),
        (Group(gateways=ALL, listening={NQN: frozenset({A})}, subsystems=SHOWN), {B}, []),
        (Group(gateways=ALL, listening={NQN: frozenset({A, B})}, subsystems=SHOWN), {A, B}, [NQN, "nqn.2"]),
        (Group(gateways=ALL, listening=None, subsystems=SHOWN), {B}, [NQN, "nqn.2"]),
        (
            Group(gateways={**ALL, A: Gateway(availability="DELETING")}, listening={}, subsystems=SHOWN),
            {B},
            [NQN, "nqn.2"],
        ),
        (Group(gateways=ALL, listening={"nqn.new": frozenset({B})}), {B}, ["nqn.new"]),
        (Group(), {B}, []),
    ],
)
def test_what_hosts_lose(group: Group, leaving: set[str], lost: list[str]) -> None:
    assert set(group.lost_without(leaving)) == set(lost)


async def test_commands() -> None:
    ceph = Ceph()
    await nvmeof.create(ceph, A, "g")
    await nvmeof.delete(ceph, A, "g")
    assert ceph.asked == [
        ("nvme-gw create", {"id": A, "pool": ".nvmeof", "group": "g"}),
        ("nvme-gw delete", {"id": A, "pool": ".nvmeof", "group": "g"}),
    ]


@pytest.mark.parametrize(
    ("answer", "image"),
    [
        ("registry.example/nvmeof:1.5", "registry.example/nvmeof:1.5"),
        (None, ""),
        (CephError(errno.ENOENT, "unrecognized key"), ""),
    ],
)
async def test_image(answer: Any, image: str) -> None:
    ceph = Ceph({"config get": answer})
    assert await nvmeof.image(ceph) == image
    assert ceph.asked == [("config get", {"who": "mgr", "key": "mgr/cephadm/container_image_nvmeof"})]
    with pytest.raises(CephError):
        await nvmeof.image(Ceph({"config get": CephError(errno.ETIMEDOUT, "late")}))
