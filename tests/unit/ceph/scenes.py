"""Scenes of a cluster's life, in which a spec is looked at: what is there is of the scene's own spec, always the same.

What comes out of a look is all that a spec can bring about: what is planned, with the objects that would be written,
what is asked of Ceph, when the next look comes, and what the status shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph.status import CephHealthMessage
from controller.apis.rook.node_report import BlockDevice
from controller.ceph.access.config import ConfigState, digest
from controller.ceph.access.health import Health
from controller.ceph.access.rados import CephError
from controller.ceph.access.users import given
from controller.ceph.cluster import deletion, version
from controller.ceph.cluster import settings as config
from controller.ceph.cluster.settings import DEFAULTS
from controller.ceph.csi.users import RBD_CAPS as CSI_CAPS
from controller.ceph.csi.users import secret_name
from controller.ceph.mgr.analyze import CAPS
from controller.ceph.mgr.objects import keyring_name, metrics_service, mgr_deployment
from controller.ceph.mgr.observe import MgrObservation, MgrState
from controller.ceph.mon.observe import MonObservation
from controller.ceph.osd import disruption
from controller.ceph.osd import prepare_job as osd_prepare
from controller.ceph.osd.act import DeployOsd
from controller.ceph.osd.objects import Osd, osd_deployment
from controller.ceph.osd.observation import OsdObservation
from controller.ceph.osd.observe import observe
from controller.ceph.osd.spec import OsdSpec
from controller.ceph.pods import Daemon, Release, owner_of
from controller.ceph.releases import CephVersion, Running
from controller.framework.monitoring import Monitored
from controller.framework.owned import Owned
from controller.framework.plan import preview
from controller.runtime.kube import Deployment, Secret
from tests.unit.ceph.answers import FakeCeph
from tests.unit.ceph.cases import (
    FSID,
    RELEASE,
    a_cluster,
    a_context,
    a_node,
    a_pod,
    deployment_view,
    live_object,
    live_objects,
    live_services,
    running_mons,
)
from tests.unit.ceph.cluster.test_kind import IDENTITY, NOW, OVERRIDE, keyrings
from tests.unit.ceph.observed import Observation, analyze, build

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.apis.ceph import CephCluster
    from informers import JsonObject

NEWER = Release("ceph:v18.2.9", CephVersion(18, 2, 9))
SCRIPTS = "rook/operator:v1"
OSDS = tuple(
    Osd(osd_id=n, uuid=f"354e9e31-3991-4647-ad71-9e21444f95c{n}", node=node, path=path, found_class="hdd")
    for n, (node, path) in enumerate((("n1", "/dev/sdb"), ("n2", "/dev/sdb"), ("n3", "/dev/sdb"), ("n1", "/dev/sdd")))
)
GIB = 1024**3
NODES = tuple(a_node(f"n{n}", zone=zone) for n, zone in enumerate("abcab", start=1))
SELECTED: JsonObject = {"storage": {"useAllNodes": True, "useAllDevices": True}}
CONFIRMED: JsonObject = {"cleanupPolicy": {"confirmation": deletion.CONFIRMATION}}
CREDENTIALS = msgspec.convert(
    {"metadata": {"name": "creds"}, "data": {"a": b"1", "b": b"2"}}, Secret, builtin_types=(bytes,)
)
CLEAN, UNCLEAN = {"active+clean": 30}, {"active+clean": 20, "active+undersized+degraded": 10}
FULL = {"OSD_FULL": CephHealthMessage(severity="HEALTH_ERR", message="full")}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A moment of a cluster's life.

    Attributes:
        spec: The cluster's spec over a plain one; what is there was made by it.
        runs: What its daemons run.
        version: What is known to be in its image; empty: nothing.
        made: Whether there are daemons; else only an identity, or not even that.
        known: Whether there is an identity.
        mons: As `running_mons` takes them.
        down: OSDs that are down, of the four.
        out: Those of them that are out.
        free: Whether each node has a device, sdc, that is free.
        pgs: Placement groups by state.
        checks: What Ceph's health complains of.
        cordoned: Whether the node of the first OSD is, an hour after `noout` was set for it.
        users: Whether the users of volumes are there.
        monmap: Mons in the map, where they are others than the members.
        quorum: Who is in quorum, and for how long the others have been out of it.
        deleting: Whether it is being deleted; its daemons are gone then.
        volumes: The names of PersistentVolumes that use it.
        monitors: Whether the Kubernetes cluster has ServiceMonitors.
    """

    spec: JsonObject = field(default_factory=dict)
    runs: Release = RELEASE
    version: str = "18.2.7-0"
    made: bool = True
    known: bool = True
    down: frozenset[int] = frozenset()
    out: frozenset[int] = frozenset()
    free: bool = False
    pgs: Mapping[str, int] = field(default_factory=lambda: CLEAN)
    checks: Mapping[str, CephHealthMessage] = field(default_factory=dict)
    cordoned: bool = False
    users: bool = True
    monmap: str = "abc"
    quorum: str = "abc"
    deleting: bool = False
    volumes: tuple[str, ...] = ()
    monitors: bool = False

    @property
    def full_spec(self) -> JsonObject:
        """The spec with what no cluster is without."""
        return {"cephVersion": {"image": RELEASE.image}, "dataDirHostPath": "/var/lib/rook", **self.spec}

    def cluster(self, spec: JsonObject) -> CephCluster:
        """The cluster of the scene with this spec."""
        meta: JsonObject = {"name": "my-cluster", "namespace": "rook-ceph", "uid": "u1", "generation": 3}
        if self.deleting:
            meta["deletionTimestamp"] = "2027-01-15T08:00:00Z"
        image = self.full_spec["cephVersion"]["image"]
        known = {"version": {"image": image, "version": self.version}} if self.version else {}
        return a_cluster(spec, metadata=meta, status=known)

    async def look(self, spec: JsonObject) -> Any:
        """All that comes of a look at the cluster with this spec, in a form that can be compared."""
        cluster, ceph = self.cluster(spec), self._ceph()
        seen = await self._seen(cluster, ceph)
        plan = analyze(cluster, seen, NOW)
        shown = build(cluster, seen, preview(plan), at=NOW)
        return [_plain(cluster, step) for step in plan.steps], plan.look_again, shown, ceph.asked

    def is_impossible(self, looked: Any) -> bool:
        """Whether a look found that the spec cannot be carried out at all, which is no proof of anything."""
        return any(step["reason"] == "the spec cannot be carried out" for step in looked[0])

    def _ceph(self) -> FakeCeph:
        osds = [
            {
                "osd": one.osd_id,
                "uuid": one.uuid,
                "up": int(one.osd_id not in self.down),
                "in": int(one.osd_id not in self.out),
                "state": [],
            }
            for one in OSDS
        ]
        dump = {
            "osds": osds,
            "require_osd_release": "reef",
            "pools": [{"pool_name": "p", "crush_rule": 0}],
            "crush_node_flags": {"n1-example": ["noout"]} if self.cordoned else {},
        }
        tree = {"nodes": [{"id": one.osd_id, "device_class": "hdd", "type": "osd"} for one in OSDS], "stray": []}
        refused = CephError(16, "4 PGs") if self.checks else None
        return FakeCeph(
            {
                "osd dump": dump,
                "osd tree": tree,
                "osd crush rule dump": [{"rule_id": 0, "steps": [{"op": "chooseleaf_firstn", "type": "host"}]}],
                "osd count-metadata": lambda property: (  # noqa: A006 -- the mons' name
                    {"bluestore" if property == "osd_objectstore" else "reef": len(OSDS)}
                ),
                "osd ok-to-stop": refused,
                "osd safe-to-destroy": lambda ids: {"safe_to_destroy": [int(n) for n in ids]},
            }
        )

    async def seen(self, cluster: CephCluster) -> Observation:
        """What is there of the scene's cluster, looked at with another spec."""
        return await self._seen(cluster, self._ceph())

    async def _seen(self, cluster: CephCluster, ceph: FakeCeph) -> Observation:
        before = self.cluster(self.full_spec)
        mons, deployments = self._mons(before), self._osds(before)
        mgr = Daemon(type="mgr", id="a")
        manager = mgr_deployment(before.spec.mgr, a_context(before, self.runs), mgr)
        live: dict[tuple[str, str], JsonObject] = {}
        if self.known:
            live |= {**live_objects(OVERRIDE), **keyrings(before)}
        if self.made and not self.deleting:
            live |= mons.live
            live |= live_objects(manager, metrics_service(a_context(before)), *self._secrets(mgr))
            live |= {("Deployment", obj["metadata"]["name"]): obj for obj in deployments}
            live |= self._drain(before)
        elif self.deleting:
            live |= {key: obj for key, obj in mons.live.items() if key[0] != "Deployment"}
        else:
            live |= live_services(before, "a", "b", "c")
        running = frozenset({self.runs} if self.made else ())
        image = version.look(cluster, live, (), now=NOW)
        runs = Running(self.runs.version, self.runs.version) if self.made else Running()
        upgrade = version.upgrade_of(cluster, image, Running(), running)
        views = [msgspec.convert(obj, Deployment) for obj in deployments] if self.made else []
        seen_osds = OsdObservation(now=NOW, nodes=NODES)
        if self.known and upgrade.target is not None:
            seen_osds = await observe(
                OsdSpec.of(cluster),
                a_context(cluster, upgrade.target),
                now=NOW,
                nodes=NODES,
                reports=self._reports(),
                live=live,
                deployments=views,
                all_jobs=(),
                pods=(),
                ceph=ceph if self.made and not self.deleting else None,
                script_image=SCRIPTS,
            )
        values, missing = config.secret_values(cluster, {"creds": CREDENTIALS}.get)
        health = Health(FSID, "HEALTH_ERR" if self.checks else "HEALTH_OK", self.checks, pgs=self.pgs)
        return Observation(
            live=live,
            identity=IDENTITY if self.known else None,
            probing=image.steps,
            upgrade=replace(upgrade, running=runs),
            mons=replace(mons, live=live),
            mgrs=MgrObservation(
                monitors=Monitored(self.monitors),
                state=MgrState(active="a", available=True, modules=frozenset({"prometheus"})) if self.made else None,
                deployments={"a": deployment_view(manager)} if self.made else {},
                pods={"a": (a_pod(mgr, labels={"mgr_role": "active"}),)},
                live=live,
            ),
            osds=seen_osds,
            drains=disruption.scene(seen_osds, self.pgs),
            config=_settled() if self.made else None,
            health=health if self.made else None,
            secret_values=values,
            missing_secrets=missing,
            dependents=self._dependents(cluster) if self.deleting else (),
        )

    def _dependents(self, cluster: CephCluster) -> tuple[str, ...]:
        kept = cluster.spec.cleanup_policy.allow_uninstall_with_volumes
        return () if kept else tuple(f"PersistentVolume {name}" for name in self.volumes)

    def _mons(self, before: CephCluster) -> MonObservation:
        known = {node.metadata.name: node for node in NODES}
        if not self.made:
            return MonObservation(nodes=known)
        out = {mon_id: 3000.0 for mon_id in "abc" if mon_id not in self.quorum}
        return running_mons(
            before, "abc", quorum=self.quorum, monmap=self.monmap, release=self.runs, nodes=known, seconds_out=out
        )

    def _osds(self, before: CephCluster) -> list[JsonObject]:
        found: list[JsonObject] = []
        for one in OSDS:
            number = int(one.node.removeprefix("n")) - 1
            serves = int(one.osd_id not in self.down)
            chosen = before.spec.storage.config.get("deviceClass", "")
            settings = {"deviceClass": chosen} if chosen else {}
            asked = replace(one, settings=settings)
            obj = live_object(
                osd_deployment(before.spec.storage, a_context(before, self.runs), asked, NODES[number], {}, SCRIPTS)
            )
            replicas = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": serves, "readyReplicas": serves}
            found.append({**obj, "status": replicas})
        return found

    def _secrets(self, mgr: Daemon) -> list[JsonObject]:
        def secret(name: str, caps: Mapping[str, str] | None = None) -> JsonObject:
            meta = {"name": name, "namespace": "rook-ceph", "annotations": given(caps) if caps else {}}
            return {"kind": "Secret", "metadata": meta}

        users = [secret(secret_name(user), caps) for user, caps in CSI_CAPS.items()] if self.users else []
        return [secret(keyring_name(mgr), CAPS), secret(osd_prepare.BOOTSTRAP_SECRET), *users]

    def _drain(self, before: CephCluster) -> dict[tuple[str, str], JsonObject]:
        """What drains left: the budget of a cluster at rest, or the state of one whose first node is cordoned."""
        if not self.cordoned:
            scene = disruption.Scene(now=NOW, level="host", pgs=CLEAN)
            return live_objects(
                *disruption.budgets(before.spec.disruption_management, owner_of(before), disruption.State(), scene)
            )
        hour = 3600.0
        state = disruption.State(
            draining="n1-example",
            since=NOW - hour,
            missing=frozenset({0}),
            hold_out=True,
            held_at={"n1-example": NOW - hour},
        )
        return live_objects(disruption.state_config_map(owner_of(before), state))

    def _reports(self) -> dict[str, tuple[BlockDevice, ...]]:
        found = {node.metadata.name: [_disk("sdc")] if self.free else [] for node in NODES}
        for one in OSDS if self.made else ():
            label = {"ceph_fsid": FSID, "osd_id": one.osd_id, "osd_uuid": one.uuid, "signatures": ("ceph_bluestore",)}
            found[one.node].append(_disk(one.path.removeprefix("/dev/"), **label))
        return {node: tuple(devices) for node, devices in found.items()}


