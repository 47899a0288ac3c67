"""What gateways use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CephNVMeOFGateway
from controller.ceph.access.nvmeof import POOL
from controller.ceph.nvmeof.act import RESOURCE
from controller.framework.deletion import Dependent, of_namespace, where

if TYPE_CHECKING:
    from controller.apis.ceph import CephBlockPool
    from controller.runtime.kube import HasMetadata
    from informers import InformerFactory


def dependents(informers: InformerFactory) -> Dependent[HasMetadata]:
    """CephNVMeOFGateways as what uses the cluster of their namespace."""
    return of_namespace(informers.informer(RESOURCE, CephNVMeOFGateway))


def of_pool(informers: InformerFactory) -> Dependent[CephBlockPool]:
    """CephNVMeOFGateways as what uses the CephBlockPool of the pool in which they keep what they show."""
    return where(dependents(informers), lambda pool: pool.spec.name == POOL)
