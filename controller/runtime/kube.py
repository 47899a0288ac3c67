"""The built-in kinds that controllers read: for each its `Resource` and one typed view with the fields in use.

A view is decoded from an object's bytes when it is asked for, and fields that it does not name cost nothing. Fields
have the names and meaning of the Kubernetes API reference; quantities and times stay text. There is one view per kind,
shared by all controllers: add a field here, never a second view.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from controller.apis.meta import ApiStruct, Kind
from controller.apis.meta import Condition as Condition  # re-exported: it belongs to the views
from controller.apis.meta import ObjectMeta as ObjectMeta
from controller.apis.meta import OwnerReference as OwnerReference
from informers import Resource

type IntOrString = int | str

POD = Resource(group="", version="v1", kind="Pod", plural="pods")
NODE = Resource(group="", version="v1", kind="Node", plural="nodes", namespaced=False)
NAMESPACE = Resource(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
SERVICE = Resource(group="", version="v1", kind="Service", plural="services")
SERVICE_ACCOUNT = Resource(group="", version="v1", kind="ServiceAccount", plural="serviceaccounts")
CONFIG_MAP = Resource(group="", version="v1", kind="ConfigMap", plural="configmaps")
SECRET = Resource(group="", version="v1", kind="Secret", plural="secrets")
PVC = Resource(group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims")
PV = Resource(group="", version="v1", kind="PersistentVolume", plural="persistentvolumes", namespaced=False)
DEPLOYMENT = Resource(group="apps", version="v1", kind="Deployment", plural="deployments")
DAEMONSET = Resource(group="apps", version="v1", kind="DaemonSet", plural="daemonsets")
STATEFULSET = Resource(group="apps", version="v1", kind="StatefulSet", plural="statefulsets")
JOB = Resource(group="batch", version="v1", kind="Job", plural="jobs")
PDB = Resource(group="policy", version="v1", kind="PodDisruptionBudget", plural="poddisruptionbudgets")
LEASE = Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
EVENT = Resource(group="events.k8s.io", version="v1", kind="Event", plural="events")
STORAGE_CLASS = Resource(
    group="storage.k8s.io", version="v1", kind="StorageClass", plural="storageclasses", namespaced=False
)
VOLUME_ATTACHMENT = Resource(
    group="storage.k8s.io", version="v1", kind="VolumeAttachment", plural="volumeattachments", namespaced=False
)
CSI_DRIVER = Resource(group="storage.k8s.io", version="v1", kind="CSIDriver", plural="csidrivers", namespaced=False)
CSI_NODE = Resource(group="storage.k8s.io", version="v1", kind="CSINode", plural="csinodes", namespaced=False)

BUILT_IN = {
    (resource.api_version, resource.kind): resource
    for resource in (
        POD,
        NODE,
        NAMESPACE,
        SERVICE,
        SERVICE_ACCOUNT,
        CONFIG_MAP,
        SECRET,
        PVC,
        PV,
        DEPLOYMENT,
        DAEMONSET,
        STATEFULSET,
        JOB,
        PDB,
        LEASE,
        EVENT,
        STORAGE_CLASS,
        VOLUME_ATTACHMENT,
        CSI_DRIVER,
        CSI_NODE,
    )
}
"""By (apiVersion, kind): what an object's own type says, to where its kind is served."""


def resource_of(kind: Kind) -> Resource:
    """Where the API server serves one of our own kinds."""
    return Resource(
        group=kind.group, version=kind.version, kind=kind.kind, plural=kind.plural, namespaced=kind.namespaced
    )


class HasMetadata(Protocol):
    """Anything that has object metadata: every view, and every kind of `controller.apis`."""

    @property
    def metadata(self) -> ObjectMeta:
        """The object's metadata."""
        ...


class PartialObject(ApiStruct, frozen=True, kw_only=True):
    """The metadata of an object of any kind: for informers with `metadata_only`."""

    metadata: ObjectMeta = ObjectMeta()


class LabelSelector(ApiStruct, frozen=True, kw_only=True):
    """Selects objects by their labels; only equality is read here."""

    match_labels: dict[str, str] = msgspec.field(default_factory=dict)


class LocalReference(ApiStruct, frozen=True, kw_only=True):
    """Names an object; the namespace is empty for one in the same namespace, or for one without."""

    name: str = ""
    namespace: str = ""


class ObjectReference(ApiStruct, frozen=True, kw_only=True):
    """Names any object."""

    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""


class ResourceRequirements(ApiStruct, frozen=True, kw_only=True):
    """Requests and limits, as quantities."""

    requests: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    limits: dict[str, IntOrString] = msgspec.field(default_factory=dict)


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


