"""CSI users: which are made, and what their Secrets hold."""

from __future__ import annotations

import base64
import errno
from typing import Any

import msgspec
import pytest

from controller.apis.ceph import CephCluster
from controller.ceph.access.rados import CephError
from controller.ceph.csi import users as csi
from controller.ceph.csi.users import CreateUser, analyze, handlers
from controller.ceph.pods import owner_of
from controller.ceph.releases import CephVersion, Running
from tests.unit.ceph.cases import live_objects

KEY = "AQB5cxJmAAAAABAAZ2V0LW9yLWNyZWF0ZQ=="


def cluster(**spec: Any) -> CephCluster:
    meta = {"name": "my-cluster", "namespace": "rook-ceph", "uid": "c1"}
    return msgspec.convert({"metadata": meta, "spec": spec}, CephCluster)


def test_users_of_a_new_cluster() -> None:
    steps = analyze(cluster(), {}, Running(), filesystems=False)
    assert [step.action for step in steps] == [
        CreateUser(
            "csi-rbd-provisioner",
            {"mgr": "allow rw", "mon": 'profile rbd, allow command "osd blocklist"', "osd": "profile rbd"},
        ),
        CreateUser("csi-rbd-node", {"mgr": "allow rw", "mon": "profile rbd", "osd": "profile rbd"}),
    ]


def test_settled() -> None:
    live = live_objects(*(csi.user_secret(owner_of(cluster()), name, KEY) for name in csi.RBD_CAPS))
    assert analyze(cluster(), live, Running(), filesystems=False) == ()


def test_a_user_gets_the_capabilities_of_a_later_operator() -> None:
    live = live_objects(*(csi.user_secret(owner_of(cluster()), name, KEY) for name in csi.RBD_CAPS))
    del live["Secret", "rook-csi-rbd-node"]["metadata"]["annotations"]
    (step,) = analyze(cluster(), live, Running(), filesystems=False)
    assert (step.subject, step.reason) == ("user csi-rbd-node", "Secret rook-csi-rbd-node is of other capabilities")


@pytest.mark.parametrize(
    ("oldest", "key_type"), [(None, ""), ((18, 2, 7), ""), ((20, 2, 3), ""), ((19, 2, 6), "aes"), ((20, 2, 4), "aes")]
)
def test_keys_of_users_are_of_a_type_that_old_clients_know(oldest: tuple[int, int, int] | None, key_type: str) -> None:
    running = Running(oldest and CephVersion(*oldest), None)
    actions = [step.action for step in analyze(cluster(), {}, running, filesystems=False)]
    assert [action.key_type for action in actions if isinstance(action, CreateUser)] == [key_type, key_type]


def test_users_of_file_systems_come_with_the_first_of_them() -> None:
    live = live_objects(*(csi.user_secret(owner_of(cluster()), name, KEY) for name in csi.RBD_CAPS))
    steps = analyze(cluster(), live, Running(), filesystems=True)
    assert [step.action for step in steps] == [
        CreateUser(
            "csi-cephfs-provisioner",
            {
                "mds": "allow *",
                "mgr": "allow rw",
                "mon": 'allow r, allow command "osd blocklist"',
                "osd": "allow rw tag cephfs metadata=*",
            },
        ),
        CreateUser(
            "csi-cephfs-node",
            {
                "mds": "allow rw",
                "mgr": "allow rw",
                "mon": "allow r",
                "osd": "allow rwx tag cephfs metadata=*, allow rw tag cephfs data=*",
            },
        ),
    ]
    secrets = live_objects(*(csi.user_secret(owner_of(cluster()), name, KEY) for name in csi.CEPHFS_CAPS))
    assert analyze(cluster(), {**live, **secrets}, Running(), filesystems=True) == ()
    found = secrets["Secret", "rook-csi-cephfs-node"]["data"]
    assert {field: base64.b64decode(value).decode() for field, value in found.items()} == {
        "adminID": "csi-cephfs-node",
        "adminKey": KEY,
        "userID": "csi-cephfs-node",
        "userKey": KEY,
    }


def test_not_wanted() -> None:
    assert analyze(cluster(csi={"skipUserCreation": True}), {}, Running(), filesystems=True) == ()


class FakeCeph:
    """Answers for one user, which may exist with other capabilities."""

    def __init__(self, *, other_caps: bool = False, error: int = 0) -> None:
        self.other_caps = other_caps
        self.error = error
        self.asked: list[str] = []

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        assert args["entity"] == "client.csi-rbd-node"
        self.asked.append(prefix)
        if self.error:
            raise CephError(self.error, "no")
        if prefix == "auth get-or-create" and self.other_caps:
            raise CephError(errno.EINVAL, "key for client.csi-rbd-node exists but cap mgr does not match")
        if prefix == "auth caps":
            assert args["caps"] == ["mgr", "allow rw", "mon", "profile rbd", "osd", "profile rbd"]
            return None
        return [{"entity": args["entity"], "key": KEY}]

    async def mon_input(self, prefix: str, data: bytes, /, **args: Any) -> Any:
        raise AssertionError(prefix)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        raise AssertionError(prefix)


class RecordingApplier:
    """Keeps what is applied."""

    def __init__(self) -> None:
        self.applied: list[dict[str, Any]] = []

    async def apply(self, obj: dict[str, Any]) -> bool:
        self.applied.append(obj)
        return True


@pytest.mark.parametrize(
    ("ceph", "asked"),
    [
        (FakeCeph(), ["auth get-or-create"]),
        (FakeCeph(other_caps=True), ["auth get-or-create", "auth caps", "auth get"]),
    ],
)
async def test_user_and_secret(ceph: FakeCeph, asked: list[str]) -> None:
    applier: Any = RecordingApplier()
    action = CreateUser("csi-rbd-node", csi.RBD_CAPS["csi-rbd-node"])
    await handlers(owner_of(cluster()), ceph, applier)[CreateUser](action)
    (secret,) = applier.applied
    assert ceph.asked == asked
    assert (secret["metadata"]["name"], secret["type"]) == ("rook-csi-rbd-node", "kubernetes.io/rook")
    data = {field: base64.b64decode(value).decode() for field, value in secret["data"].items()}
    assert data == {"userID": "csi-rbd-node", "userKey": KEY}
    assert KEY not in repr(action)


async def test_other_errors_are_not_hidden() -> None:
    ceph, applier = FakeCeph(error=errno.EACCES), RecordingApplier()
    create = handlers(owner_of(cluster()), ceph, applier)[CreateUser]  # type: ignore[arg-type]
    with pytest.raises(CephError):
        await create(CreateUser("csi-rbd-node", csi.RBD_CAPS["csi-rbd-node"]))
    assert applier.applied == []
