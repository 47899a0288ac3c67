"""The daemon that mirrors files: its Deployment and its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph import CEPH_FILESYSTEM_MIRROR, CephFilesystemMirror
from controller.ceph.access.users import CreateKeyring
from controller.ceph.fsmirror.kind import FINALIZER, MIRRORS, analyze, register, show
from controller.ceph.fsmirror.spec import DAEMON
from controller.ceph.mirroring.daemon import context, deployment_of
from controller.ceph.mirroring.daemon_state import DaemonObservation
from controller.framework.children import Apply
from controller.framework.kind import LetGo, Look
from controller.framework.plan import APPLY, preview
from controller.testkit import virtual_time
from tests.unit.ceph.cases import RELEASE
from tests.unit.ceph.filesystems import cluster
from tests.unit.ceph.mirror_daemons import wait_for_their_cluster

if TYPE_CHECKING:
    from informers import JsonObject

KEY = ("rook-ceph", "my-fs-mirror")


def a_mirror(**meta: Any) -> CephFilesystemMirror:
    found: JsonObject = {"namespace": KEY[0], "name": KEY[1], "uid": "m1", "generation": 1, **meta}
    return msgspec.convert({"metadata": found, "spec": {}}, CephFilesystemMirror)


def test_it_is_made_with_a_key() -> None:
    mirror = a_mirror()
    given = context(DAEMON, CEPH_FILESYSTEM_MIRROR, mirror.metadata, mirror.spec, cluster(), RELEASE)
    seen = DaemonObservation(context=given)
    keyring, apply = (step.action for step in analyze(mirror, seen).steps)
    assert isinstance(keyring, CreateKeyring)
    assert (keyring.entity, keyring.secret) == ("client.fs-mirror", "rook-ceph-fs-mirror-keyring")
    assert keyring.caps["mon"] == "profile cephfs-mirror"
    assert isinstance(apply, Apply)
    assert apply.obj == deployment_of(DAEMON, given, 1)
    assert apply.obj["metadata"]["name"] == "rook-ceph-fs-mirror"
    (container,) = apply.obj["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["cephfs-mirror"]
    assert "--name=client.fs-mirror" in container["args"]
    status = show(Look(obj=mirror, spec={}, mode=APPLY, now=0.0), seen, preview(analyze(mirror, seen)))
    assert status.phase == "Progressing"


def test_it_goes_without_a_cluster() -> None:
    gone = a_mirror(deletionTimestamp="2027-01-15T08:00:00Z")
    assert [step.action for step in analyze(gone, DaemonObservation(cluster_gone=True)).steps] == [LetGo()]


@virtual_time
async def test_it_waits_for_its_cluster_and_goes_without_one() -> None:
    await wait_for_their_cluster(MIRRORS, register, finalizer=FINALIZER, spec={})