class Taint(ApiStruct, frozen=True, kw_only=True):
    """Keeps pods off a node."""

    key: str = ""
    value: str = ""
    effect: str = ""


class NodeSpec(ApiStruct, frozen=True, kw_only=True):
    """What is wanted of a node."""

    unschedulable: bool = False
    taints: tuple[Taint, ...] = ()
    provider_id: str = msgspec.field(name="providerID", default="")


class NodeAddress(ApiStruct, frozen=True, kw_only=True):
    """An address of a node, and its type: InternalIP, Hostname, …"""

    type: str = ""
    address: str = ""


class NodeSystemInfo(ApiStruct, frozen=True, kw_only=True):
    """What a node runs."""

    architecture: str = ""
    boot_id: str = msgspec.field(name="bootID", default="")
    kernel_version: str = ""
    kubelet_version: str = ""
    operating_system: str = ""
    os_image: str = ""
    container_runtime_version: str = ""


class AttachedVolume(ApiStruct, frozen=True, kw_only=True):
    """A volume that is attached to a node."""

    name: str = ""
    device_path: str = ""


class NodeStatus(ApiStruct, frozen=True, kw_only=True):
    """How a node is."""

    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocatable: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()
    addresses: tuple[NodeAddress, ...] = ()
    node_info: NodeSystemInfo = NodeSystemInfo()
    volumes_in_use: tuple[str, ...] = ()
    volumes_attached: tuple[AttachedVolume, ...] = ()


class Node(ApiStruct, frozen=True, kw_only=True):
    """A v1 Node."""

    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def ready(self) -> bool:
        """Whether its kubelet says that it takes pods."""
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)


class NamespaceStatus(ApiStruct, frozen=True, kw_only=True):
    """How a namespace is: Active or Terminating."""

    phase: str = ""


class Namespace(ApiStruct, frozen=True, kw_only=True):
    """A v1 Namespace."""

    metadata: ObjectMeta = ObjectMeta()
    status: NamespaceStatus = NamespaceStatus()


class ServicePort(ApiStruct, frozen=True, kw_only=True):
    """A port that a service offers."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: IntOrString = 0
    node_port: int = 0


class ServiceSpec(ApiStruct, frozen=True, kw_only=True):
    """What a service offers."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    selector: dict[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False


class Service(ApiStruct, frozen=True, kw_only=True):
    """A v1 Service."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()


class ServiceAccount(ApiStruct, frozen=True, kw_only=True):
    """A v1 ServiceAccount."""

    metadata: ObjectMeta = ObjectMeta()


class ConfigMap(ApiStruct, frozen=True, kw_only=True):
    """A v1 ConfigMap; `binary_data` is decoded from base64."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = msgspec.field(default_factory=dict)
    binary_data: dict[str, bytes] = msgspec.field(default_factory=dict)
    immutable: bool = False


class Secret(ApiStruct, frozen=True, kw_only=True):
    """A v1 Secret; `data` is decoded from base64. Its representation as text shows the keys only."""

    metadata: ObjectMeta = ObjectMeta()
    type: str = ""
    data: dict[str, bytes] = msgspec.field(default_factory=dict)
    immutable: bool = False

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name}, type={self.type!r}, keys={sorted(self.data)})"


class ClaimSpec(ApiStruct, frozen=True, kw_only=True):
    """What a claim asks for."""

    access_modes: tuple[str, ...] = ()
    storage_class_name: str | None = None
    volume_name: str = ""
    volume_mode: str = "Filesystem"
    resources: ResourceRequirements = ResourceRequirements()
    data_source: ObjectReference | None = None
    data_source_ref: ObjectReference | None = None


class ClaimStatus(ApiStruct, frozen=True, kw_only=True):
    """What a claim has got."""

    phase: str = ""
    access_modes: tuple[str, ...] = ()
    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocated_resources: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    allocated_resource_statuses: dict[str, str] = msgspec.field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


