"""`ceph.rook.io/v1beta1` `Cluster`: how a Ceph cluster was asked for in 2018, and what it is in `ceph.rook.io/v1`.

Fields: https://github.com/rook/rook/blob/v0.9.3/pkg/apis/ceph.rook.io/v1beta1/types.go
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from msgspec import field

from controller.apis.ceph.storage import PRESERVE, AnyObject
from controller.apis.meta import Column, JsonObject, Kind, Nullable, ObjectMeta, Schema, SpecStruct

CEPH_V1BETA1_CLUSTER = Kind(
    "ceph.rook.io",
    "v1beta1",
    "Cluster",
    "clusters",
    short_names=("rcc",),
    columns=(
        Column("MonCount", ".spec.mon.count", "integer", description="Mons wanted"),
        Column("Age", ".metadata.creationTimestamp", "date"),
        Column("State", ".status.state", description="State"),
        Column("Message", ".status.message", description="What it is at"),
    ),
)

MADE_FROM = "ceph.rook.io/made-from"
"""The annotation of a CephCluster that was made from a Cluster, and follows it."""
DATA_DIRECTORY = "/var/lib/rook"
"""Where mons keep their data when the Cluster does not say; Clusters of 2018 often left it out."""

TOOLS = ("kubectl.kubernetes.io", "argocd.argoproj.io", "meta.helm.sh", "helm.sh", "app.kubernetes.io", ".fluxcd.io")
"""Whose labels and annotations stay behind: a tool takes an object that has them for its own, and may delete it."""


class Device(SpecStruct, frozen=True, kw_only=True):
    """A device of a node, by kernel name or by path."""

    name: str = ""
    """Kernel name, such as sdb."""
    full_path: str = field(name="FullPath", default="")
    """Path of the device."""
    config: Nullable[dict[str, str]] = field(default_factory=dict)
    """OSD settings of this device."""


class Directory(SpecStruct, frozen=True, kw_only=True):
    """A directory that an OSD kept its data in. No later release of Ceph can."""

    path: str = ""
    """Path on the node."""
    config: Nullable[dict[str, str]] = field(default_factory=dict)
    """OSD settings of this directory."""


class Selection(SpecStruct, frozen=True, kw_only=True):
    """Which devices become OSDs."""

    use_all_devices: Nullable[bool | None] = None
    """Take every device that is empty."""
    device_filter: str = ""
    """Regular expression on kernel names of devices, such as ^sd[b-d]."""
    devices: Nullable[tuple[Device, ...]] = ()
    """The devices to take, one by one."""
    directories: Nullable[tuple[Directory, ...]] = ()
    """Not carried over: no later release of Ceph keeps data in directories."""
    volume_claim_templates: Nullable[tuple[AnyObject, ...]] = ()
    """Claims that give each node its OSDs."""
    config: Nullable[dict[str, str]] = field(default_factory=dict)
    """OSD settings: storeType, databaseSizeMB, walSizeMB, metadataDevice, osdsPerDevice, encryptedDevice."""
    location: str = ""
    """Not carried over: the place in the CRUSH tree comes from the node's topology labels."""


class Node(Selection, frozen=True, kw_only=True):
    """A node that offers storage. Unset fields have the values of the same fields of `storage`."""

    name: str = ""
    """The node's kubernetes.io/hostname label."""
    resources: Nullable[AnyObject] = field(default_factory=dict)
    """Requests and limits of this node's OSDs."""


class StorageScopeSpec(Selection, frozen=True, kw_only=True):
    """Which nodes and devices the cluster may use."""

    use_all_nodes: bool = False
    """Take devices of every node."""
    nodes: Nullable[tuple[Node, ...]] = ()
    """The nodes to take devices of."""
    node_count: int = 0
    """Not carried over: Ceph never used it."""


class CephVersionSpec(SpecStruct, frozen=True, kw_only=True):
    """The Ceph release, as a container image."""

    image: str = ""
    """Image of all Ceph daemons."""
    name: str = ""
    """Not carried over: the release is read from the image."""
    allow_unsupported: bool = False
    """Run a release that this operator does not know."""


class MonSpec(SpecStruct, frozen=True, kw_only=True):
    """The monitors."""

    count: int = 3
    """Mons to run."""
    allow_multiple_per_node: bool = False
    """Let mons share a node."""


class PortSpec(SpecStruct, frozen=True, kw_only=True):
    """A named port."""

    name: str = ""
    """Its name."""
    port: int = 0
    """Its number."""


class NetworkSpec(SpecStruct, frozen=True, kw_only=True):
    """The network of the daemons."""

    host_network: bool = False
    """Run daemons in the host's network."""
    ports: Nullable[tuple[PortSpec, ...]] = ()
    """Not carried over: Ceph never used them."""


class DashboardSpec(SpecStruct, frozen=True, kw_only=True):
    """Ceph's web dashboard."""

    enabled: bool = False
    """Whether it is on."""
    url_prefix: str = ""
    """Path that its pages are below."""


class RBDMirroringSpec(SpecStruct, frozen=True, kw_only=True):
    """Mirroring of block devices."""

    workers: int = 0
    """Not carried over: a CephRBDMirror asks for mirroring daemons."""


