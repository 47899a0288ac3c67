"""The whole cluster's plan: what comes first, what waits for what, and what a plan that is only shown does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from controller.apis.ceph.status import CephHealthMessage
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.access.config import ConfigState, digest
from controller.ceph.access.health import HARMLESS, Health
from controller.ceph.access.identity import Identity, keyring, keyring_secret, mons_keyring
from controller.ceph.access.users import given
from controller.ceph.cluster.identity import CreateIdentity
from controller.ceph.cluster.kind import invalid
from controller.ceph.cluster.observe import remnants
from controller.ceph.cluster.settings import DEFAULTS
from controller.ceph.mgr.analyze import CAPS
from controller.ceph.mgr.objects import keyring_name, metrics_service, mgr_deployment
from controller.ceph.mgr.observe import MgrObservation, MgrState
from controller.ceph.mon.objects import claim
from controller.ceph.mon.observe import MonObservation
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.part import Ground
from controller.ceph.pods import Daemon, Release, cluster_labels, owner_of
from controller.ceph.releases import CephVersion, Upgrade
from controller.framework.labels import INSTANCE
from controller.framework.owned import Owned
from controller.framework.plan import Plan
from tests.unit.ceph.cases import (
    FSID,
    RELEASE,
    a_cluster,
    a_context,
    a_pod,
    deployment_view,
    live_objects,
    nodes,
    running_mons,
    told,
)
from tests.unit.ceph.observed import PARTS, Observation, analyze
from tests.unit.ceph.snapshot import DIRECTORY as SNAPSHOTS

if TYPE_CHECKING:
    from controller.apis.ceph import CephCluster

NOW = 1_800_000_000.0
IDENTITY = Identity(FSID, "monkey", "adminkey")
RUNNING = Upgrade(wanted=RELEASE, target=RELEASE, declared=frozenset({RELEASE}))
OVERRIDE = {"kind": "ConfigMap", "metadata": {"name": "rook-config-override"}}
NO_CSI_USERS = {"csi": {"skipUserCreation": True}}


def cluster_of(spec: dict[str, Any] | None = None, **more: Any) -> CephCluster:
    return a_cluster({**NO_CSI_USERS, **(spec or {})}, **more)


def keyrings(cluster: CephCluster) -> dict[tuple[str, str], dict[str, Any]]:
    labels = cluster_labels(owner_of(cluster), "rook-ceph-mon")
    return live_objects(
        keyring_secret(owner_of(cluster).metadata("rook-ceph-mons-keyring", labels), mons_keyring(IDENTITY)),
        keyring_secret(
            owner_of(cluster).metadata("rook-ceph-admin-keyring", labels), keyring("client.admin", IDENTITY.admin_key)
        ),
    )


def at_rest(cluster: CephCluster, **changes: Any) -> Observation:
    """A cluster with three mons and a mgr that is as it should be."""
    mgr = Daemon(type="mgr", id="a")
    manager = mgr_deployment(cluster.spec.mgr, a_context(cluster), mgr)
    mons = running_mons(cluster, "abc")
    meta = {"name": keyring_name(mgr), "namespace": "rook-ceph", "annotations": given(CAPS)}
    key = {"kind": "Secret", "metadata": meta}
    live = {
        **mons.live,
        **live_objects(manager, key, metrics_service(a_context(cluster)), OVERRIDE),
        **keyrings(cluster),
    }
    found: dict[str, Any] = {
        "live": live,
        "identity": IDENTITY,
        "upgrade": RUNNING,
        "mons": replace(mons, live=live),
        "mgrs": MgrObservation(
            state=MgrState(active="a", available=True, modules=frozenset({"prometheus"})),
            deployments={"a": deployment_view(manager)},
            pods={"a": (a_pod(mgr, labels={"mgr_role": "active"}),)},
            live=live,
        ),
        "osds": OsdObservation(now=NOW, live=live, states={}),
        "config": ConfigState(dict(DEFAULTS), {n: Owned(digest(v), digest(v)) for n, v in DEFAULTS.items()}),
        "health": Health(FSID, "HEALTH_OK"),
    }
    return Observation(**{**found, **changes})


def plan(cluster: CephCluster, seen: Observation) -> list[str]:
    return told(analyze(cluster, seen, NOW).steps)


def test_a_cluster_at_rest_has_an_empty_plan_and_is_looked_at_now_and_then() -> None:
    cluster = cluster_of()
    assert analyze(cluster, at_rest(cluster), NOW) == Plan(look_again=45.0)


def test_a_new_cluster_starts_with_its_release_its_identity_and_the_users_override() -> None:
    cluster = cluster_of()
    assert plan(cluster, Observation(mons=MonObservation(nodes=nodes("n1")))) == [
        "configuration override: Create",
        "cluster: CreateIdentity <- the image's release to be known, which the type of its keys goes by",
    ]


@pytest.mark.parametrize(
    ("version", "key_type"),
    [(CephVersion(18, 2, 7), "aes"), (CephVersion(20, 2, 3), "aes"), (CephVersion(20, 2, 4), "aes256k")],
)
def test_the_key_of_mons_is_of_the_newest_type_that_their_release_knows(version: CephVersion, key_type: str) -> None:
    cluster = cluster_of()
    seen = Observation(upgrade=Upgrade(target=Release("x", version)), live=live_objects(OVERRIDE))
    (step,) = analyze(cluster, seen, NOW).steps
    assert isinstance(step.action, CreateIdentity)
    assert step.action.mon_key_type == key_type


def test_nothing_is_reconciled_once_the_destruction_of_data_is_confirmed() -> None:
    confirmed = cluster_of({"cleanupPolicy": {"confirmation": "yes-really-destroy-data"}})
    wait = ["cluster: Wait <- the CephCluster to be deleted, or the confirmation to be taken away"]
    assert told(analyze(confirmed, Observation(), NOW).steps) == wait
    assert told(analyze(confirmed, at_rest(confirmed, live={}), NOW).steps) == wait


def test_an_identity_is_never_made_anew_while_mons_exist() -> None:
    cluster = cluster_of()
    (step,) = analyze(cluster, at_rest(cluster, identity=None), NOW).steps
    assert step.waits_for.startswith("Secret rook-ceph-mon to be restored from a backup: mons exist")


def test_a_damaged_identity_is_left_alone() -> None:
    cluster = cluster_of()
    seen = at_rest(cluster, identity=None, identity_problem="Secret rook-ceph-mon lacks fsid")
    assert plan(cluster, seen) == ["cluster: Wait <- Secret rook-ceph-mon lacks fsid"]


def test_mgr_settings_and_osds_begin_with_the_first_mon_in_quorum() -> None:
    cluster = cluster_of()
    mons = running_mons(cluster, "a")
    live = {**mons.live, **live_objects(OVERRIDE), **keyrings(cluster)}
    seen = at_rest(
        cluster,
        live=live,
        mons=replace(mons, live=live),
        mgrs=MgrObservation(state=MgrState(), live=live),
        config=ConfigState(),
    )
    subjects = [s.partition(":")[0] for s in plan(cluster, seen)]
    assert {"mon b", "mgr a", "setting global mon_allow_pool_delete"} <= set(subjects)


def test_a_refused_release_changes_nothing_that_runs() -> None:
    cluster = cluster_of()
    seen = at_rest(cluster, upgrade=replace(RUNNING, refusal="no"))
    assert plan(cluster, seen) == ["Ceph version: Wait <- no"]


NEWER = Release("ceph:v18.2.9", CephVersion(18, 2, 9))


def upgrading(cluster: CephCluster, *done: Release, **changes: Any) -> Observation:
    declared = frozenset({RELEASE, *done})
    return at_rest(cluster, upgrade=Upgrade(wanted=NEWER, target=NEWER, declared=declared), **changes)


def test_an_upgrade_begins_with_one_mon_and_the_mgr_waits() -> None:
    cluster = cluster_of()
    assert plan(cluster, upgrading(cluster)) == [
        "mon a: Apply",
        "mon b: Apply <- mon a to be restarted",
        "mon c: Apply <- mon a to be restarted",
        "mgr a: Apply <- mon a to be restarted",
    ]


ERROR = Health(FSID, "HEALTH_ERR", {"OSD_FULL": CephHealthMessage(severity="HEALTH_ERR", message="full")})


def test_an_upgrade_waits_while_the_cluster_is_in_error() -> None:
    cluster = cluster_of()
    waits = "the cluster to leave HEALTH_ERR (OSD_FULL), or spec.skipUpgradeChecks"
    assert plan(cluster, upgrading(cluster, health=ERROR)) == [
        f"{who}: Apply <- {waits}" for who in ("mon a", "mon b", "mon c", "mgr a")
    ]


def test_an_error_holds_an_upgrade_until_the_last_daemon_of_the_last_kind() -> None:
    cluster = cluster_of()
    mons = running_mons(cluster, "abc", release=NEWER)
    seen = upgrading(cluster, NEWER, health=ERROR)
    seen = replace(seen, mons=replace(mons, live={**seen.live, **mons.live}))
    waits = "the cluster to leave HEALTH_ERR (OSD_FULL), or spec.skipUpgradeChecks"
    assert plan(cluster, seen) == [f"mgr a: Apply <- {waits}"]


@pytest.mark.parametrize("code", sorted(HARMLESS))
def test_errors_of_other_things_hold_no_upgrade(code: str) -> None:
    cluster = cluster_of()
    message = CephHealthMessage(severity="HEALTH_ERR", message="why")
    warning = CephHealthMessage(severity="HEALTH_WARN", message="slow")
    harmless = Health(FSID, "HEALTH_ERR", {code: message, "SLOW_OPS": warning})
    assert plan(cluster, upgrading(cluster, health=harmless))[0] == "mon a: Apply"
    both = Health(FSID, "HEALTH_ERR", {code: message, "PG_DAMAGED": message})
    assert plan(cluster, upgrading(cluster, health=both))[0] == (
        "mon a: Apply <- the cluster to leave HEALTH_ERR (PG_DAMAGED), or spec.skipUpgradeChecks"
    )


def test_the_check_can_be_skipped() -> None:
    cluster = cluster_of({"skipUpgradeChecks": True})
    assert plan(cluster, upgrading(cluster, health=ERROR))[0] == "mon a: Apply"


def test_an_error_holds_back_upgrades_only() -> None:
    cluster = cluster_of()
    assert plan(cluster, at_rest(cluster, health=ERROR)) == []


def test_settings_wait_for_the_secrets_that_they_refer_to() -> None:
    cluster = cluster_of()
    seen = at_rest(cluster, missing_secrets=("key a of Secret b", "key c of Secret d"))
    assert plan(cluster, seen) == ["settings: Wait <- key a of Secret b and key c of Secret d to exist"]


def test_a_cluster_that_runs_elsewhere_is_not_served() -> None:
    cluster = cluster_of({"external": {"enable": True}})
    (step,) = analyze(cluster, Observation(), NOW).steps
    assert "spec.external.enable" in step.waits_for


@pytest.mark.parametrize(
    ("since", "pause"),
    [(None, 1.0), ("2027-01-15T07:59:50Z", 1.0), ("2027-01-15T07:58:20Z", 5.0), ("2027-01-15T07:00:00Z", 45.0)],
)
def test_a_cluster_that_stands_still_is_looked_at_less_and_less_often(since: str | None, pause: float) -> None:
    steps = [{"subject": "mon a", "action": "Wait", "state": "Waiting", "since": since}] if since else []
    cluster = cluster_of(status={"plan": {"steps": steps}})
    seen = at_rest(cluster, missing_secrets=("key a of Secret b",))
    assert analyze(cluster, seen, NOW).look_again == pause


@pytest.mark.parametrize("daemon", ["mon", "osd", "status"])
def test_the_spec_says_how_often_a_cluster_at_rest_is_looked_at(daemon: str) -> None:
    cluster = cluster_of({"healthCheck": {"daemonHealth": {daemon: {"interval": "10s"}}}})
    assert analyze(cluster, at_rest(cluster), NOW).look_again == 10.0


def test_what_only_a_cluster_that_had_mons_leaves() -> None:
    cluster = cluster_of()
    ours, others = BlockDevice(osd_id=3, ceph_fsid=FSID), BlockDevice(osd_id=4, ceph_fsid="another")
    labels = {"app": "rook-ceph-osd"}
    on_claims = a_cluster({"mon": {"volumeClaimTemplate": {"spec": {}}}})
    live = live_objects(
        {"kind": "Deployment", "metadata": {"name": "rook-ceph-osd-0", "namespace": "rook-ceph", "labels": labels}},
        claim(on_claims.spec.mon, a_context(on_claims), "a"),
        *keyrings(cluster).values(),
        *running_mons(cluster, "abc").live.values(),
    )
    reports = {"n1": (msgspec.structs.replace(ours, path="/dev/sdb"), others)}
    ground = Ground(cluster=cluster, now=NOW, live=live, reports=reports)
    assert remnants(PARTS, replace(ground, identity=IDENTITY)) == (
        "Deployment rook-ceph-osd-0",
        "PersistentVolumeClaim rook-ceph-mon-a",
        "osd.3 on /dev/sdb of node n1",
    )
    assert remnants(PARTS, replace(ground, live={})) == ()


def test_an_identity_that_was_lost_is_not_made_up_again_beside_osds() -> None:
    seen = Observation(mons=MonObservation(remnants=("Deployment rook-ceph-osd-0",)), live=live_objects(OVERRIDE))
    (step,) = analyze(cluster_of(), seen, NOW).steps
    assert step.waits_for.startswith("Secret rook-ceph-mon to be restored from a backup")


def test_a_deployment_that_somebody_made_beside_a_daemons_is_not_taken_for_it() -> None:
    cluster = cluster_of()
    own = deployment_view(mgr_deployment(cluster.spec.mgr, a_context(cluster), Daemon(type="mgr", id="a")))
    meta = msgspec.structs.replace(own.metadata, name="rook-ceph-mgr-a-debug")
    debug = msgspec.structs.replace(own, metadata=meta)
    ground = Ground(cluster=cluster, now=NOW, deployments=(own, debug))
    assert ground.daemons("rook-ceph-mgr") == {"a": own}
    assert replace(ground, deployments=(debug,)).daemons("rook-ceph-mgr") == {}


INTENTS: list[tuple[dict[str, Any], str, bool]] = [
    ({"network": {"provider": "multus", "selectors": {"public": "x"}}}, "spec.network.provider=multus", False),
    ({"network": {"dualStack": True}}, "spec.network.dualStack", False),
    ({"mon": {"stretchCluster": {"zones": [{"name": "a"}]}}}, "spec.mon.stretchCluster", False),
    (
        {"storage": {"storageClassDeviceSets": [{"name": "set1", "count": 1, "volumeClaimTemplates": []}]}},
        "spec.storage.storageClassDeviceSets",
        True,
    ),
]


@pytest.mark.parametrize(("spec", "subject", "is_made"), INTENTS, ids=[subject for _, subject, _ in INTENTS])
def test_what_changes_the_cluster_and_is_not_served_keeps_it_from_ready_and_from_being_made_where_it_could_not_change(
    spec: dict[str, Any], subject: str, *, is_made: bool
) -> None:
    cluster = cluster_of(spec)
    new = [step.subject for step in analyze(cluster, Observation(upgrade=RUNNING), NOW).steps]
    assert subject in new
    assert (set(new) != {subject}) is is_made
    running = [step.subject for step in analyze(cluster, at_rest(cluster_of()), NOW).steps]
    assert subject in running


@pytest.mark.parametrize(
    ("interval", "seconds"), [("10s", 10), ("1min", 45), ("45 s", 45), ("0s", 45), ("0", 45), ("100us", 1), ("", 45)]
)
def test_a_cluster_at_rest_is_looked_at_in_time_whatever_stands_in_its_intervals(interval: str, seconds: float) -> None:
    cluster = cluster_of({"healthCheck": {"daemonHealth": {"status": {"interval": interval}}}})
    assert analyze(cluster, at_rest(cluster), NOW).look_again == seconds


def test_values_that_mean_nothing_are_named() -> None:
    health = {"mon": {"interval": "45 s", "timeout": "10 min"}, "status": {"interval": "1min"}}
    storage = {"deviceFilter": "[", "nodes": [{"name": "a", "devicePathFilter": "(?=sd)"}]}
    spec = {"healthCheck": {"daemonHealth": health}, "mon": {"count": 4}, "storage": storage}
    spec["mgr"] = {"modules": [{"enabled": True}]}
    found = invalid(cluster_of(spec).spec, PARTS)
    assert [problem.partition(":")[0] for problem in found] == [
        "healthCheck.daemonHealth.mon.interval",
        "healthCheck.daemonHealth.status.interval",
        "healthCheck.daemonHealth.mon.timeout",
        "mon.count",
        "mgr.modules[0].name",
        "storage.deviceFilter",
        "storage.nodes[0].devicePathFilter",
    ]
    assert invalid(cluster_of().spec, PARTS) == ()


def test_only_what_has_an_owner_has_the_label_by_which_argo_cd_prunes() -> None:
    cluster = cluster_of()
    labels = cluster_labels(owner_of(cluster), "rook-ceph-mon")
    assert INSTANCE in labels
    assert INSTANCE not in owner_of(cluster).metadata("rook-ceph-mon", labels, owned=False)["labels"]
    objects = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in SNAPSHOTS.glob("*.yaml")]
    assert objects
    for found in (obj["metadata"] for obj in objects):
        assert "ownerReferences" in found or INSTANCE not in found["labels"], found["name"]
