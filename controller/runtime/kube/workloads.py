"""What runs pods, and how many of them may be disturbed."""

from __future__ import annotations

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from controller.runtime.kube.meta import IntOrString, LabelSelector
from controller.runtime.kube.pods import PodTemplate


class WorkloadCondition(Condition, frozen=True, kw_only=True):
    """A condition of a Deployment or another workload."""

    last_update_time: str | None = None


class DeploymentSpec(ApiStruct, frozen=True, kw_only=True):
    """What a deployment runs."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    paused: bool = False


class DeploymentStatus(ApiStruct, frozen=True, kw_only=True):
    """How far a deployment is."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    conditions: tuple[WorkloadCondition, ...] = ()


class Deployment(ApiStruct, frozen=True, kw_only=True):
    """An apps/v1 Deployment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()

    @property
    def rolled_out(self) -> bool:
        """Whether all of its pods are of the current template and available, as `kubectl rollout status` means it."""
        status, wanted = self.status, self.spec.replicas
        return (
            status.observed_generation >= self.metadata.generation
            and status.updated_replicas >= wanted
            and status.replicas <= status.updated_replicas
            and status.available_replicas >= status.updated_replicas
        )


class DaemonSetSpec(ApiStruct, frozen=True, kw_only=True):
    """What a daemon set runs."""

    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class DaemonSetStatus(ApiStruct, frozen=True, kw_only=True):
    """How far a daemon set is."""

    observed_generation: int = 0
    desired_number_scheduled: int = 0
    current_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0
    number_unavailable: int = 0


class DaemonSet(ApiStruct, frozen=True, kw_only=True):
    """An apps/v1 DaemonSet."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DaemonSetSpec = DaemonSetSpec()
    status: DaemonSetStatus = DaemonSetStatus()


class StatefulSetSpec(ApiStruct, frozen=True, kw_only=True):
    """What a stateful set runs."""

    replicas: int = 1
    service_name: str = ""
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()


class StatefulSetStatus(ApiStruct, frozen=True, kw_only=True):
    """How far a stateful set is."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""


class StatefulSet(ApiStruct, frozen=True, kw_only=True):
    """An apps/v1 StatefulSet."""

    metadata: ObjectMeta = ObjectMeta()
    spec: StatefulSetSpec = StatefulSetSpec()
    status: StatefulSetStatus = StatefulSetStatus()


class JobSpec(ApiStruct, frozen=True, kw_only=True):
    """What a job runs."""

    parallelism: int = 1
    completions: int | None = None
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    suspend: bool = False
    template: PodTemplate = PodTemplate()


class JobStatus(ApiStruct, frozen=True, kw_only=True):
    """How far a job is."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: str | None = None
    completion_time: str | None = None
    conditions: tuple[Condition, ...] = ()


class Job(ApiStruct, frozen=True, kw_only=True):
    """A batch/v1 Job."""

    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def complete(self) -> bool:
        """Whether it has done its work."""
        return any(c.type == "Complete" and c.status == "True" for c in self.status.conditions)

    @property
    def failed(self) -> bool:
        """Whether it has given up."""
        return any(c.type == "Failed" and c.status == "True" for c in self.status.conditions)


class DisruptionBudgetSpec(ApiStruct, frozen=True, kw_only=True):
    """How many pods may be away at once."""

    min_available: IntOrString | None = None
    max_unavailable: IntOrString | None = None
    selector: LabelSelector = LabelSelector()


class DisruptionBudgetStatus(ApiStruct, frozen=True, kw_only=True):
    """How many pods may go now."""

    observed_generation: int = 0
    disruptions_allowed: int = 0
    current_healthy: int = 0
    desired_healthy: int = 0
    expected_pods: int = 0


class PodDisruptionBudget(ApiStruct, frozen=True, kw_only=True):
    """A policy/v1 PodDisruptionBudget."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DisruptionBudgetSpec = DisruptionBudgetSpec()
    status: DisruptionBudgetStatus = DisruptionBudgetStatus()
