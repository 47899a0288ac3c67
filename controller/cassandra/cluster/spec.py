"""What of a Cluster's spec cannot be done: found, and what would be right. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra.cluster import SCYLLA
from controller.cassandra.member.configuration import refusals
from controller.cassandra.member.objects import settings, storage_request
from controller.cassandra.pods import rack_name
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from controller.cassandra.member.roster import Roster
    from informers import JsonObject

SUPPORTED = ("4.1", "5.0")
"""Minor versions that this operator runs, oldest first."""
LONGEST_NAME = 52
"""Characters of a StatefulSet's name: its pods have a label with it and a digest."""


def minor(version: str) -> str:
    """The minor version, such as "5.0" of "5.0.3"; empty: it is none."""
    found = re.match(r"\d+\.\d+(?=$|[.-])", version)
    return found.group() if found is not None else ""


def release(version: str) -> str:
    """The release that a tag stands for, such as "5.0.3" of "5.0.3-rhel"."""
    found = re.match(r"\d+(\.\d+)*", version)
    return found.group() if found is not None else version


def hindrances(cluster: CassandraCluster, roster: Roster | None) -> tuple[str, ...]:
    """Why members are neither made nor restarted as the spec has it: the field, what is found, and what is right."""
    return tuple(_hindrances(cluster, roster))


def _hindrances(cluster: CassandraCluster, roster: Roster | None) -> Iterator[str]:
    spec = cluster.spec
    if spec.mode == SCYLLA:
        yield "spec.mode is scylla, and this operator runs Apache Cassandra only: set it to cassandra"
    found = minor(spec.version)
    if found not in SUPPORTED:
        yield f"spec.version is {spec.version}, and this operator runs {' and '.join(SUPPORTED)}: set one of those"
    elif roster is not None and roster.version and SUPPORTED.index(found) < _index(roster.version):
        yield (
            f"spec.version is {spec.version}, and the members have written files of {roster.version}, which an earlier "
            f"minor version cannot read: set {roster.version} or a later version"
        )
    for index, rack in enumerate(spec.datacenter.racks):
        path, name = f"spec.datacenter.racks[{index}]", rack_name(cluster, rack.name)
        if len(name) > LONGEST_NAME:
            yield f"{path}.name makes the name {name} of {len(name)} characters: at most {LONGEST_NAME} are possible"
        if not rack.storage.volume_claim_templates:
            yield f"{path}.storage.volumeClaimTemplates is empty: a member needs a volume"
        if found in SUPPORTED:
            yield from (f"{path}: {refusal}" for refusal in refusals(settings(cluster, rack)))


def immutable(cluster: CassandraCluster, roster: Roster | None) -> tuple[str, ...]:
    """What was changed that cannot be, on members that have data; what was recorded counts instead."""
    return tuple(_immutable(cluster, roster)) if roster is not None else ()


def _immutable(cluster: CassandraCluster, roster: Roster) -> Iterator[str]:
    spec = cluster.spec
    pairs = (
        ("spec.datacenter.name", spec.datacenter.name, roster.datacenter),
        ("spec.numTokens", spec.num_tokens, roster.num_tokens),
        ("spec.authentication.enabled", spec.authentication.enabled, roster.authentication),
    )
    for path, found, right in pairs:
        if found != right:
            yield f"{path} is {_told(found)}, and the members were made with {_told(right)}, which counts: set it back"
    named = {rack.name for rack in spec.datacenter.racks}
    for rack in sorted({seat.rack for seat in roster.seats.values()} - named):
        yield (
            f"spec.datacenter.racks has no {rack}, which has {len(roster.rack(rack))} members: put it back, and set "
            "its members to 0 to have them leave"
        )


def too_small(index: int, rack: RackSpec, live: JsonObject | None) -> str:
    """That a rack's volumes are to be smaller than they are, in words; empty: they are not."""
    templates = live["spec"].get("volumeClaimTemplates") or () if live is not None else ()
    asked = quantity(storage_request(rack))
    for template in templates:
        has = ((template["spec"].get("resources") or {}).get("requests") or {}).get("storage", 0)
        found = quantity(has)
        if asked is not None and found is not None and 0 < asked < found:
            path = f"spec.datacenter.racks[{index}].storage.volumeClaimTemplates[0].spec.resources.requests.storage"
            return f"{path} is {storage_request(rack)}, and volumes have {has}: they never shrink; set {has} or more"
    return ""


def effective(cluster: CassandraCluster, roster: Roster | None) -> CassandraCluster:
    """The cluster with what was recorded in place of what cannot be changed any more."""
    if roster is None:
        return cluster
    spec = cluster.spec
    kept = replace(
        spec,
        datacenter=replace(spec.datacenter, name=roster.datacenter),
        num_tokens=roster.num_tokens,
        authentication=replace(spec.authentication, enabled=roster.authentication),
    )
    return replace(cluster, spec=kept)


def wanted_racks(cluster: CassandraCluster, roster: Roster | None) -> dict[str, int]:
    """Members by rack; a rack that is not in the spec any more keeps those that it has."""
    wanted = {rack.name: rack.members for rack in cluster.spec.datacenter.racks}
    seats = roster.seats.values() if roster is not None else ()
    missing = {seat.rack for seat in seats} - wanted.keys()
    return wanted | {rack: len(roster.rack(rack)) for rack in sorted(missing) if roster is not None}


def _index(version: str) -> int:
    found = minor(version)
    return SUPPORTED.index(found) if found in SUPPORTED else 0


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
