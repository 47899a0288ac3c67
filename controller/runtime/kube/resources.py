"""Where the API server serves kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from informers import Resource

if TYPE_CHECKING:
    from controller.apis.meta import Kind

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
CSI_STORAGE_CAPACITY = Resource(
    group="storage.k8s.io", version="v1", kind="CSIStorageCapacity", plural="csistoragecapacities"
)
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
        CSI_STORAGE_CAPACITY,
    )
}
"""By (apiVersion, kind): what an object's own type says, to where its kind is served."""


def resource_of(kind: Kind) -> Resource:
    """Where the API server serves one of our own kinds."""
    return Resource(
        group=kind.group, version=kind.version, kind=kind.kind, plural=kind.plural, namespaced=kind.namespaced
    )