def _disk(name: str, **label: Any) -> BlockDevice:
    return BlockDevice(**{"name": name, "path": f"/dev/{name}", "type": "disk", "size": 10 * GIB, **label})


def _settled() -> ConfigState:
    return ConfigState(dict(DEFAULTS), {name: Owned(digest(v), digest(v)) for name, v in DEFAULTS.items()})


def _plain(cluster: CephCluster, step: Any) -> dict[str, Any]:
    """A step with all that carrying it out would write."""
    found = {f.name: getattr(step, f.name) for f in fields(step) if f.name != "action"}
    action = step.action
    found["action"] = (
        type(action).__name__,
        {f.name: getattr(action, f.name) for f in fields(action)} if is_dataclass(action) else {},
    )
    if isinstance(action, DeployOsd):
        found["action"] = ("DeployOsd", action.osd, action.difference, action.obj)
    if isinstance(action, osd_prepare.PrepareDevices):
        uuids = tuple(one.uuid for one in OSDS[: len(action.targets)])
        found["job"] = osd_prepare.prepare_job(cluster.spec.storage, a_context(cluster), action, uuids, SCRIPTS)
    return found


def _named(name: str = "n1.example", **more: Any) -> JsonObject:
    return {"storage": {"nodes": [{"name": name, **more}, {"name": "n2.example"}, {"name": "n3.example"}]}}


