"""The Secret with the key of an account's root user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.apis.ceph import CEPH_OBJECT_STORE_ACCOUNT
from controller.ceph.access.identity import secret
from controller.ceph.objectaccount.spec import secret_name
from controller.ceph.rgw.credentials import key_data
from controller.ceph.rgw.names import APP
from controller.framework.labels import recommended
from controller.framework.names import label_value
from controller.framework.workload import Owner

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreAccount
    from controller.ceph.rgw.credentials import Place
    from controller.ceph.rgw.users import Key
    from informers import JsonObject


def key_secret(account: CephObjectStoreAccount, key: Key, place: Place) -> JsonObject:
    """The Secret with the root user's key, and where the store is. Names, labels and keys are upstream's."""
    owner = Owner.of(CEPH_OBJECT_STORE_ACCOUNT, account.metadata)
    labels = {
        **recommended(name=APP, instance=owner.name, component=owner.kind.crd_name, part_of=owner.name),
        "cephObjectStoreAccountName": label_value(account.metadata.name),
        "cephObjectStoreName": label_value(account.spec.store),
        "cephObjectStoreNamespace": label_value(account.metadata.namespace),
    }
    return secret(owner.metadata(secret_name(account), labels), key_data(key, place))
