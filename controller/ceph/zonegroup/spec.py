"""What a CephObjectZoneGroup's spec asks for; and what of it cannot be. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.rgw.names import Place

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectZoneGroup


def place_of(group: CephObjectZoneGroup) -> Place:
    """What calls about a zone group name: the zone is of no account for them, and must not be left out."""
    name = group.metadata.name
    return Place(group.spec.realm, name, name)


def problems(group: CephObjectZoneGroup) -> tuple[str, ...]:
    """Why the spec cannot be carried out, in words."""
    return () if group.spec.realm else ("realm is empty: expected the name of a CephObjectRealm",)
