"""What a CephBlockPoolRadosNamespace's spec asks for; and what of it is not served. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephBlockPoolRadosNamespaceSpec
from controller.apis.ceph.served import RADOS_NAMESPACE
from controller.ceph.access.rados_namespaces import IMPLICIT, name_of
from controller.framework.honoured import unhonoured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephBlockPoolRadosNamespace


def shown_name(namespace: CephBlockPoolRadosNamespace) -> str:
    """The namespace with its pool, for messages."""
    return f"{namespace.spec.block_pool_name}/{name_of(namespace) or IMPLICIT}"


def unserved(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served."""
    return unhonoured(spec, RADOS_NAMESPACE, CephBlockPoolRadosNamespaceSpec)
