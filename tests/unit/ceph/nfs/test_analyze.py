"""NFS servers: plans by table, from a spec and what there is to what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.access.ganesha import Shared
from controller.ceph.access.modules import EnableModule
from controller.ceph.access.users import CreateKeyring
from controller.ceph.nfs.act import (
    CreateConfiguration,
    CreatePool,
    EnableApplication,
    JoinGrace,
    LeaveGrace,
    RemoveUser,
    StopServer,
)
from controller.ceph.nfs.analyze import analyze
from controller.ceph.nfs.observe import NfsObservation, PoolState
from controller.ceph.nfs.spec import minor_versions, problems, server_of, unserved
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo
from controller.framework.plan import AT_REST, WHILE_WAITING
from tests.unit.ceph.cases import told
from tests.unit.ceph.filesystems import NEWER
from tests.unit.ceph.nfs_servers import DISCONNECT, PLAIN, SURE, a_context, a_grace, a_nfs, nothing, running

if TYPE_CHECKING:
    from controller.apis.ceph import CephNFS

READY_POOL = PoolState(applications=frozenset({"nfs"}))


def steps(nfs: CephNFS, seen: NfsObservation) -> list[str]:
    return told(analyze(nfs, seen).steps)


def actions(nfs: CephNFS, seen: NfsObservation) -> list[Any]:
    return [step.action for step in analyze(nfs, seen).steps if step.held_by is None]


class TestSpec:
    @pytest.mark.parametrize(
        ("spec", "annotations", "words"),
        [
            ({"server": {"active": 0}}, {}, "spec.server.active is 0: expected 1 to 100"),
            ({"server": {"active": 101}}, {}, "expected 1 to 100"),
            ({"server": {"active": 1, "logLevel": "DEBUG"}}, {}, "spec.server.logLevel is DEBUG: expected one of NIV_"),
            (PLAIN, {"rook.io/nfs-minor-versions": "3"}, "expected some of 0, 1 and 2"),
            (
                {**PLAIN, "security": {"kerberos": {"principalName": 'x"; }'}}},
                {},
                "spec.security.kerberos.principalName",
            ),
            (
                {
                    **PLAIN,
                    "security": {
                        "sssd": {
                            "sidecar": {
                                "image": "sssd",
                                "additionalFiles": [
                                    {"subPath": "../x", "volumeSource": {"emptyDir": {}}},
                                    {"subPath": "../x", "volumeSource": {"emptyDir": {}}},
                                ],
                            }
                        }
                    },
                },
                {},
                "additionalFiles[1].subPath is '../x': expected another one",
            ),
        ],
    )
    def test_what_cannot_be(self, spec: dict[str, Any], annotations: dict[str, str], words: str) -> None:
        nfs = a_nfs(spec, annotations=annotations)
        assert words in "; ".join(problems(nfs))
        (step,) = analyze(nfs, running(a_nfs())).steps
        assert (step.action, words in step.waits_for) == (None, True)

    def test_where_servers_keep_what_they_share_is_not_the_users_to_say(self) -> None:
        # As in upstream's example.
        rados = {"pool": "myfs-replicated", "namespace": "nfs-ns"}
        assert unserved({**PLAIN, "rados": rados}, "my-nfs") == ("rados.pool=myfs-replicated", "rados.namespace")
        assert unserved({**PLAIN, "rados": {"pool": ".nfs", "namespace": "my-nfs"}}, "my-nfs") == ()

    def test_minor_versions(self) -> None:
        assert minor_versions(a_nfs()) == "1, 2"
        assert minor_versions(a_nfs(annotations={"rook.io/nfs-minor-versions": "2,0, 1"})) == "0, 1, 2"

    @pytest.mark.parametrize(
        ("member", "server"), [("my-nfs.a", "a"), ("my-nfs.ab", "ab"), ("other.a", ""), ("my-nfs.a.b", ""), ("a", "")]
    )
    def test_servers_by_their_ids(self, member: str, server: str) -> None:
        assert server_of("my-nfs", member) == server


class TestBefore:
    def test_nothing_is_done_while_the_cluster_does_not_answer(self) -> None:
        assert steps(a_nfs(), NfsObservation(waits_for="x")) == ["NFS servers my-nfs: Wait <- x"]

    def test_pool_and_module(self) -> None:
        assert actions(a_nfs(), nothing(module=False)) == [EnableModule("nfs"), CreatePool()]
        assert steps(a_nfs(), nothing(hold="it to leave HEALTH_ERR")) == [
            "pool .nfs: CreatePool <- it to leave HEALTH_ERR"
        ]

    def test_a_pool_that_a_user_describes_is_the_users(self) -> None:
        assert steps(a_nfs(), nothing(pool_of="builtin-nfs")) == [
            "pool .nfs: CreatePool <- CephBlockPool builtin-nfs, which describes it"
        ]
        seen = nothing(pool_of="builtin-nfs", pool=PoolState())
        assert actions(a_nfs(), seen) == [CreateConfiguration()]

    def test_an_erasure_coded_pool_is_refused(self) -> None:
        (step,) = analyze(a_nfs(), nothing(pool=PoolState(erasure=True))).steps
        assert (step.action, "erasure-coded" in step.reason) == (None, True)

    def test_application_and_configuration(self) -> None:
        assert actions(a_nfs(), nothing(pool=PoolState())) == [EnableApplication(), CreateConfiguration()]


class TestServers:
    def test_a_server_is_in_the_database_before_it_starts(self) -> None:
        nfs = a_nfs(active=1)
        plan = analyze(nfs, nothing(pool=READY_POOL, shared=Shared(configured=True)))
        mine = [step for step in plan.steps if step.subject == "server my-nfs-a"]
        assert {step.lane for step in mine} == {"", "server my-nfs-a"}
        kinds = [type(step.action) for step in mine]
        assert kinds == [CreateKeyring, JoinGrace, Apply, Apply, Apply]
        assert isinstance(mine[0].action, CreateKeyring)
        assert (mine[0].action.entity, mine[0].action.caps) == (
            "client.nfs-ganesha.my-nfs.a",
            {"mon": "allow r", "osd": "allow rw pool=.nfs namespace=my-nfs"},
        )
        applied = [step.action.obj["kind"] for step in mine if isinstance(step.action, Apply)]
        assert applied == ["ConfigMap", "Service", "Deployment"]
        assert all(step.held_by is None for step in mine)

    def test_nothing_is_left_to_do(self) -> None:
        nfs = a_nfs()
        plan = analyze(nfs, running(nfs))
        assert (plan.steps, plan.look_again) == ((), AT_REST)
        waiting = analyze(nfs, running(nfs, grace=a_grace("ab", recovering=3, needs="a")))
        assert (waiting.steps, waiting.look_again) == ((), WHILE_WAITING)

    def test_servers_are_restarted_one_in_each_grace_period(self) -> None:
        before, nfs = a_nfs(), a_nfs({"server": {"active": 2, "logLevel": "NIV_DEBUG"}})
        seen = replace(running(before), context=a_context(nfs))
        assert steps(nfs, seen) == [
            "server my-nfs-a: Apply",
            "server my-nfs-b: Apply <- server my-nfs-a to be restarted",
        ]
        # a has the new log level, and its clients do not have their state back yet.
        later = replace(
            seen,
            deployments={"a": running(nfs).deployments["a"], "b": seen.deployments["b"]},
            live={
                **seen.live,
                ("Deployment", "rook-ceph-nfs-my-nfs-a"): running(nfs).live[("Deployment", "rook-ceph-nfs-my-nfs-a")],
            },
        )
        for grace, waits in (
            (a_grace("ab", recovering=3, needs="a"), "server my-nfs-a to have its clients back"),
            (a_grace("ab", recovering=3), "the grace period to end"),
        ):
            held = replace(later, shared=Shared(grace=grace, configured=True))
            assert steps(nfs, held) == [f"server my-nfs-b: Apply <- {waits}"]
        assert steps(nfs, later) == ["server my-nfs-b: Apply"]

    def test_a_server_that_is_down_is_mended_though_all_wait_for_it(self) -> None:
        before, nfs = a_nfs(), a_nfs({"server": {"active": 2, "image": "mended"}})
        seen = running(before, down="b", grace=a_grace("ab", recovering=3, needs="b"))
        found = steps(nfs, replace(seen, context=a_context(nfs)))
        assert found == ["server my-nfs-a: Apply <- server my-nfs-b to be restarted", "server my-nfs-b: Apply"]

    def test_a_release_comes_after_that_of_the_cluster(self) -> None:
        nfs = a_nfs()
        seen = running(nfs, wanted=NEWER, hold_upgrade="osd 1 to run Ceph 18.2.9-0")
        assert [s.partition(" <- ")[2] for s in steps(nfs, seen)] == ["osd 1 to run Ceph 18.2.9-0"] * 2
        assert steps(nfs, replace(seen, hold_upgrade="")) == [
            "server my-nfs-a: Apply",
            "server my-nfs-b: Apply <- server my-nfs-a to be restarted",
        ]

    def test_one_more(self) -> None:
        before, nfs = a_nfs(active=1), a_nfs(active=2)
        kinds = [type(action) for action in actions(nfs, running(before, "a"))]
        assert kinds == [CreateKeyring, JoinGrace, Apply, Apply, Apply]


class TestFewer:
    def test_the_last_one_goes_and_is_taken_out_after_it_is_gone(self) -> None:
        before, nfs = a_nfs(active=3), a_nfs(active=1)
        seen = running(before, "abc")
        uid = "uid-rook-ceph-nfs-my-nfs"
        assert actions(nfs, seen) == [StopServer("c", "rook-ceph-nfs-my-nfs-c", f"{uid}-c")]
        assert steps(nfs, seen)[1] == "server my-nfs-b: StopServer <- server my-nfs-c to be gone"
        # The Deployment is gone, the pod is not: c is still in the database.
        ending = replace(seen, deployments={s: seen.deployments[s] for s in "ab"})
        found = analyze(nfs, ending).steps
        assert [type(s.action) for s in found] == [
            Delete,
            Delete,
            type(None),
            LeaveGrace,
            RemoveUser,
            Delete,
            StopServer,
        ]
        assert found[2].waits_for == "pod rook-ceph-nfs-my-nfs-c-x to be gone"
        assert {step.lane or step.subject for step in found[:-1]} == {"server my-nfs-c"}
        gone = replace(ending, pods={s: seen.pods[s] for s in "ab"})
        assert [type(a) for a in actions(nfs, gone)] == [Delete, Delete, LeaveGrace, RemoveUser, Delete]

    def test_who_has_clients_stays_until_the_user_agrees(self) -> None:
        before, nfs = a_nfs(active=2), a_nfs(active=1)
        seen = running(before, grace=a_grace("ab", b=["10.0.0.7"]))
        (step,) = analyze(nfs, seen).steps
        assert "10.0.0.7" in step.reason
        assert step.consent.startswith('annotation rook.io/disconnect-nfs-clients: "true"')
        assert [type(a) for a in actions(a_nfs(active=1, annotations=DISCONNECT), seen)] == [StopServer]

    def test_not_within_a_grace_period(self) -> None:
        before, nfs = a_nfs(active=2), a_nfs(active=1)
        grace = a_grace("ab", recovering=3, needs="a")
        assert steps(nfs, running(before, grace=grace)) == ["server my-nfs-b: StopServer <- the grace period to end"]
        # If it does not run, the grace period may well wait for it.
        assert [type(a) for a in actions(nfs, running(before, grace=grace, down="b"))] == [StopServer]

    def test_what_an_operator_left_half_done_is_found_by_what_is_left(self) -> None:
        nfs = a_nfs(active=1)
        seen = running(nfs, "a", grace=a_grace("ab"))
        assert actions(nfs, seen) == [LeaveGrace("b", "my-nfs.b")]
        left = {
            **seen.live,
            ("Secret", "rook-ceph-nfs-my-nfs-c-keyring"): running(a_nfs(), "c").live[
                ("Secret", "rook-ceph-nfs-my-nfs-c-keyring")
            ],
        }
        assert actions(nfs, replace(running(nfs, "a"), live=left))[0] == RemoveUser("client.nfs-ganesha.my-nfs.c")

    def test_servers_that_are_nobodys_are_left_alone(self) -> None:
        nfs = a_nfs(active=1)
        strange = a_grace("a")
        strange = replace(strange, servers={**strange.servers, "host-1": strange.servers["my-nfs.a"]})
        assert steps(nfs, running(nfs, "a", grace=strange)) == []


class TestDeletion:
    def test_without_a_cluster_nothing_is_left(self) -> None:
        assert actions(a_nfs(deleting=True), NfsObservation(waits_for="x", cluster_gone=True)) == [LetGo()]

    def test_volumes_are_served_as_long_as_they_are_there(self) -> None:
        nfs = a_nfs(deleting=True)
        seen = running(nfs, users=("PersistentVolume pvc-1",))
        assert steps(nfs, seen) == ["NFS servers my-nfs: Wait <- PersistentVolume pvc-1 to be deleted"]

    def test_in_order(self) -> None:
        nfs = a_nfs(deleting=True)
        seen = running(nfs)
        found = analyze(nfs, seen).steps
        assert {step.lane or step.subject for step in found} == {"NFS servers my-nfs"}
        assert [type(s.action) for s in found][:2] == [StopServer, StopServer]
        assert isinstance(found[-1].action, LetGo)
        gone = replace(seen, deployments={}, pods={})
        kinds = [type(action) for action in actions(nfs, gone)]
        assert kinds == [Delete, Delete, LeaveGrace, RemoveUser, Delete] * 2 + [LetGo]

    def test_clients_are_disconnected_by_consent_alone(self) -> None:
        grace = a_grace("ab", a=["10.0.0.7"])
        nfs = a_nfs(deleting=True)
        first = analyze(nfs, running(nfs, grace=grace)).steps[0]
        assert (first.subject, "rook.io/force-deletion" in first.consent) == ("server my-nfs-a", True)
        sure = a_nfs(deleting=True, annotations=SURE)
        assert [type(a) for a in actions(sure, running(sure, grace=grace))][:2] == [StopServer, StopServer]

    def test_a_server_that_never_ran_goes(self) -> None:
        nfs = a_nfs(deleting=True)
        assert actions(nfs, nothing()) == [LetGo()]
