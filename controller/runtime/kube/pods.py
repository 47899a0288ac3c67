"""Pods, and the templates of pods."""

from __future__ import annotations

import msgspec

from controller.apis.meta import ApiStruct, Condition, ObjectMeta
from controller.runtime.kube.meta import ResourceRequirements


class EnvVar(ApiStruct, frozen=True, kw_only=True):
    """An environment variable that has a plain value."""

    name: str = ""
    value: str = ""


class VolumeMount(ApiStruct, frozen=True, kw_only=True):
    """Where a container sees a volume."""

    name: str = ""
    mount_path: str = ""
    sub_path: str = ""
    read_only: bool = False


class ContainerPort(ApiStruct, frozen=True, kw_only=True):
    """A port that a container listens on."""

    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(ApiStruct, frozen=True, kw_only=True):
    """A container of a pod."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[EnvVar, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[VolumeMount, ...] = ()
    resources: ResourceRequirements = ResourceRequirements()


class ClaimVolume(ApiStruct, frozen=True, kw_only=True):
    """The claim behind a pod's volume."""

    claim_name: str = ""
    read_only: bool = False


class Volume(ApiStruct, frozen=True, kw_only=True):
    """A volume of a pod; only claims are told apart."""

    name: str = ""
    persistent_volume_claim: ClaimVolume | None = None


class Toleration(ApiStruct, frozen=True, kw_only=True):
    """A taint that a pod tolerates."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


class PodSpec(ApiStruct, frozen=True, kw_only=True):
    """What a pod runs, and where."""

    node_name: str = ""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)
    host_network: bool = False
    service_account_name: str = ""
    priority_class_name: str = ""
    restart_policy: str = ""
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    tolerations: tuple[Toleration, ...] = ()


class ContainerWaiting(ApiStruct, frozen=True, kw_only=True):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerRunning(ApiStruct, frozen=True, kw_only=True):
    """Since when a container runs."""

    started_at: str | None = None


class ContainerTerminated(ApiStruct, frozen=True, kw_only=True):
    """How a container ended. `message` is its termination message."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None


class ContainerState(ApiStruct, frozen=True, kw_only=True):
    """At most one of the three is set."""

    waiting: ContainerWaiting | None = None
    running: ContainerRunning | None = None
    terminated: ContainerTerminated | None = None


class ContainerStatus(ApiStruct, frozen=True, kw_only=True):
    """How a container is."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    image: str = ""
    image_id: str = msgspec.field(name="imageID", default="")
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(ApiStruct, frozen=True, kw_only=True):
    """How a pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    host_ip: str = msgspec.field(name="hostIP", default="")
    start_time: str | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(ApiStruct, frozen=True, kw_only=True):
    """A v1 Pod."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Whether the pod serves: its condition Ready is true and it is not being deleted."""
        conditions = self.status.conditions
        return self.metadata.deletion_timestamp is None and any(
            c.type == "Ready" and c.status == "True" for c in conditions
        )


class PodTemplate(ApiStruct, frozen=True, kw_only=True):
    """What pods of a workload are made from."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
