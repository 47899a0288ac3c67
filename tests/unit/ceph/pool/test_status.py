"""Status of a CephBlockPool: conditions that tools can wait for, in upstream's words."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from controller.ceph.pool.analyze import analyze
from controller.ceph.pool.observe import BlockPoolObservation
from controller.ceph.pool.status import show
from controller.framework.kind import Look
from controller.framework.plan import APPLY, Outcome, StepResult, StepState, preview
from tests.unit.ceph.pools import NOW, pool, present, replicated, seen

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPool


class TestStatus:
    def shown(
        self, spec: CephBlockPool, observation: BlockPoolObservation, outcome: Outcome | None = None, **fields: Any
    ) -> Any:
        outcome = outcome if outcome is not None else preview(analyze(spec, observation))
        at = datetime.fromisoformat(fields.pop("now", NOW)).timestamp()
        look = Look(obj=spec, spec=fields.pop("written", {}), mode=APPLY, now=at)
        return show(look, observation, outcome)

    def conditions(self, shown: Any) -> dict[str, tuple[str, str, str]]:
        return {c.type: (c.status, c.reason, c.message) for c in shown.conditions}

    def test_ready(self) -> None:
        shown = self.shown(pool(), seen(present()))
        assert (shown.phase, shown.pool_id, shown.observed_generation) == ("Ready", 7, 3)
        assert shown.info == {"type": "Replicated", "failureDomain": "host"}
        assert {c.type: c.status for c in shown.conditions} == {
            "Progressing": "False",
            "Ready": "True",
            "FieldsHonoured": "True",
        }
        assert {c.observed_generation for c in shown.conditions} == {3}

    def test_nothing_changes_when_nothing_changed(self) -> None:
        first = self.shown(pool(), seen(present()))
        again = msgspec.structs.replace(pool(), status=first)
        assert self.shown(again, seen(present()), now="2027-01-15T09:00:00Z") == first

    def test_on_its_way(self) -> None:
        shown = self.shown(pool(), BlockPoolObservation(waits_for="CephCluster x to answer"))
        assert shown.phase == "Progressing"
        assert self.conditions(shown)["Ready"][2].endswith("waits for CephCluster x to answer")
        assert shown.plan.steps[0].waits_for == "CephCluster x to answer"

    def test_failure(self) -> None:
        (step,) = analyze(pool({"replicated": {"size": 2}}), seen(present())).steps
        failed = Outcome(results=(StepResult(step=step, state=StepState.FAILED, error="no such pool (ENOENT)"),))
        shown = self.shown(pool(), seen(present()), failed)
        assert shown.phase == "Failure"
        assert self.conditions(shown)["Ready"][1:] == (
            "ReconcileFailed",
            "SetSize pool replicapool: no such pool (ENOENT)",
        )

    def test_what_is_not_honoured(self) -> None:
        spec = replicated(failureDomain="zone")
        shown = self.shown(pool(spec), seen(present()), written={"enableRBDStats": True})
        condition = self.conditions(shown)["FieldsHonoured"]
        assert condition[:2] == ("False", "ImmutableFieldsDiffer")
        assert condition[2].startswith("the pool has failureDomain host, not zone")
        assert condition[2].endswith("not served by this operator: enableRBDStats")

    def test_blocked_deletion_names_what_blocks(self) -> None:
        observation = seen(present(), contents=("image csi-vol-1",))
        shown = self.shown(pool(deleting=True), observation)
        conditions = self.conditions(shown)
        assert shown.phase == "Deleting"
        assert conditions["DeletionIsBlocked"][:2] == ("True", "ObjectHasDependents")
        assert conditions["PoolDeletionIsBlocked"][:2] == ("True", "PoolNotEmpty")
        assert "image csi-vol-1" in conditions["PoolDeletionIsBlocked"][2]

    def test_blocked_deletion_names_what_uses_the_pool(self) -> None:
        observation = seen(present(), users=("CephBlockPoolRadosNamespace a",))
        conditions = self.conditions(self.shown(pool(deleting=True), observation))
        message = "The pool is used by CephBlockPoolRadosNamespace a: delete them"
        assert conditions["PoolDeletionIsBlocked"] == ("True", "PoolNotEmpty", message)

    def test_many_images_are_counted(self) -> None:
        observation = seen(present(), contents=tuple(f"image {n}" for n in range(30)))
        assert (
            self.conditions(self.shown(pool(deleting=True), observation))["DeletionIsBlocked"][2].count("image") == 10
        )

    def test_free_to_go(self) -> None:
        conditions = self.conditions(self.shown(pool(deleting=True), seen(present())))
        assert conditions["PoolDeletionIsBlocked"][:2] == ("False", "PoolEmpty")
