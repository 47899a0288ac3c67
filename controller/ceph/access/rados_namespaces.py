"""RADOS namespaces by the clusterID that StorageClasses and volumes name them with, as upstream's do.

A clusterID is the Kubernetes namespace of a CephCluster, or it stands for one RADOS namespace of a pool.
What it is by default is upstream's: https://rook.io/docs/rook/latest/CRDs/Block-Storage/ceph-block-pool-rados-namespace-crd/
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPoolRadosNamespace
    from informers import Informer

IMPLICIT = "<implicit>"
"""As `spec.name`: the namespace that every pool has; its name in Ceph is empty."""
NAME = re.compile(r"[^\s,/@]+")
"""What can be handed to the kernel, which is told pool, image and namespace in one line of text."""
BY_CLUSTER_ID = "clusterID"
"""The index of CephBlockPoolRadosNamespaces."""


def name_of(namespace: CephBlockPoolRadosNamespace) -> str:
    """The namespace's name in Ceph; empty for the implicit one."""
    name = namespace.spec.name or namespace.metadata.name
    return "" if name == IMPLICIT else name


def cluster_id(namespace: CephBlockPoolRadosNamespace) -> str:
    """The clusterID of a namespace: what its spec says, else 32 hexadecimal digits."""
    spec = namespace.spec
    place = f"{namespace.metadata.namespace}-{spec.block_pool_name}-block-{name_of(namespace)}"
    return spec.cluster_id or hashlib.sha256(place.encode()).hexdigest()[:32]


def address_of(namespace: CephBlockPoolRadosNamespace) -> str:
    """The Kubernetes namespace and the name of the object."""
    return f"{namespace.metadata.namespace}/{namespace.metadata.name}"


class RadosNamespaces:
    """Finds RADOS namespaces by clusterID. There is one for an informer, whose index it adds.

    Args:
        objects: The cache of CephBlockPoolRadosNamespaces.
    """

    def __init__(self, objects: Informer[CephBlockPoolRadosNamespace]) -> None:
        self.objects = objects
        objects.add_index(BY_CLUSTER_ID, lambda found: (cluster_id(found),))

    def holder(self, wanted: str) -> CephBlockPoolRadosNamespace | None:
        """The object that a clusterID stands for; of several the oldest. None: there is none."""
        keys = self.objects.keys_by_index(BY_CLUSTER_ID, wanted)
        found = (self.objects.get(*key) for key in keys)
        return min((namespace for namespace in found if namespace is not None), key=_age, default=None)


def _age(namespace: CephBlockPoolRadosNamespace) -> tuple[str, str, str]:
    meta = namespace.metadata
    return meta.creation_timestamp or "", meta.namespace, meta.name
