"""Disruption budgets: how many pods of a group a drain of nodes may take away at once.

The system knows how many: `spare` of a group that decides by majority; one of two that stand by for each other; all of
one failure domain, of a group that spreads copies over failure domains, by a budget of none for each other domain (a
pod may have one budget only: else it is not evicted at all). A budget may change with the system's state: it allows
none while copies are missing, or while members come or go.

A system's own way to be patient with what is drained (Ceph's `noout`) is a step of that system.
Rules: https://kubernetes.io/docs/tasks/run-application/configure-pdb/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.framework.children import delete, ensure
from controller.runtime.kube import PDB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.framework.children import Live
    from controller.framework.plan import Step
    from controller.framework.workload import Owner
    from informers import JsonObject


def spare(members: int) -> int:
    """How many members of a group that decides by majority may be drained at once: a majority stays; two at most."""
    return 2 if members >= 5 else int(members >= 3)


def budget(
    owner: Owner,
    name: str,
    labels: Mapping[str, str],
    selector: JsonObject,
    *,
    unready_may_go: bool = True,
    **allowed: int,
) -> JsonObject:
    """A budget.

    Args:
        owner: Whose pods they are.
        name: Its name.
        labels: Its labels.
        selector: Of the pods.
        unready_may_go: Whether a pod that is not ready is evicted in any case: it serves nobody, so its node can be
            drained. Not where it does work that should not be broken off before it is ready.
        allowed: `maxUnavailable`, or `minAvailable`: only the latter counts a pod as lost that somebody has stopped.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": PDB.kind,
        "metadata": owner.metadata(name, labels),
        "spec": {
            **allowed,
            "selector": selector,
            "unhealthyPodEvictionPolicy": "AlwaysAllow" if unready_may_go else "IfHealthyBudget",
        },
    }


def keep(
    live: Live, wanted: Iterable[JsonObject], *, owner: Owner, app: str, subject: str, lane: str, why_gone: str
) -> Iterator[Step]:
    """The steps by which an owner's pods with a label `app` have just the budgets that are wanted. Pure.

    All that are wanted are there before another one goes: too strict for a moment, never too lax.

    Args:
        live: The objects of the namespace.
        wanted: The budgets, with the label `app`.
        owner: Whose they are.
        app: The value of that label.
        subject: As `Step.subject`.
        lane: As `Step.lane`.
        why_gone: Why another one is not wanted any more.
    """
    by_name = {obj["metadata"]["name"]: obj for obj in wanted}
    for _, obj in sorted(by_name.items()):
        yield from ensure(live, obj, subject=subject, lane=lane)
    for name in sorted(name for kind, name in live if kind == PDB.kind and name not in by_name):
        found = live[PDB.kind, name]
        meta = found["metadata"]
        is_ours = meta.get("labels", {}).get("app") == app and any(
            reference["uid"] == owner.uid for reference in meta.get("ownerReferences", ())
        )
        if is_ours and meta.get("deletionTimestamp") is None:
            yield delete(PDB, found, subject=subject, reason=why_gone, lane=lane)
