"""A Cassandra cluster's plan: its objects, the ring's next change, and who is restarted. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from msgspec.structs import replace

from controller.apis.cassandra.cluster import CASSANDRA_4, DELETE
from controller.cassandra.cluster import certificates, deletion, encryption, rotation, storage, users
from controller.cassandra.cluster.objects import (
    budget,
    client_service,
    members_service,
    pod_monitor,
    roster_config_map,
    service_account,
)
from controller.cassandra.cluster.spec import effective, hindrances, immutable, too_small, upgrade_of, wanted_racks
from controller.cassandra.cluster.turns import abandoned, after_operation
from controller.cassandra.member import analyze as ring
from controller.cassandra.member import rollout
from controller.cassandra.member.encryption import wanted
from controller.cassandra.member.joining import found
from controller.cassandra.member.objects import (
    CONFIG_ANNOTATION,
    CONFIG_LABEL,
    TEMPLATE_ANNOTATION,
    VERSION_LABEL,
    claim_template,
    config_map,
    member_service,
    rack_stateful_set,
    rack_template,
    storage_request,
    template_hash,
)
from controller.cassandra.member.orders import orders, seeds
from controller.cassandra.member.ring import releases, serving
from controller.cassandra.member.rollout import Restarts
from controller.cassandra.member.roster import Chore, ChoreKind, Roster, Seat, Standing
from controller.cassandra.member.steps import LANE, Replicate, Wish, WriteRoster, wait
from controller.cassandra.pods import (
    MEMBER_LABEL,
    RACK_LABEL,
    admin_secret,
    is_ours,
    prefix,
    rack_name,
    roster_name,
    superuser_secret,
)
from controller.cassandra.releases import CassandraVersion
from controller.framework import monitoring
from controller.framework.children import delete, ensure
from controller.framework.claims import grow, remake
from controller.framework.monitoring import POD_MONITOR
from controller.framework.plan import Plan, Step
from controller.framework.timers import elapsed
from controller.runtime.kube import CONFIG_MAP, SERVICE, STATEFULSET

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from controller.apis.cassandra import CassandraCluster, RackSpec
    from controller.cassandra.cluster.observe import Observation
    from controller.cassandra.releases import Upgrade
    from informers import JsonObject

AT_REST, MOVING = 30.0, 5.0
"""Seconds between two looks at a cluster at rest, and at one where something is to come."""
UP, DOWN = "MemberUp", "MemberDown"
"""Topics of timers: since when members have been serving, or not."""


def analyze(cluster: CassandraCluster, seen: Observation, *, installer: str) -> Plan:
    """The plan for a cluster.

    Args:
        cluster: What is wanted.
        seen: What is there.
        installer: The operator's image.
    """
    if cluster.metadata.deletion_timestamp is not None:
        return deletion.analyze(cluster, seen)
    steps = tuple(_steps(cluster, seen, installer))
    return Plan(steps=steps, look_again=MOVING if steps else AT_REST)


def _steps(cluster: CassandraCluster, seen: Observation, installer: str) -> Iterator[Step]:
    if seen.roster_problem:
        yield Step(subject="ring", reason="its roster cannot be read", waits_for=f"{seen.roster_problem}: restore it")
        return
    for text in (*immutable(cluster, seen.roster), *shrunk(cluster, seen)):
        yield Step(subject="spec", reason=text, waits_for="the field to be set back")
    upgrade = upgrade_of(cluster, seen.roster, seen.pods)
    hindered = hindrances(cluster, upgrade)
    for text in hindered:
        yield Step(subject="spec", reason=text, waits_for="the spec to be changed")
    if hindered and seen.roster is None:
        return
    roster, mode = seen.roster, cluster.spec.storage_compatibility
    cluster = effective(cluster, roster)
    wish = wish_of(cluster, seen)
    yield from _common(cluster, seen)
    yield from _services(cluster, seen, wish)
    certified = certificates.certificates_of(cluster, seen)
    yield from certificates.analyze(cluster, seen, certified)
    if roster is None:
        yield from _unwritten(cluster, wish, seen)
        return
    records = orders(roster, seen.addresses, {name: claim.metadata.uid for name, claim in seen.claims.items()})
    told = tuple(ensure(seen.live, roster_config_map(cluster, roster, records), subject="ring", lane="roster"))
    yield from told
    uncertified = certified.hold if roster.encryption.is_on else ""
    restarts = restarts_of(cluster, seen, roster, hold=hindered[0] if hindered else uncertified)
    decided = rollout.decide(roster, seen.scene, restarts)
    turns = {roster.seats[name].rack for name, waits_for in decided.items() if not waits_for and seen.turn is None}
    for rack in cluster.spec.datacenter.racks:
        yield from _volumes(rack, seen, roster)
        if not told and not uncertified:
            yield from _rack(cluster, rack, seen, roster, installer, turn=rack.name in turns, hindered=bool(hindered))
    yield from abandoned(seen)
    if roster.seats:
        writes = (
            encryption.next_step(cluster, seen, roster, upgrade, certified),
            storage.change(mode, roster, seen.scene, restarts, outdated=decided),
        )
        yield from after_operation(_one_write(writes, _ring(cluster, wish, roster, seen, upgrade)), seen)
    yield from after_operation(rollout.steps(decided, roster, seen.scene, restarts), seen)
    yield from _prune(cluster, seen, roster, hindered=bool(hindered))


def _one_write(writes: Iterable[Step | None], others: Iterator[Step]) -> Iterator[Step]:
    """The first of `writes` that waits for nothing, and else the others, which write the roster, too."""
    found = [step for step in writes if step is not None]
    first = next((step for step in found if not step.waits_for), None)
    yield from (step for step in found if step.waits_for or step is first)
    if first is None:
        yield from others


def _unwritten(cluster: CassandraCluster, wish: Wish, seen: Observation) -> Iterator[Step]:
    """The steps by which there is a roster, where there is none: of a new ring, or of one that was made before."""
    if cluster.status.members_omitted:
        listed, missing = len(cluster.status.members), cluster.status.members_omitted
        waits_for = f"ConfigMap {roster_name(cluster)} to be restored from a backup"
        text = (
            f"the ring was made, and its roster is gone; the status lists {listed} members, and {missing} are missing"
        )
        yield Step(subject="ring", reason=text, waits_for=waits_for)
    elif cluster.status.founded:
        rebuilt = replace(rebuilt_roster(cluster), encryption=encryption.found(cluster, seen))
        text = "the ring was made, and its roster is gone: it is written anew from the status"
        yield Step(subject="ring", reason=text, action=WriteRoster(rebuilt), lane=LANE)
    elif seen.admin is not None:
        yield from found(wish, new_roster(cluster), seen.scene)


def new_roster(cluster: CassandraCluster) -> Roster:
    """The roster of a ring that is not there yet."""
    return Roster(
        cluster=cluster.metadata.name,
        datacenter=cluster.spec.datacenter.name,
        num_tokens=cluster.spec.num_tokens,
        authentication=cluster.spec.authentication.enabled,
        storage_mode=storage.first_mode(cluster.spec.version, cluster.spec.storage_compatibility),
        encryption=wanted(cluster.spec.encryption),
    )


def rebuilt_roster(cluster: CassandraCluster) -> Roster:
    """The roster of a ring by what the status says of it; who had not joined is not in it."""
    seats = {
        name: Seat(
            rack=member.rack,
            ordinal=int(name.rpartition("-")[2]),
            standing=Standing.LEAVING if member.state == "Leaving" else Standing.MEMBER,
            host_id=member.host_id,
        )
        for name, member in sorted(cluster.status.members.items())
        if member.host_id and member.state != "Left"
    }
    mode = cluster.status.storage_compatibility or CASSANDRA_4
    return replace(new_roster(cluster), founded=True, seats=seats, storage_mode=mode)


def shrunk(cluster: CassandraCluster, seen: Observation) -> tuple[str, ...]:
    """What the spec wants of volumes that cannot be, in words."""
    found = (
        too_small(index, rack, seen.live.get((STATEFULSET.kind, rack_name(cluster, rack.name))))
        for index, rack in enumerate(cluster.spec.datacenter.racks)
    )
    return tuple(filter(None, found))


def wish_of(cluster: CassandraCluster, seen: Observation) -> Wish:
    """What the spec wants of the ring."""
    spec = cluster.spec
    return Wish(
        prefix=prefix(cluster),
        racks=wanted_racks(cluster, seen.roster),
        lost={lost.member: lost.host_id or lost.claim_uid for lost in spec.lost_members},
        lose_copies=frozenset(spec.lose_copies),
        wipe=spec.claim_retention.when_scaled == DELETE,
    )


def restarts_of(cluster: CassandraCluster, seen: Observation, roster: Roster, *, hold: str = "") -> Restarts:
    """What is to be restarted, and how."""
    versions = {seen.pods[name].metadata.labels.get(VERSION_LABEL) for name in roster.members if name in seen.pods}
    # Nobody is replaced while members run two versions: whoever is lost then holds up no restart.
    mixes = storage.is_mixed(roster, seen.pods) or bool(versions - {cluster.spec.version})
    return Restarts(
        templates={
            rack.name: template_hash(cluster, rack, roster.encryption) for rack in cluster.spec.datacenter.racks
        },
        racks=[rack.name for rack in cluster.spec.datacenter.racks],
        version=cluster.spec.version,
        pods=seen.pods,
        policy=cluster.spec.upgrade,
        lost=wish_of(cluster, seen).given_up(roster) if mixes else (),
        up=elapsed(cluster.status.timers, UP, seen.scene.now),
        down=elapsed(cluster.status.timers, DOWN, seen.scene.now),
        hold=hold,
    )


def _common(cluster: CassandraCluster, seen: Observation) -> Iterator[Step]:
    """The objects of the cluster as a whole."""
    moving = seen.roster is not None and seen.roster.moving is not None
    for child in (
        service_account(cluster),
        members_service(cluster, annotated=cluster.spec.monitoring.enabled and not seen.monitors.served),
        client_service(cluster),
        budget(cluster, allowed=0 if moving else 1),
    ):
        yield from ensure(seen.live, child, subject=f"{child['kind']} {child['metadata']['name']}")
    monitors = (pod_monitor(cluster),) if cluster.spec.monitoring.enabled else ()
    yield from monitoring.analyze(POD_MONITOR, monitors, seen.monitors, subject="members")
    if seen.admin is None:
        make = users.MakeLogin(admin_secret(cluster), "rook", owned=True)
        yield Step(subject=f"Secret {make.secret}", reason="members let nobody else in", action=make)
    if cluster.spec.authentication.enabled and seen.superuser is None:
        name = superuser_secret(cluster)
        if cluster.spec.authentication.superuser_secret_name:
            yield Step(subject=f"Secret {name}", reason="the superuser is taken from it", waits_for="it to exist")
            return
        if _is_made(cluster, seen) and seen.auth.default is not True:
            waits_for = "it to be restored: nobody else has the password, and a new one would let nobody in"
            yield Step(subject=f"Secret {name}", reason="the superuser is taken from it", waits_for=waits_for)
            return
        text = cluster.spec.authentication.rotate
        make = users.MakeLogin(name, f"{cluster.metadata.name}-superuser", owned=False, rotation=text)
        yield Step(subject=f"Secret {name}", reason="there is no superuser yet", action=make)


def _is_made(cluster: CassandraCluster, seen: Observation) -> bool:
    """Whether the ring was made, so that its members know who may log in."""
    return cluster.status.founded or (seen.roster is not None and seen.roster.founded)


def _services(cluster: CassandraCluster, seen: Observation, wish: Wish) -> Iterator[Step]:
    """A Service for each member that is there or wanted: its address is known before its pod is made."""
    roster = seen.roster
    first = set(seeds(roster)) if roster is not None else set()
    names = {wish.name(rack, ordinal): rack for rack, count in wish.racks.items() for ordinal in range(count)}
    names |= {name: seat.rack for name, seat in (roster.seats if roster is not None else {}).items()}
    for name, rack in sorted(names.items()):
        yield from ensure(seen.live, member_service(cluster, rack, name, seed=name in first), subject=name)


def _rack(
    cluster: CassandraCluster,
    rack: RackSpec,
    seen: Observation,
    roster: Roster,
    installer: str,
    *,
    turn: bool,
    hindered: bool,
) -> Iterator[Step]:
    """The StatefulSet of a rack, and its configuration. Its template stays what it is until a restart needs another."""
    name = rack_name(cluster, rack.name)
    live = seen.live.get((STATEFULSET.kind, name))
    subject, replicas = f"rack {rack.name}", roster.replicas(rack.name)
    present = any(pod.metadata.labels.get(RACK_LABEL) == rack.name for pod in seen.pods.values())
    fits = live is not None and _annotation(live, TEMPLATE_ANNOTATION) == template_hash(
        cluster, rack, roster.encryption
    )
    wanted_claim = claim_template(cluster, rack)
    if live is not None and not too_small(0, rack, live):
        remade = remake(live, [wanted_claim], subject=subject, lane=name)
        yield from remade
        if remade:
            return
    if not hindered and (live is None or fits or turn or not present):
        config = config_map(cluster, rack, roster.encryption)
        yield from ensure(seen.live, config, subject=subject, lane=name)
        name_of_config = config["metadata"]["name"]
        template = rack_template(
            cluster, rack, installer=installer, config=name_of_config, encryption=roster.encryption
        )
    elif live is not None and live["spec"].get("replicas") != replicas:
        template = live["spec"]["template"]
    else:
        return
    claims = live["spec"]["volumeClaimTemplates"] if live is not None else [wanted_claim]
    wanted = rack_stateful_set(cluster, rack, template, claims, replicas=replicas)
    yield from ensure(seen.live, wanted, subject=subject, lane=name)


def _volumes(rack: RackSpec, seen: Observation, roster: Roster) -> Iterator[Step]:
    """Volumes grow with the spec."""
    size = storage_request(rack)
    for name in roster.rack(rack.name):
        claim = seen.claims.get(name)
        if claim is not None and size:
            yield from grow(claim, size, seen.classes, subject=name)


def _ring(cluster: CassandraCluster, wish: Wish, roster: Roster, seen: Observation, upgrade: Upgrade) -> Iterator[Step]:
    """Who joins or leaves, and what is to be written down of versions."""
    upgraded = _upgraded(roster, seen)
    if upgraded is not None:
        yield upgraded
        return
    if roster.moving is None and upgrade.target is not None:
        wish = dataclasses.replace(wish, hold=upgrade.hold(f"all members to run {upgrade.target.image}"))
    mixed = roster.moving is None and storage.is_mixed(roster, seen.pods)
    if mixed:
        waits_for = f"all members to write files as {roster.storage_mode}"
        yield wait("ring", "members that write files in two ways do not stream to each other", waits_for)
    for step in ring.analyze(wish, roster, seen.scene) if not mixed else ():
        needs_login = isinstance(step.action, Replicate) and roster.authentication
        waits_for = "members to let the superuser in" if needs_login and not seen.auth.superuser else ""
        yield dataclasses.replace(step, waits_for=waits_for) if waits_for else step
    if roster.authentication and roster.founded:
        via = next(iter(serving(roster, seen.scene)), "")
        yield from users.analyze(superuser_secret(cluster), seen.superuser, seen.auth, via)
        yield from _rotation(cluster, roster, seen)


def _rotation(cluster: CassandraCluster, roster: Roster, seen: Observation) -> Iterator[Step]:
    """How a new role takes over as the superuser; roles are left alone while members run two versions."""
    members, spec = serving(roster, seen.scene), cluster.spec.authentication
    if not members or seen.superuser is None or not seen.auth.is_settled or spec.superuser_secret_name:
        return
    held = "all members to run one version" if len(releases(roster, seen.scene)) > 1 else ""
    name, now = superuser_secret(cluster), seen.scene.now
    for step in rotation.analyze(name, spec.rotate, seen.superuser, seen.rotation, tuple(members), now):
        yield dataclasses.replace(step, waits_for=step.waits_for or held)


def _upgraded(roster: Roster, seen: Observation) -> Step | None:
    """The step by which it is written down that all members run another version than before."""
    found = releases(roster, seen.scene)
    members = roster.members
    if len(found) != 1 or len(serving(roster, seen.scene)) != len(members) or not members or roster.version == found[0]:
        return None
    written = replace(roster, version=found[0])
    before, after = CassandraVersion.parse(roster.version), CassandraVersion.parse(found[0])
    if roster.version and before.release != after.release:
        written = written.with_chores(*(Chore(kind=ChoreKind.UPGRADE, member=name, cause=found[0]) for name in members))
    reason = f"all members run {found[0]}"
    return Step(subject="ring", reason=reason, action=WriteRoster(written), lane=LANE)


def _prune(cluster: CassandraCluster, seen: Observation, roster: Roster, *, hindered: bool) -> Iterator[Step]:
    """What nobody needs any more: Services of members that are gone, configurations that no pod has."""
    wanted = wanted_racks(cluster, roster)
    expected = {f"{prefix(cluster)}-{rack}-{ordinal}" for rack, count in wanted.items() for ordinal in range(count)}
    expected |= roster.seats.keys()
    used = {pod.metadata.annotations.get(CONFIG_ANNOTATION, "") for pod in seen.pods.values()}
    used |= {_annotation(obj, CONFIG_ANNOTATION) for (kind, _), obj in seen.live.items() if kind == STATEFULSET.kind}
    racks = () if hindered else cluster.spec.datacenter.racks
    used |= {config_map(cluster, rack, roster.encryption)["metadata"]["name"] for rack in racks}
    for (kind, name), obj in seen.live.items():
        labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
        if not is_ours(labels, cluster.metadata.name):
            continue
        if kind == SERVICE.kind and MEMBER_LABEL in labels and name not in expected and name not in seen.pods:
            yield delete(SERVICE, obj, subject=f"Service {name}", reason="its member is gone")
        if kind == CONFIG_MAP.kind and CONFIG_LABEL in labels and name not in used:
            yield delete(CONFIG_MAP, obj, subject=f"ConfigMap {name}", reason="no member has this configuration")


def _annotation(workload: JsonObject, name: str) -> str:
    return str((workload["spec"]["template"]["metadata"].get("annotations") or {}).get(name, ""))
