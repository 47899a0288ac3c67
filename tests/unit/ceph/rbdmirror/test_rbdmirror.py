"""Daemons that mirror images: their Deployment, plans by table, and the Secrets that name other clusters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from controller.apis.ceph import CEPH_RBD_MIRROR, CephRBDMirror
from controller.ceph.access.users import CreateKeyring, given
from controller.ceph.mirroring.act import ImportPeer, RemovePeer
from controller.ceph.mirroring.daemon import context, deployment_of
from controller.ceph.mirroring.daemon_plan import RemoveUser
from controller.ceph.mirroring.daemon_state import DaemonObservation
from controller.ceph.mirroring.images import MirrorState, Peer
from controller.ceph.mirroring.observe import MirrorObservation
from controller.ceph.mirroring.place import Mode, Place
from controller.ceph.mirroring.sources import source
from controller.ceph.pods import Release
from controller.ceph.rbdmirror.analyze import analyze
from controller.ceph.rbdmirror.kind import FINALIZER, MIRRORS, register
from controller.ceph.rbdmirror.observe import Observer, RbdMirrorObservation, SourceOfPool
from controller.ceph.rbdmirror.spec import DAEMON, unserved
from controller.ceph.rbdmirror.status import show
from controller.ceph.releases import CephVersion
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo, Look
from controller.framework.owned import Owned
from controller.framework.plan import APPLY, preview
from controller.runtime.kube import Deployment
from controller.testkit import virtual_time
from tests.unit.ceph import mirrors
from tests.unit.ceph.cases import RELEASE, live_object
from tests.unit.ceph.filesystems import cluster
from tests.unit.ceph.mirror_daemons import wait_for_their_cluster
from tests.unit.ceph.mirrors import FSIDS, Site, a_secret

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from controller.ceph.mirroring.daemon_state import Caches, DaemonObserver
    from controller.ceph.pods import Context
    from informers import JsonObject

NEWER = Release("ceph:v18.2.9", CephVersion(18, 2, 9))
KEY = ("rook-ceph", "my-rbd-mirror")


def a_mirror(spec: JsonObject | None = None, *, deleting: bool = False) -> CephRBDMirror:
    meta: JsonObject = {"namespace": KEY[0], "name": KEY[1], "uid": "m1", "generation": 1}
    if deleting:
        meta["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    return msgspec.convert({"metadata": meta, "spec": {"count": 1, **(spec or {})}}, CephRBDMirror)


def given_of(mirror: CephRBDMirror, release: Release = RELEASE) -> Context:
    return context(DAEMON, CEPH_RBD_MIRROR, mirror.metadata, mirror.spec, cluster(), release)


def seen(
    mirror: CephRBDMirror, *, runs: Release = RELEASE, wanted: Release = RELEASE, rolled_out: bool = True, **more: Any
) -> DaemonObservation:
    """Daemons that run as they should."""
    obj = live_object(deployment_of(DAEMON, given_of(mirror, runs), 1))
    status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(rolled_out)}
    meta = {"name": DAEMON.keyring, "namespace": KEY[0], "uid": "k1", "annotations": given(DAEMON.caps)}
    live = {("Deployment", DAEMON.name): obj, ("Secret", DAEMON.keyring): {"kind": "Secret", "metadata": meta}}
    deployment = msgspec.convert({**obj, "status": status}, Deployment)
    return DaemonObservation(**{"context": given_of(mirror, wanted), "deployment": deployment, "live": live, **more})


def plan(mirror: CephRBDMirror, daemons: DaemonObservation, *sources: SourceOfPool) -> tuple[list[Any], list[str]]:
    """The actions that may be carried out, and what the others wait for."""
    steps = analyze(mirror, RbdMirrorObservation(daemons, sources)).steps
    return [s.action for s in steps if s.held_by is None], [s.waits_for for s in steps if s.waits_for]


class TestDaemons:
    def test_the_deployment(self) -> None:
        spec = {
            "count": 2,
            "placement": {"tolerations": [{"key": "storage", "operator": "Exists"}]},
            "resources": {"limits": {"memory": "1Gi"}},
            "annotations": {"team": "a"},
            "labels": {"tier": "dr"},
            "priorityClassName": "high",
        }
        mirror = a_mirror(spec)
        obj = deployment_of(DAEMON, given_of(mirror), mirror.spec.count)
        assert (obj["metadata"]["name"], obj["spec"]["replicas"]) == ("rook-ceph-rbd-mirror-a", 2)
        assert obj["metadata"]["ownerReferences"][0]["kind"] == "CephRBDMirror"
        template = obj["spec"]["template"]
        assert template["metadata"]["annotations"] == {"team": "a"}
        labels = template["metadata"]["labels"]
        assert obj["spec"]["selector"]["matchLabels"].items() <= labels.items()
        assert (labels["app"], labels["rook_cluster"], labels["tier"]) == ("rook-ceph-rbd-mirror", "rook-ceph", "dr")
        pod = template["spec"]
        assert pod["priorityClassName"] == "high"
        assert "storage" in {toleration["key"] for toleration in pod["tolerations"]}
        (container,) = pod["containers"]
        assert container["resources"] == {"limits": {"memory": "1Gi"}}
        assert "--name=client.rbd-mirror.a" in container["args"]
        assert container["securityContext"]["privileged"] is False
        assert "/run/ceph/ceph-rbd-mirror.a.asok" in container["livenessProbe"]["exec"]["command"]
        assert {"name": "keyring", "secret": {"secretName": "rook-ceph-rbd-mirror-a-keyring"}} in pod["volumes"]

    def test_are_made_with_a_key(self) -> None:
        mirror = a_mirror()
        actions, _ = plan(mirror, DaemonObservation(context=given_of(mirror)))
        assert [type(action) for action in actions] == [CreateKeyring, Apply]
        assert actions[0].caps == {"mon": "profile rbd-mirror", "osd": "profile rbd"}
        assert plan(mirror, seen(mirror)) == ([], [])

    def test_get_a_release_after_those_that_are_first(self) -> None:
        mirror = a_mirror()
        hold = "osd 1 to run Ceph 18.2.9-0"
        assert plan(mirror, seen(mirror, wanted=NEWER, hold=hold)) == ([], [hold])
        (apply,), _ = plan(mirror, seen(mirror, wanted=NEWER))
        assert isinstance(apply, Apply)

    @pytest.mark.parametrize(
        ("observation", "waiting"),
        [
            ({"waits_for": "CephCluster c to answer"}, "CephCluster c to answer"),
            ({"elder": "other"}, "one of the two to be deleted"),
            ({"rolled_out": False}, "its pods to be available"),
        ],
    )
    def test_what_they_wait_for(self, observation: JsonObject, waiting: str) -> None:
        assert plan(a_mirror(), seen(a_mirror(), **observation)) == ([], [waiting])

    def test_of_an_object_that_goes_go_with_their_user(self) -> None:
        gone = a_mirror(deleting=True)
        actions, _ = plan(gone, seen(gone))
        assert [type(action) for action in actions] == [Delete, Delete, RemoveUser, LetGo]
        assert plan(gone, DaemonObservation(cluster_gone=True)) == ([LetGo()], [])
        assert plan(gone, seen(gone, elder="other")) == ([LetGo()], []), "the elder's daemons stay"
        assert plan(gone, DaemonObservation(waits_for="c to answer")) == ([], ["c to answer"])

    def test_status(self) -> None:
        mirror = a_mirror()
        observation = RbdMirrorObservation(seen(mirror))
        look = Look(obj=mirror, spec={"count": 1}, mode=APPLY, now=0.0)
        status = show(look, observation, preview(analyze(mirror, observation)))
        assert (status.phase, {c.type: c.status for c in status.conditions}["FieldsHonoured"]) == ("Ready", "True")
        assert unserved({"count": 1, "peers": {"secretNames": ["a"]}, "placement": {"x": 1}}) == ()


class TestPeers:
    token = source(a_secret("peer", {"token": Site("b", {}).token("k")}), "peer")
    state = MirrorState(mode=Mode.IMAGE, pool_mode=Mode.IMAGE)

    def source(self, state: MirrorState | None, **owned: Owned) -> SourceOfPool:
        records = {name.replace("_", "-"): record for name, record in owned.items()}
        found = MirrorObservation(state=state, sources=(self.token,), owned=records)
        return SourceOfPool("peer", "replicapool", found)

    def test_are_imported_for_the_pool_that_the_secret_names(self) -> None:
        mirror = a_mirror({"peers": {"secretNames": ["peer"]}})
        actions, _ = plan(mirror, seen(mirror), self.source(self.state))
        assert actions == [ImportPeer(Place("replicapool"), "peer", "peer-of-daemon")]
        other = MirrorState(mode=Mode.IMAGE, peers=(Peer(uuid="o", site_name="c"),))
        actions, _ = plan(mirror, seen(mirror), self.source(other, peer_of_daemon=Owned("peer", "x")))
        assert actions[0] == RemovePeer(Place("replicapool"), "o", "peer-of-daemon")

    def test_wait_for_the_pool_to_be_mirrored(self) -> None:
        mirror = a_mirror()
        waiting = ["mirroring of CephBlockPool replicapool"]
        assert plan(mirror, seen(mirror), self.source(MirrorState())) == ([], waiting)
        assert plan(mirror, seen(mirror), SourceOfPool("peer", problem="x to be")) == ([], ["x to be"])

    @pytest.mark.parametrize(
        ("data", "problem", "pool"),
        [
            (None, "Secret peer with the token of the other cluster", ""),
            ({"token": "x"}, "Secret peer to have a token: key token is no token", ""),
            ({"token": Site("b", {}).token()}, "Secret peer to have key pool: the pool that is mirrored", ""),
            ({"token": Site("b", {}).token(), "pool": "replicapool"}, "", "replicapool"),
            ({"token": Site("b", {}).token(), "pool": "absent"}, "pool absent to answer", "absent"),
        ],
    )
    async def test_secrets(
        self, monkeypatch: pytest.MonkeyPatch, data: dict[str, str] | None, problem: str, pool: str
    ) -> None:
        network: dict[str, Site] = {}
        mirrors.install(monkeypatch, network)
        ceph = cast("RadosCluster", Site("a", network))

        async def daemons(*_: object) -> Any:
            return DaemonObservation(), ceph

        secret = None if data is None else a_secret("peer", data)
        caches = cast("Caches", SimpleNamespace(secrets=SimpleNamespace(get=lambda *_: secret)))
        observer = Observer(cast("DaemonObserver", SimpleNamespace(observe=daemons)), caches)
        (source,) = (await observer.observe(a_mirror({"peers": {"secretNames": ["peer"]}}), 0.0)).sources
        assert (source.problem.startswith(problem), source.pool) == (True, pool)
        if not problem:
            assert source.mirror.sources[0].token is not None
            assert source.mirror.sources[0].token.fsid == FSIDS["b"]


@virtual_time
async def test_daemons_wait_for_their_cluster_and_go_without_one() -> None:
    await wait_for_their_cluster(MIRRORS, register, finalizer=FINALIZER, spec={"count": 1})
