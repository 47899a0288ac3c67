"""The Secret with a user's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE_USER
from controller.ceph.access.identity import secret
from controller.ceph.objectuser.spec import secret_name
from controller.ceph.rgw.credentials import key_data
from controller.ceph.rgw.names import APP, STORE_LABEL
from controller.framework.labels import recommended
from controller.framework.names import label_value
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreUser
    from controller.ceph.rgw.credentials import Place
    from controller.ceph.rgw.users import Key
    from informers import JsonObject


def key_secret(user: CephObjectStoreUser, key: Key, place: Place) -> JsonObject:
    """The Secret with a user's key, and where the store is. Names, labels and keys are upstream's."""
    owner = Owner.of(CEPH_OBJECT_STORE_USER, user.metadata)
    labels = {
        **recommended(name=APP, instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        "app": APP,
        "user": label_value(user.metadata.name),
        "rook_cluster": user.metadata.namespace,
        STORE_LABEL: label_value(user.spec.store),
    }
    return secret(owner.metadata(secret_name(user), labels), key_data(key, place))
