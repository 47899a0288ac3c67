"""When keyspaces were last repaired, and when a repair that is scheduled is overdue."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from controller.apis.cassandra import CassandraCluster, CassandraOperation, CassandraOperationSchedule
from controller.cassandra.access.answers import Keyspace
from controller.cassandra.cluster import kind
from controller.cassandra.cluster.act import CLUSTERS
from controller.cassandra.cluster.observe import Observation
from controller.cassandra.cluster.repairs import GC_GRACE, MARGIN, MOST, is_scheduled, overdue, repaired
from controller.cassandra.member.ring import Scene
from controller.framework.program import PROGRAM
from controller.framework.settings import Settings
from controller.framework.status import timestamp
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.cassandra.clock import seconds
from tests.unit.cassandra.life import NAME, crds, spec
from tests.unit.cassandra.talk import WorldMembers
from tests.unit.cassandra.world import NAMESPACE, World

NOW = 1_800_000_000.0
DAY = 86400.0


def ago(days: float) -> str:
    return timestamp(NOW - days * DAY)


def operation(*keyspaces: str, days: float, phase: str = "Succeeded", act: str = "repair") -> CassandraOperation:
    spec = {"cluster": "store", act: {"keyspaces": list(keyspaces)}}
    return msgspec.convert({"spec": spec, "status": {"phase": phase, "started": ago(days)}}, CassandraOperation)


def schedule(*keyspaces: str, act: str = "repair") -> CassandraOperationSchedule:
    wanted = {"cluster": "store", act: {"keyspaces": list(keyspaces)}}
    return msgspec.convert({"spec": {"schedule": "@weekly", "operation": wanted}}, CassandraOperationSchedule)


def seen(
    *operations: CassandraOperation,
    schedules: tuple[CassandraOperationSchedule, ...] = (),
    keyspaces: tuple[str, ...] | None = ("shop", "stock"),
) -> Observation:
    known = tuple(Keyspace(name, "SimpleStrategy", {"": 1}) for name in keyspaces) if keyspaces is not None else None
    return Observation(operations=operations, schedules=schedules, scene=Scene(now=NOW, keyspaces=known))


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ((operation(days=3),), {"shop": ago(3), "stock": ago(3)}),
        ((operation("shop", days=3), operation("shop", days=1)), {"shop": ago(1), "stock": ago(20)}),
        ((operation("shop", days=30),), {"shop": ago(20), "stock": ago(20)}),
        ((operation(days=3, phase="Failed"), operation(days=2, phase="Running")), {"shop": ago(20), "stock": ago(20)}),
        ((operation(days=3, act="cleanup"),), {"shop": ago(20), "stock": ago(20)}),
    ],
)
def test_the_last_repair_that_succeeded_counts(operations: tuple[CassandraOperation, ...], found: Any) -> None:
    before = {"shop": ago(20), "stock": ago(20), "gone": ago(1)}
    assert repaired(before, seen(*operations)) == found


def test_what_is_known_stays_while_no_member_tells_its_keyspaces() -> None:
    assert repaired({"shop": ago(1)}, seen(operation(days=0), keyspaces=None)) == {"shop": ago(1)}


def test_a_status_has_so_many_keyspaces_at_most() -> None:
    names = tuple(f"k{number:04}" for number in range(MOST + 50))
    assert len(repaired({}, seen(operation(days=1), keyspaces=names))) == MOST


def condition(repairs: dict[str, str], *schedules: CassandraOperationSchedule, age: float = 100) -> tuple[str, str]:
    cluster = msgspec.convert({"metadata": {"name": "store", "creationTimestamp": ago(age)}}, CassandraCluster)
    found = overdue(cluster, seen(schedules=schedules), repairs)
    return (found[0].status, found[0].message) if found else ("", "")


def test_a_repair_is_overdue_two_days_before_deleted_rows_may_come_back() -> None:
    days = (GC_GRACE - MARGIN) / DAY
    assert condition({"shop": ago(days), "stock": ago(1)}, schedule())[0] == "False"
    status, message = condition({"shop": ago(days + 0.1), "stock": ago(1)}, schedule())
    assert status == "True"
    assert f"shop ({ago(days + 0.1)})" in message
    assert "stock" not in message


def test_what_was_never_repaired_counts_from_the_cluster_s_birth() -> None:
    assert condition({}, schedule(), age=7)[0] == "False"
    assert condition({}, schedule(), age=9)[0] == "True"
    assert "shop (never), stock (never)" in condition({}, schedule(), age=9)[1]


def test_only_what_a_schedule_repairs_is_overdue() -> None:
    assert condition({}) == ("", "")
    assert condition({}, schedule(act="cleanup")) == ("", "")
    assert condition({"stock": ago(1)}, schedule("stock"))[0] == "False"
    assert not is_scheduled(seen(schedules=(schedule(act="cleanup"),)))
    assert is_scheduled(seen(schedules=(schedule("gone"),)))


@virtual_time
async def test_the_last_repair_of_each_keyspace_is_a_metric() -> None:
    server = ApiServer(namespaces=(NAMESPACE,))
    for crd in crds():
        server.install(crd)
    manager = new_manager(server, program=PROGRAM)
    settings = Settings(operator_namespace=NAMESPACE, operator_image="rook/operator:1")
    kind.register(manager, settings, WorldMembers(World(server)), clock=seconds)

    def metric(keyspace: str) -> float | None:
        labels = {"namespace": NAMESPACE, "cluster": NAME, "keyspace": keyspace}
        return manager.registry.get_sample_value("rook_cassandra_last_repair_timestamp_seconds", labels)

    async with running(manager):
        server.create(CLUSTERS, {"metadata": {"name": NAME, "namespace": NAMESPACE}, "spec": {**spec(a=1)}})
        server.patch(CLUSTERS, NAMESPACE, NAME, {"status": {"repairs": {"shop": ago(3)}}}, subresource="status")
        await until(lambda: metric("shop") == NOW - 3 * DAY, within=60)
        assert metric("stock") is None
        server.delete(CLUSTERS, NAMESPACE, NAME)
        await until(lambda: metric("shop") is None, within=600)