class PersistentVolumeClaim(ApiStruct, frozen=True, kw_only=True):
    """A v1 PersistentVolumeClaim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ClaimSpec = ClaimSpec()
    status: ClaimStatus = ClaimStatus()


class CsiVolumeSource(ApiStruct, frozen=True, kw_only=True):
    """A volume that a CSI driver serves."""

    driver: str = ""
    volume_handle: str = ""
    read_only: bool = False
    fs_type: str = ""
    volume_attributes: dict[str, str] = msgspec.field(default_factory=dict)
    node_stage_secret_ref: LocalReference | None = None
    node_publish_secret_ref: LocalReference | None = None
    controller_publish_secret_ref: LocalReference | None = None
    controller_expand_secret_ref: LocalReference | None = None
    node_expand_secret_ref: LocalReference | None = None


class VolumeSpec(ApiStruct, frozen=True, kw_only=True):
    """What a persistent volume is."""

    capacity: dict[str, IntOrString] = msgspec.field(default_factory=dict)
    access_modes: tuple[str, ...] = ()
    persistent_volume_reclaim_policy: str = ""
    storage_class_name: str = ""
    volume_mode: str = "Filesystem"
    mount_options: tuple[str, ...] = ()
    claim_ref: ObjectReference | None = None
    csi: CsiVolumeSource | None = None


class VolumeStatus(ApiStruct, frozen=True, kw_only=True):
    """How a persistent volume is."""

    phase: str = ""
    reason: str = ""
    message: str = ""


class PersistentVolume(ApiStruct, frozen=True, kw_only=True):
    """A v1 PersistentVolume."""

    metadata: ObjectMeta = ObjectMeta()
    spec: VolumeSpec = VolumeSpec()
    status: VolumeStatus = VolumeStatus()


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


class LeaseSpec(ApiStruct, frozen=True, kw_only=True):
    """Who holds a lease, and for how many seconds after each renewal. A lease that was let go has no holder."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(ApiStruct, frozen=True, kw_only=True):
    """A coordination.k8s.io/v1 Lease."""

    metadata: ObjectMeta = ObjectMeta()
    spec: LeaseSpec = LeaseSpec()


class EventSeries(ApiStruct, frozen=True, kw_only=True):
    """How often an event happened again."""

    count: int = 0
    last_observed_time: str = ""


class Event(ApiStruct, frozen=True, kw_only=True):
    """An events.k8s.io/v1 Event."""

    metadata: ObjectMeta = ObjectMeta()
    event_time: str | None = None
    reporting_controller: str = ""
    reporting_instance: str = ""
    regarding: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    action: str = ""
    note: str = ""
    series: EventSeries | None = None
    deprecated_last_timestamp: str | None = None


class TopologyExpression(ApiStruct, frozen=True, kw_only=True):
    """A label of nodes, and the values of which it has to have one."""

    key: str = ""
    values: tuple[str, ...] = ()


class TopologyTerm(ApiStruct, frozen=True, kw_only=True):
    """Labels of nodes, all of which have to be as they say."""

    match_label_expressions: tuple[TopologyExpression, ...] = ()


class StorageClass(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 StorageClass."""

    metadata: ObjectMeta = ObjectMeta()
    provisioner: str = ""
    parameters: dict[str, str] = msgspec.field(default_factory=dict)
    reclaim_policy: str = "Delete"
    mount_options: tuple[str, ...] = ()
    allow_volume_expansion: bool = False
    volume_binding_mode: str = "Immediate"
    allowed_topologies: tuple[TopologyTerm, ...] = ()


class AttachmentSource(ApiStruct, frozen=True, kw_only=True):
    """The volume to attach."""

    persistent_volume_name: str | None = None


class AttachmentSpec(ApiStruct, frozen=True, kw_only=True):
    """What to attach to which node, and by whom."""

    attacher: str = ""
    node_name: str = ""
    source: AttachmentSource = AttachmentSource()


class AttachmentError(ApiStruct, frozen=True, kw_only=True):
    """Why an attach or detach failed."""

    time: str | None = None
    message: str = ""


class AttachmentStatus(ApiStruct, frozen=True, kw_only=True):
    """Whether a volume is attached. `attachment_metadata` is handed to the node."""

    attached: bool = False
    attachment_metadata: dict[str, str] = msgspec.field(default_factory=dict)
    attach_error: AttachmentError | None = None
    detach_error: AttachmentError | None = None


class VolumeAttachment(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 VolumeAttachment."""

    metadata: ObjectMeta = ObjectMeta()
    spec: AttachmentSpec = AttachmentSpec()
    status: AttachmentStatus = AttachmentStatus()


class CsiNodeDriver(ApiStruct, frozen=True, kw_only=True):
    """A CSI driver that is registered on a node."""

    name: str = ""
    node_id: str = msgspec.field(name="nodeID", default="")
    topology_keys: tuple[str, ...] = ()


class CsiNodeSpec(ApiStruct, frozen=True, kw_only=True):
    """The CSI drivers of a node."""

    drivers: tuple[CsiNodeDriver, ...] = ()


class CsiNode(ApiStruct, frozen=True, kw_only=True):
    """A storage.k8s.io/v1 CSINode; its name is the node's."""

    metadata: ObjectMeta = ObjectMeta()
    spec: CsiNodeSpec = CsiNodeSpec()
