"""What of a Cluster's spec cannot be done: found, and what would be right. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra.cluster import SCYLLA
from controller.cassandra.cluster import storage
from controller.cassandra.member.configuration import refusals
from controller.cassandra.member.objects import VERSION_LABEL, settings, storage_request
from controller.cassandra.pods import rack_name
from controller.cassandra.releases import CassandraVersion, Release, Running, Upgrade, refusal
from controller.framework.upgrade import judge
from controller.runtime.quantities import quantity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from controller.cassandra.member.roster import Roster
    from controller.runtime.kube import Pod
    from informers import JsonObject

LONGEST_NAME = 52
"""Characters of a StatefulSet's name: its pods have a label with it and a digest."""


def upgrade_of(cluster: CassandraCluster, roster: Roster | None, pods: Mapping[str, Pod]) -> Upgrade:
    """What members should run.

    Args:
        cluster: What is wanted.
        roster: Who belongs to the ring; it has the version that all of them have run last.
        pods: Those of members, by name.
    """
    tag, tags = cluster.spec.version, set[str]()
    if roster is not None:
        tags = {pod.metadata.labels.get(VERSION_LABEL, "") for name, pod in pods.items() if name in roster.members}
    declared = [Release(found, CassandraVersion.parse(found)) for found in tags]
    run = [CassandraVersion.parse(roster.version)] if roster is not None and roster.version else []
    running = Running.of((), [*run, *(release.version for release in declared)])
    return judge(Release(tag, CassandraVersion.parse(tag)), running, declared, refusal)


def hindrances(cluster: CassandraCluster, upgrade: Upgrade) -> tuple[str, ...]:
    """Why members are neither made nor restarted as the spec has it: the field, what is found, and what is right."""
    return tuple(_hindrances(cluster, upgrade))


def _hindrances(cluster: CassandraCluster, upgrade: Upgrade) -> Iterator[str]:
    spec = cluster.spec
    if spec.mode == SCYLLA:
        yield "spec.mode is scylla, and this operator runs Apache Cassandra only: set it to cassandra"
    if upgrade.refusal:
        yield f"spec.version is {spec.version}, and {upgrade.refusal}"
    for index, rack in enumerate(spec.datacenter.racks):
        path, name = f"spec.datacenter.racks[{index}]", rack_name(cluster, rack.name)
        if len(name) > LONGEST_NAME:
            yield f"{path}.name makes the name {name} of {len(name)} characters: at most {LONGEST_NAME} are possible"
        if not rack.storage.volume_claim_templates:
            yield f"{path}.storage.volumeClaimTemplates is empty: a member needs a volume"
        yield from (f"{path}: {refused}" for refused in refusals(settings(cluster, rack)))


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
    mode = storage.refusal(spec.storage_compatibility, roster.storage_mode)
    if mode:
        yield f"spec.storageCompatibility is {spec.storage_compatibility}, and {mode}"
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
        storage_compatibility=roster.storage_mode,
        authentication=replace(spec.authentication, enabled=roster.authentication),
    )
    return replace(cluster, spec=kept)


def wanted_racks(cluster: CassandraCluster, roster: Roster | None) -> dict[str, int]:
    """Members by rack; a rack that is not in the spec any more keeps those that it has."""
    wanted = {rack.name: rack.members for rack in cluster.spec.datacenter.racks}
    seats = roster.seats.values() if roster is not None else ()
    missing = {seat.rack for seat in seats} - wanted.keys()
    return wanted | {rack: len(roster.rack(rack)) for rack in sorted(missing) if roster is not None}


def _told(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