def _storage(**more: Any) -> JsonObject:
    return {"storage": {**SELECTED["storage"], **more}}


_NEW_IMAGE: JsonObject = {"cephVersion": {"image": NEWER.image}}

SCENES: Mapping[str, Scene] = {
    "nothing is there": Scene(made=False, known=False, version=""),
    "a release that nobody knows": Scene(version="99.2.0-0"),
    "an identity and no mons": Scene(made=False, spec=SELECTED),
    "mons for some zones": Scene(made=False, spec={"mon": {"zones": [{"name": "a"}]}}),
    "at rest": Scene(spec=SELECTED),
    "at rest, with other modules": Scene(spec={"mgr": {"modules": [{"name": "nfs", "enabled": True}]}}),
    "free devices": Scene(spec=SELECTED, free=True),
    "free devices that nothing selects": Scene(spec={"storage": {"useAllNodes": True}}, free=True),
    "free devices, of nodes by name": Scene(spec=_named(), free=True),
    "free devices, of nodes by name, all of them": Scene(
        spec={"storage": {**_named()["storage"], "useAllDevices": True}}, free=True
    ),
    "free devices by name": Scene(spec={"storage": {"useAllNodes": True, "devices": [{"name": "sdc"}]}}, free=True),
    "free devices by name, of nodes by name": Scene(spec=_named(devices=[{"name": "sdc"}]), free=True),
    "OSDs by name": Scene(spec={"storage": {"useAllNodes": True, "devices": [{"name": "sdb"}]}}),
    "OSDs by name, of nodes by name": Scene(spec=_named(devices=[{"name": "sdb"}])),
    "placement for all": Scene(
        spec={**SELECTED, "placement": {"all": {"tolerations": [{"key": "all", "operator": "Exists"}]}}}
    ),
    "another class of devices is wanted": Scene(spec=_storage(config={"deviceClass": "ssd"})),
    "no users of volumes": Scene(spec=SELECTED, users=False),
    "values from Secrets that are missing": Scene(
        spec={"cephConfigFromSecret": {"x": {"x": {"name": "creds", "key": "none"}}}}
    ),
    "a mon of somebody else": Scene(monmap="abcx"),
    "a mon that is dead for long": Scene(quorum="ab"),
    "an upgrade": Scene(spec={**SELECTED, **_NEW_IMAGE}, version="18.2.9-0"),
    "an upgrade beside an error": Scene(spec={**SELECTED, **_NEW_IMAGE}, version="18.2.9-0", checks=FULL),
    "an OSD that is down and out": Scene(spec=SELECTED, down=frozenset({0}), out=frozenset({0})),
    "reads from the nearest OSD": Scene(spec={**SELECTED, "csi": {"readAffinity": {"enabled": True}}}),
    "metrics for the Prometheus operator": Scene(spec={"monitoring": {"enabled": True}}, monitors=True),
    "a drain": Scene(spec=SELECTED, down=frozenset({0}), cordoned=True, pgs=UNCLEAN),
    "deletion with consent": Scene(spec=CONFIRMED, deleting=True),
    "deletion beside a volume": Scene(spec=CONFIRMED, deleting=True, volumes=("pv",)),
}
