"""Every action that is planned for a store has somebody who carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest

from controller.ceph.access import users
from controller.ceph.objectstore.act import handlers
from controller.ceph.objectstore.analyze import analyze
from controller.ceph.objectstore.observe import StoreObservation
from controller.ceph.rgw.budget import Budget
from controller.framework import children
from controller.framework.jobs import Run
from controller.framework.kind import LetGo
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.objectstore.test_deletion import SHARED, closed, going, removed
from tests.unit.ceph.objectstores import a_context, a_store, configured, gateway, pool_states, running

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStore

THREE, ONE = a_store(gateway(instances=3)), a_store(gateway(instances=1))
NEW = StoreObservation(
    context=a_context(ONE),
    image="rook:1",
    place=running(ONE).place,
    pools=pool_states(ONE, *pool_states(ONE)),
    budget=Budget(osds=3),
)
SCENES: dict[str, tuple[CephObjectStore, StoreObservation]] = {
    "new": (ONE, NEW),
    "to be set up": (ONE, running(ONE, setup=Run())),
    "more": (THREE, running(THREE, made_for=ONE, config=configured(ONE))),
    "fewer": (ONE, running(ONE, made_for=THREE, config=configured(THREE))),
    "fewer that are gone": (ONE, running(ONE, made_for=THREE, deployments={})),
    "going": (going(), running(going())),
    "closed": (going(), closed(going())),
    "without a place": (going(), closed(going(), removal=removed(going()))),
    "sharing": (
        going(SHARED),
        closed(going(SHARED), removal=removed(going(SHARED)), pools={}, remains={"meta": True}),
    ),
}


@pytest.mark.parametrize("scene", SCENES)
def test_every_action_has_a_handler(scene: str) -> None:
    store, seen = SCENES[scene]
    nobody: Any = AsyncMock()
    ceph = cast("Any", FakeCeph())
    assert seen.context is not None
    known = {
        LetGo: nobody,
        **children.handlers(nobody, nobody, ()),
        **handlers(store, nobody, ceph, nobody, seen),
        **users.handlers(seen.context.owner, nobody, ceph),
    }
    planned = {type(step.action) for step in analyze(store, seen).steps if step.action is not None}

    assert planned
    assert planned <= set(known)
