"""Which changes of a storage system's objects can matter to it: kubelets report much more, and often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.framework.pods import trouble

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.runtime.kube import Deployment, HasMetadata, Job, PersistentVolumeClaim, Pod, PodDisruptionBudget
    from controller.runtime.mapping import Predicate
    from informers import Delta


def changed[T](view: Callable[[T], object]) -> Predicate[T]:
    """Whether an object came, went, or differs in what `view` gives of it."""
    return lambda delta: _differs(delta, view)


def appeared_or_went(delta: Delta[Any]) -> bool:
    """Whether an object came or went."""
    return delta.old is None or delta.new is None


def pod_changed(delta: Delta[Pod]) -> bool:
    """Whether a pod came, went, began or ceased to serve, was restarted, or has other trouble than before."""
    return _differs(delta, _of_pod)


def deployment_changed(delta: Delta[Deployment]) -> bool:
    """Whether a Deployment came, went, was edited, or began or ceased to be rolled out."""
    return _differs(delta, _of_deployment)


def job_changed(delta: Delta[Job]) -> bool:
    """Whether a Job came, went, was edited, or ended."""
    return _differs(delta, lambda job: (_edited(job), job.complete, job.failed))


def claim_changed(delta: Delta[PersistentVolumeClaim]) -> bool:
    """Whether a claim came, went, was edited, bound or grown."""
    return _differs(delta, lambda claim: (_edited(claim), claim.spec, claim.status))


def budget_changed(delta: Delta[PodDisruptionBudget]) -> bool:
    """Whether a PodDisruptionBudget came, went, was edited, or allows another number of disruptions."""
    return _differs(delta, lambda budget: (_edited(budget), budget.spec, budget.status.disruptions_allowed))


def _differs[T](delta: Delta[T], view: Callable[[T], object]) -> bool:
    old, new = delta.old, delta.new
    return old is None or new is None or view(old) != view(new)


def _edited(obj: HasMetadata) -> tuple[object, ...]:
    meta = obj.metadata
    return meta.uid, meta.generation, meta.labels, meta.annotations, meta.deletion_timestamp, meta.owner_references


def _of_pod(pod: Pod) -> tuple[object, ...]:
    status = pod.status
    containers = [
        (c.name, c.restart_count, c.state.running is not None, c.state.terminated is not None)
        for c in (*status.init_container_statuses, *status.container_statuses)
    ]
    return (
        pod.metadata.uid,
        pod.metadata.labels,
        pod.metadata.deletion_timestamp,
        pod.spec.node_name,
        status.phase,
        pod.ready,
        containers,
        trouble((pod,)),
    )


def _of_deployment(deployment: Deployment) -> tuple[object, ...]:
    conditions = [(c.type, c.status, c.reason) for c in deployment.status.conditions]
    return _edited(deployment), deployment.rolled_out, conditions