class ClusterSpec(SpecStruct, frozen=True, kw_only=True):
    """What the user wants of a Ceph cluster."""

    ceph_version: CephVersionSpec = CephVersionSpec()
    """The Ceph release, as a container image."""
    data_dir_host_path: str = ""
    """Directory on each node for the mons' data; /var/lib/rook when not set."""
    mon: MonSpec = MonSpec()
    """The monitors."""
    storage: StorageScopeSpec = StorageScopeSpec()
    """Which nodes and devices the cluster may use."""
    network: NetworkSpec = NetworkSpec()
    """The network of the daemons."""
    placement: Nullable[dict[str, AnyObject]] = field(default_factory=dict)
    """Affinity and tolerations by kind of daemon, or for all."""
    resources: Nullable[dict[str, AnyObject]] = field(default_factory=dict)
    """Requests and limits by kind of daemon."""
    dashboard: DashboardSpec = DashboardSpec()
    """Ceph's web dashboard."""
    rbd_mirroring: RBDMirroringSpec = RBDMirroringSpec()
    """Mirroring of block devices."""


class ClusterStatus(SpecStruct, frozen=True, kw_only=True):
    """What the operator did with it."""

    state: str = ""
    """Creating, Created, Updating or Error."""
    message: str = ""
    """What the operator is at."""


class Cluster(SpecStruct, frozen=True, kw_only=True, omit_defaults=False):
    """A Ceph cluster in the API of 2018. The operator makes a CephCluster of it and keeps that in step with it."""

    api_version: str = "ceph.rook.io/v1beta1"
    kind: str = "Cluster"
    metadata: ObjectMeta = ObjectMeta()
    spec: Annotated[ClusterSpec, PRESERVE, Schema(required=True)] = ClusterSpec()
    status: Annotated[ClusterStatus, PRESERVE] = ClusterStatus()


def to_v1(cluster: Cluster) -> JsonObject:
    """The `CephCluster` that asks for the same; `left_out` names what it cannot ask for.

    Labels and annotations come along, but for those by which deployment tools track their objects.
    """
    metadata = cluster.metadata
    spec = cluster.spec
    return {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephCluster",
        "metadata": _set_only(
            name=metadata.name,
            namespace=metadata.namespace,
            labels=_not_of_tools(metadata.labels),
            annotations={**_not_of_tools(metadata.annotations), MADE_FROM: "v1beta1"},
        ),
        "spec": _set_only(
            cephVersion=_set_only(image=spec.ceph_version.image, allowUnsupported=spec.ceph_version.allow_unsupported),
            dataDirHostPath=spec.data_dir_host_path or DATA_DIRECTORY,
            mon=_set_only(count=spec.mon.count, allowMultiplePerNode=spec.mon.allow_multiple_per_node),
            storage=_selection(spec.storage)
            | _set_only(
                useAllNodes=spec.storage.use_all_nodes,
                nodes=[_node(node) for node in spec.storage.nodes],
            ),
            network=_set_only(hostNetwork=spec.network.host_network),
            placement=spec.placement,
            resources=spec.resources,
            dashboard=_set_only(enabled=spec.dashboard.enabled, urlPrefix=spec.dashboard.url_prefix),
        ),
    }


def left_out(cluster: Cluster) -> tuple[str, ...]:
    """Paths of the fields that are set and that a `CephCluster` has nothing for, for the user to be told."""
    return tuple(_left_out(cluster.spec))


def _not_of_tools(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if not name.partition("/")[0].endswith(TOOLS)}


def _node(node: Node) -> JsonObject:
    return _set_only(name=node.name, resources=node.resources) | _selection(node)


def _selection(selection: Selection) -> JsonObject:
    chosen = _set_only(
        deviceFilter=selection.device_filter,
        devices=[_set_only(name=d.name, fullpath=d.full_path, config=d.config) for d in selection.devices],
        volumeClaimTemplates=list(selection.volume_claim_templates),
        config={name: value for name, value in selection.config.items() if name not in _STORE_SETTINGS},
    )
    # A node's false goes before the cluster's true, so it means something.
    return chosen if selection.use_all_devices is None else chosen | {"useAllDevices": selection.use_all_devices}


_STORE_SETTINGS = ("storeType", "journalSizeMB")
"""Settings that chose and shaped the store of OSDs, of which BlueStore alone is left."""


def _left_out(spec: ClusterSpec) -> Iterator[str]:
    if spec.ceph_version.name:
        yield "spec.cephVersion.name"
    if spec.network.ports:
        yield "spec.network.ports"
    if spec.rbd_mirroring.workers:
        yield "spec.rbdMirroring.workers"
    if spec.storage.node_count:
        yield "spec.storage.nodeCount"
    yield from _left_out_of_selection(spec.storage, "spec.storage")
    for index, node in enumerate(spec.storage.nodes):
        yield from _left_out_of_selection(node, f"spec.storage.nodes[{index}]")


def _left_out_of_selection(selection: Selection, path: str) -> Iterator[str]:
    if selection.directories:
        yield f"{path}.directories"
    if selection.location:
        yield f"{path}.location"
    if selection.config.get("storeType", "bluestore") != "bluestore":
        yield f"{path}.config.storeType"
    if "journalSizeMB" in selection.config:
        yield f"{path}.config.journalSizeMB"


def _set_only(**fields: Any) -> JsonObject:
    """The fields that are set to something."""
    return {name: value for name, value in fields.items() if value}
