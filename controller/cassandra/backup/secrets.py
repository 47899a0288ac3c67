"""The user's own Secrets that Jobs of backups and restores mount, and the keys that these have to have. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.cassandra.backup.bucket import ACCESS_KEY, SECRET_KEY
from controller.cassandra.backup.options import CA_KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.apis.cassandra import OperationSpec


@dataclass(frozen=True, slots=True)
class Needed:
    """A Secret that a spec names.

    Attributes:
        field: The path of the field that names it.
        name: Its name.
        keys: Those that have to have a value.
    """

    field: str
    name: str
    keys: tuple[str, ...]


def needed(spec: OperationSpec) -> tuple[Needed, ...]:
    """The Secrets that an Operation names."""
    if spec.backup is not None:
        path, s3 = "spec.backup.destination.s3", spec.backup.destination.s3
    elif spec.restore is not None:
        path, s3 = "spec.restore.source.s3", spec.restore.source.s3
    else:
        return ()
    found = (
        Needed(f"{path}.credentialsSecretName", s3.credentials_secret_name, (ACCESS_KEY, SECRET_KEY)),
        Needed(f"{path}.caSecretName", s3.ca_secret_name, (CA_KEY,)),
    )
    return tuple(one for one in found if one.name)


def lacking(wanted: tuple[Needed, ...], there: Mapping[str, Collection[str]]) -> str:
    """What Secrets lack, in words; empty: nothing.

    Args:
        wanted: Those that are needed.
        there: By the name of each Secret that there is, the keys that have a value.
    """
    for one in wanted:
        names = f"{one.field} names Secret {one.name}"
        if one.name not in there:
            return f"{names}, which does not exist"
        for key in one.keys:
            if key not in there[one.name]:
                return f"{names}, which has nothing under the key {key}"
    return ""
