"""Whether there is a realm, zone group or zone of a name: Ceph has an object of it in pool .rgw.root.

Source of the names: RGW's src/rgw/driver/rados/config/ and, before release 18, src/rgw/rgw_zone.cc.
"""

from __future__ import annotations

import errno
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from controller.ceph.access.threads import Lane

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster

POOL = ".rgw.root"
SECONDS = 30.0
"""How long it may take to look."""


class Named(StrEnum):
    """What the name is of, as the object's name begins."""

    REALM = "realms_names."
    ZONE_GROUP = "zonegroups_names."
    ZONE = "zone_names."


async def exists(ceph: RadosCluster, what: Named, name: str) -> bool:
    """Whether there is one of this name.

    Raises:
        CephError: The cluster does not answer in time.
    """
    return await ceph.use(lambda handle: _exists(handle, f"{what}{name}"), lane=Lane.IMAGES, seconds=SECONDS)


def _exists(handle: Any, name: str) -> bool:
    try:
        with handle.open_ioctx(POOL) as opened:
            opened.stat(name)
    except Exception as error:  # the errors of module rados have no name where only plans are computed
        if getattr(error, "errno", None) == errno.ENOENT:
            return False
        raise
    return True
