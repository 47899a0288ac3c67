"""What can be done to a zone group is what its Job does: `controller.ceph.multisite.work`."""

from __future__ import annotations

from controller.apis.ceph import CEPH_OBJECT_ZONE_GROUP
from controller.runtime import resource_of

ZONE_GROUPS = resource_of(CEPH_OBJECT_ZONE_GROUP)
