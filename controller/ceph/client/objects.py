"""The Secret with a user's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_CLIENT
from controller.ceph.access.identity import secret
from controller.ceph.client.spec import secret_name
from controller.ceph.pods import cluster_labels
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from controller.apis.ceph import CephClient
    from informers import JsonObject

APP = "rook-ceph-client"


def key_data(name: str, key: str) -> dict[str, str]:
    """What the Secret holds: the key by the user's name, and as CSI drivers read it. Names are upstream's."""
    return {name: key, "userID": name, "userKey": key, "adminID": name, "adminKey": key}


def key_secret(client: CephClient, key: str) -> JsonObject:
    """The Secret with a user's key."""
    owner = Owner.of(CEPH_CLIENT, client.metadata)
    meta = owner.metadata(secret_name(client), cluster_labels(owner, APP))
    return secret(meta, key_data(client.metadata.name, key))
