"""The Secret with the keys of a realm's system user, by whom its zones speak to each other; named as upstream's."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.identity import secret
from controller.ceph.multisite.names import ACCESS_KEY, SECRET_KEY
from controller.ceph.rgw.names import realm_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.framework.workload import Owner
    from controller.runtime.kube import Secret
    from informers import Informer, JsonObject

_ACCESS_LENGTH, _SECRET_LENGTH = 20, 40
_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What is known of the Secret; not what is in it.

    Attributes:
        present: Whether there is one.
        version: Which version of it; another one may have other keys.
        missing: What it lacks, in words; empty: nothing.
    """

    present: bool = False
    version: str = ""
    missing: str = ""


def keys_of(cache: Informer[Secret], namespace: str, realm: str) -> Keys:
    """What the cache has of the Secret of a realm."""
    found = cache.get(namespace, realm_secret(realm))
    if found is None:
        return Keys()
    lacking = [name for name in (ACCESS_KEY, SECRET_KEY) if not found.data.get(name)]
    return Keys(present=True, version=found.metadata.resource_version, missing=" and ".join(lacking))


def new_secret(owner: Owner, labels: Mapping[str, str]) -> JsonObject:
    """A Secret with new keys, of the realm `owner`."""
    data = {ACCESS_KEY: _random(_ACCESS_LENGTH), SECRET_KEY: _random(_SECRET_LENGTH)}
    return secret(owner.metadata(realm_secret(owner.name), labels), data)


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))
