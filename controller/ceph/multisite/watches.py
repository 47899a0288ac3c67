"""What brings about a look at realms, zone groups and zones alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controller.ceph.access.reach import answers_otherwise
from controller.framework.changes import changed, job_changed
from controller.runtime import in_namespace, owned_by

if TYPE_CHECKING:
    from controller.ceph.multisite.ground import Grounds
    from controller.runtime import Controller
    from informers import Informer


def watch_ground(controller: Controller, grounds: Grounds, objects: Informer[Any]) -> None:
    """Looks at `objects` when their cluster can be asked or not, and when their Jobs and keyrings change."""
    controller.watch(grounds.clusters, in_namespace(objects), predicate=answers_otherwise)
    controller.watch(grounds.caches.jobs, owned_by(objects.resource), predicate=job_changed)
    controller.watch(grounds.caches.secrets, owned_by(objects.resource))


def _made(obj: Any) -> tuple[object, ...]:
    return obj.spec, obj.status.id, obj.status.phase


made_otherwise = changed(_made)
"""Whether a realm, zone group or zone came, went, was edited, or was made in Ceph."""
