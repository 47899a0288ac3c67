"""Zone groups: plans by table, what uses them, and the status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CEPH_OBJECT_REALM, CEPH_OBJECT_ZONE_GROUP, CephObjectRealm, CephObjectZoneGroup
from controller.ceph.multisite.ground import Ground, not_ready
from controller.ceph.multisite.work import REMOVE_ZONE_GROUP, ZONE_GROUP, work_of
from controller.ceph.zonegroup.act import ZONE_GROUPS
from controller.ceph.zonegroup.analyze import analyze
from controller.ceph.zonegroup.kind import of_realm
from controller.ceph.zonegroup.observe import ZoneGroupObservation
from controller.ceph.zonegroup.spec import place_of
from controller.ceph.zonegroup.status import show
from controller.framework.kind import Look
from controller.framework.plan import APPLY, preview
from controller.runtime import resource_of
from tests.unit.ceph.multisite.scene import a_ground, a_group, a_realm, a_run, told

if TYPE_CHECKING:
    from controller.framework.jobs import Run
    from informers import Client


def seen(run: Run | None = None, **fields: Any) -> ZoneGroupObservation:
    own = {name: fields.pop(name) for name in ("users", "waits_for") if name in fields}
    return ZoneGroupObservation(ground=a_ground(CEPH_OBJECT_ZONE_GROUP, "zg", run=run, **fields), **own)


def work(what: str = ZONE_GROUP) -> Any:
    context = seen().ground.context
    assert context is not None
    return work_of(context, what, place_of(a_group()), {})


def plan(group: CephObjectZoneGroup, found: ZoneGroupObservation) -> list[str]:
    return told(analyze(group, found, "rook:1"))


class TestPlan:
    def test_is_made_once_its_realm_is_there(self) -> None:
        assert plan(a_group(), seen(exists=False)) == ["RunJob"]
        assert plan(a_group(), seen(exists=False, waits_for="CephObjectRealm r to be ready")) == [
            "CephObjectRealm r to be ready"
        ]
        assert plan(a_group(), seen(a_run(work()))) == []
        assert plan(a_group(), seen(a_run(work()), exists=False)) == ["RunJob"]

    def test_a_spec_without_a_realm(self) -> None:
        group = msgspec.structs.replace(a_group(), spec=type(a_group().spec)())
        assert plan(group, seen()) == ["realm is empty: expected the name of a CephObjectRealm"]

    def test_deletion(self) -> None:
        going = a_group(deleting=True)
        assert plan(going, seen(users=("CephObjectZone a",))) == ["CephObjectZone a to be deleted"]
        assert plan(going, seen(a_run(work()))) == ["RunJob"]
        gone = ["RemoveUser", "LetGo"]
        assert plan(going, seen(exists=False)) == gone
        # Zones of other clusters go on with it: it is let go, and stays in Ceph.
        assert plan(going, seen(a_run(work(REMOVE_ZONE_GROUP)))) == gone
        assert plan(going, ZoneGroupObservation(ground=Ground(cluster_gone=True))) == ["LetGo"]


def test_the_status_tells_whether_it_is_the_master() -> None:
    group, found = a_group(), seen(a_run(work(), result='{"id": "g-1", "isMaster": true}'))
    outcome = preview(analyze(group, found, "rook:1"))
    status = show(Look(obj=group, spec={}, mode=APPLY, now=0.0), found, outcome)
    assert (status.phase, status.id, status.is_master) == ("Ready", "g-1", True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, "CephObjectRealm r in namespace ns"), ({}, "CephObjectRealm r to be ready"), ({"id": "x"}, "")],
)
def test_what_has_been_made_once_is_there(status: dict[str, str] | None, expected: str) -> None:
    realm = a_realm(status=status) if status is not None else None
    cache: Any = SimpleNamespace(resource=resource_of(CEPH_OBJECT_REALM), get=lambda *_: realm)
    assert not_ready(cache, "ns", "r") == expected


async def test_zone_groups_use_the_realm_that_they_name() -> None:
    listed = [{"metadata": {"name": "zg"}, "spec": {"realm": "r"}}, {"metadata": {"name": "x"}, "spec": {}}]
    client = cast("Client", SimpleNamespace(list=AsyncMock(return_value=listed)))
    known = [msgspec.convert(each, CephObjectZoneGroup) for each in listed]
    cache = SimpleNamespace(resource=ZONE_GROUPS, list=lambda _: known)
    informers: Any = SimpleNamespace(informer=lambda *_: cache)
    realm: CephObjectRealm = a_realm()
    dependent = of_realm(informers)
    assert list(dependent.known(realm)) == list(await dependent.asked(client, realm)) == ["zg"]
