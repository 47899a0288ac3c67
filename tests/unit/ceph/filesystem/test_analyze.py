"""File systems: plans by table, from a spec and what there is to what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from controller.ceph.access.filesystems import Mds
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crush import Rule
from controller.ceph.filesystem.act import (
    AddDataPool,
    CreateFilesystem,
    CreateGroup,
    FailMds,
    RemoveFilesystem,
    RemoveUser,
    SetMaxMds,
    SetStandbyReplay,
    StopMds,
)
from controller.ceph.filesystem.analyze import analyze, kept
from controller.ceph.filesystem.observe import FilesystemObservation
from controller.ceph.filesystem.spec import cache_bytes, mds_ids, pools_of, problems, unserved
from controller.ceph.pools.act import CreatePool, CreateRule, DeletePool, EnableApplication
from controller.ceph.pools.observe import PoolState
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo
from tests.unit.ceph.cases import told
from tests.unit.ceph.filesystems import (
    NEWER,
    PLAIN,
    a_context,
    a_filesystem,
    a_state,
    no_pools,
    pool_states,
    running,
    servers,
)

if TYPE_CHECKING:
    from controller.apis.ceph import CephFilesystem

CODED = {"erasureCoded": {"dataChunks": 2, "codingChunks": 1}}
SURE = {"rook.io/force-deletion": "true"}


def steps(filesystem: CephFilesystem, seen: FilesystemObservation) -> list[str]:
    return told(analyze(filesystem, seen).steps)


def actions(filesystem: CephFilesystem, seen: FilesystemObservation) -> list[Any]:
    return [step.action for step in analyze(filesystem, seen).steps if step.held_by is None]


class TestNames:
    @pytest.mark.parametrize(
        ("spec", "names"),
        [
            ({}, ["myfs-metadata", "myfs-data0"]),
            ({"metadataPool": {"name": "m"}, "dataPools": [{"name": "d"}, {}]}, ["myfs-m", "myfs-d", "myfs-data1"]),
            (
                {"preservePoolNames": True, "metadataPool": {"name": "m"}, "dataPools": [{"name": "d"}, {}]},
                ["m", "d", "myfs-data1"],
            ),
        ],
    )
    def test_pools(self, spec: dict[str, Any], names: list[str]) -> None:
        assert [pool.name for pool in pools_of(a_filesystem(spec))] == names

    def test_as_many_daemons_stand_by_as_serve(self) -> None:
        assert mds_ids(a_filesystem(servers(2))) == ("myfs-a", "myfs-b", "myfs-c", "myfs-d")
        many = mds_ids(a_filesystem(servers(50)))
        assert (len(many), many[25:28], len(set(many))) == (100, ("myfs-z", "myfs-aa", "myfs-ab"), 100)

    @pytest.mark.parametrize(
        ("servers_spec", "expected"),
        [
            ({}, None),
            ({"resources": {"limits": {"memory": "4Gi"}}}, 2 << 30),
            ({"resources": {"limits": {"memory": "4Gi"}}, "cacheMemoryLimitFactor": 0.25}, 1 << 30),
            ({"resources": {"requests": {"memory": "5Gi"}}}, 4 << 30),
            ({"resources": {"requests": {"memory": "4Gi"}}, "cacheMemoryRequestFactor": 0.5}, 2 << 30),
        ],
    )
    def test_cache(self, servers_spec: dict[str, Any], expected: int | None) -> None:
        assert cache_bytes(a_filesystem(servers(1, **servers_spec)).spec.metadata_server) == expected


@pytest.mark.parametrize(
    ("filesystem", "problem"),
    [
        (a_filesystem(name="1fs"), "begins with a digit"),
        (a_filesystem(name="f" * 41), "at most 40"),
        (a_filesystem({"dataPools": []}), "spec.dataPools is empty"),
        (a_filesystem({"metadataPool": CODED}), "metadata can only be replicated"),
        (a_filesystem({"dataPools": [{"replicated": {"size": 0}}]}), "spec.dataPools[0]: spec has neither"),
        (
            a_filesystem({"dataPools": [{"name": "x", "replicated": {"size": 3}}, {"name": "x", **CODED}]}),
            "spec.dataPools[0] and spec.dataPools[1] are both pool myfs-x",
        ),
    ],
)
def test_what_nobody_can_carry_out(filesystem: CephFilesystem, problem: str) -> None:
    assert problem in "; ".join(problems(filesystem))
    (step,) = analyze(filesystem, FilesystemObservation(waits_for="nothing")).steps
    assert problem in step.waits_for


def test_fields_that_are_not_served_are_named() -> None:
    spec = {
        **PLAIN,
        "dataPools": [{"replicated": {"size": 3, "replicasPerFailureDomain": 2}, "application": "rbd"}],
    }
    assert set(unserved(spec)) == {
        "dataPools[0].replicated.replicasPerFailureDomain=2",
        "dataPools[0].application=rbd",
    }
    found = analyze(a_filesystem(spec), running(a_filesystem(spec), None, pools=no_pools(a_filesystem(spec)))).steps
    assert [step.subject for step in found] == ["spec.dataPools[0].replicated.replicasPerFailureDomain"]


class TestCreation:
    def test_pools_and_daemons_first(self) -> None:
        filesystem = a_filesystem({"dataPools": [{"replicated": {"size": 3}}, {"name": "ec", **CODED}]})
        empty = running(filesystem, None, pools=no_pools(filesystem), deployments={}, live={}, standbys=frozenset())
        done = actions(filesystem, empty)
        assert [a for a in done if isinstance(a, CreatePool)] == [
            CreatePool("myfs-metadata", rule="myfs-metadata", size=3),
            CreatePool("myfs-data0", rule="myfs-data0", size=3),
            CreatePool("myfs-ec", profile="myfs-ec_ecprofile"),
        ]
        assert CreateRule("myfs-metadata", Rule("default", "host")) in done
        assert EnableApplication("myfs-ec", "cephfs") in done
        assert [a.entity for a in done if isinstance(a, CreateKeyring)] == ["mds.myfs-a", "mds.myfs-b"]
        assert [a.obj["kind"] for a in done if isinstance(a, Apply)] == ["Deployment"] * 2 + ["PodDisruptionBudget"]
        assert "file system myfs: Wait <- pool myfs-metadata" in steps(filesystem, empty)

    def test_then_the_file_system_never_by_force(self) -> None:
        filesystem = a_filesystem()
        assert actions(filesystem, running(filesystem, None)) == [
            CreateFilesystem("myfs", "myfs-metadata", "myfs-data0", coded=False)
        ]

    def test_a_first_pool_that_is_erasure_coded_is_told(self) -> None:
        filesystem = a_filesystem({"dataPools": [CODED]})
        (step,) = analyze(filesystem, running(filesystem, None)).steps
        assert step.action == CreateFilesystem("myfs", "myfs-metadata", "myfs-data0", coded=True)
        assert "Ceph advises against" in step.reason

    @pytest.mark.parametrize("pool", ["myfs-metadata", "myfs-data0"])
    def test_nothing_is_made_of_pools_that_have_objects(self, pool: str) -> None:
        filesystem = a_filesystem()
        pools = pool_states(filesystem)
        pools[pool] = replace(pools[pool], contents=("objects, such as mds0_openfiles.0",))
        (step,) = analyze(filesystem, running(filesystem, None, pools=pools)).steps
        assert step.action is None
        assert step.waits_for.startswith(f"pool {pool} to be empty: it has objects, such as mds0_openfiles.0")

    def test_a_pool_of_somebody_else_is_left_alone(self) -> None:
        filesystem = a_filesystem(
            {"preservePoolNames": True, "dataPools": [{"name": "rbd", "replicated": {"size": 2}}]}
        )
        pools = pool_states(filesystem)
        state = PoolState(pool_id=9, rule="rbd", applications=frozenset({"rbd"}), values={"size": 3})
        pools["rbd"] = replace(pools["rbd"], state=state)
        assert actions(filesystem, running(filesystem, None, pools=pools)) == []
        assert "pool rbd: Wait <- spec.dataPools[0] to get a name that no other pool has" in steps(
            filesystem, running(filesystem, None, pools=pools)
        )

    def test_nothing_is_made_while_the_cluster_has_errors(self) -> None:
        filesystem = a_filesystem()
        assert actions(filesystem, running(filesystem, None, hold="it to be well")) == []

    def test_the_group_for_volumes_once_a_rank_is_served(self) -> None:
        filesystem = a_filesystem()
        assert actions(filesystem, running(filesystem, a_state("myfs-a"), groups=())) == [CreateGroup("myfs", "csi")]
        starting = a_state(daemons=(Mds("myfs-a", 0, "up:creating"),), ranks=(0,))
        assert CreateGroup("myfs", "csi") not in actions(filesystem, running(filesystem, starting, groups=None))
        waiting = steps(filesystem, running(filesystem, a_state("myfs-a"), groups=None))
        assert waiting == ["subvolume group csi: Wait <- mgr module volumes to list the groups"]

    def test_at_rest_nothing_is_done(self) -> None:
        filesystem = a_filesystem(servers(2, activeStandby=True))
        state = a_state("myfs-a", "myfs-c", standby_replay=True, following=(("myfs-b", 0),))
        assert steps(filesystem, running(filesystem, state)) == []


class TestChanges:
    def test_one_more_pool(self) -> None:
        filesystem = a_filesystem({"dataPools": [{"replicated": {"size": 3}}, {"replicated": {"size": 3}}]})
        assert actions(filesystem, running(filesystem, a_state("myfs-a"))) == [AddDataPool("myfs", "myfs-data1")]

    def test_pools_that_left_the_spec_stay(self) -> None:
        filesystem = a_filesystem()
        seen = running(filesystem, a_state("myfs-a", data_pools=(2, 3)))
        assert steps(filesystem, seen) == []
        (differs,) = kept(filesystem, seen)
        assert "number 3 in Ceph, that are left alone" in differs

    def test_pools_that_cannot_be_others(self) -> None:
        filesystem = a_filesystem()
        seen = running(filesystem, a_state("myfs-a", metadata_pool=7, data_pools=(8, 2)))
        assert any(
            found.startswith("metadataPool: the file system's is not myfs-metadata") for found in kept(filesystem, seen)
        )
        assert any(found.startswith("dataPools[0]: ") for found in kept(filesystem, seen))

    def test_more_ranks(self) -> None:
        filesystem = a_filesystem(servers(2))
        done = actions(filesystem, running(filesystem, a_state("myfs-a")))
        assert done == [SetMaxMds("myfs", 2)]

    def test_fewer_ranks_wait_without_end_until_ceph_has_stopped_them(self) -> None:
        filesystem = a_filesystem(servers(1))
        ids = ("myfs-a", "myfs-b", "myfs-c", "myfs-d")
        seen = running(filesystem, a_state("myfs-a", "myfs-b"), ids=ids)
        assert SetMaxMds("myfs", 1) in actions(filesystem, seen)
        stopping = a_state(
            ranks=(0, 1), max_mds=1, daemons=(Mds("myfs-a", 0, "up:active"), Mds("myfs-c", 1, "up:stopping"))
        )
        seen = running(filesystem, stopping, ids=ids)
        assert "rank 1: Wait <- Ceph to hand its directories over and stop it" in steps(filesystem, seen)
        assert all(a.mds != "myfs-c" for a in actions(filesystem, seen) if isinstance(a, StopMds | FailMds))

    def test_daemons_too_many_go_and_then_their_keys(self) -> None:
        filesystem = a_filesystem(servers(1))
        ids = ("myfs-a", "myfs-b", "myfs-c", "myfs-d")
        seen = running(filesystem, a_state("myfs-a"), ids=ids)
        assert [a.mds for a in actions(filesystem, seen) if isinstance(a, StopMds)] == ["myfs-c", "myfs-d"]
        left = replace(seen, deployments={mds: seen.deployments[mds] for mds in ids[:2]})
        assert [type(a) for a in actions(filesystem, left)] == [RemoveUser, Delete, RemoveUser, Delete]

    def test_one_too_many_that_holds_a_rank_is_relieved_first(self) -> None:
        filesystem = a_filesystem(servers(1))
        ids = ("myfs-a", "myfs-b", "myfs-c", "myfs-d")
        done = actions(filesystem, running(filesystem, a_state("myfs-d"), ids=ids))
        assert FailMds("myfs-d") in done
        assert [a.mds for a in done if isinstance(a, StopMds)] == ["myfs-c"]
        nobody = running(filesystem, a_state("myfs-d"), ids=ids, down=("myfs-a", "myfs-b"))
        assert FailMds("myfs-d") not in actions(filesystem, nobody)

    def test_standby_replay(self) -> None:
        filesystem = a_filesystem(servers(1, activeStandby=True))
        assert actions(filesystem, running(filesystem, a_state("myfs-a"))) == [SetStandbyReplay("myfs", True)]

    def test_a_rank_that_nobody_holds(self) -> None:
        filesystem = a_filesystem()
        state = a_state(ranks=(0,))
        found = steps(filesystem, running(filesystem, state, down=("myfs-a", "myfs-b")))
        assert "rank 0: Wait <- an MDS daemon that stands by" in found
        damaged = replace(state, damaged=(0,))
        assert "rank 0: Wait <- its metadata to be repaired, and `ceph mds repaired`" in steps(
            filesystem, running(filesystem, damaged)
        )


class TestRestarts:
    """Another template of the same release."""

    changed = servers(2, priorityClassName="high")

    def restarted(self, seen: FilesystemObservation) -> list[str]:
        after = a_filesystem(self.changed)
        return [
            a.obj["metadata"]["name"].removeprefix("rook-ceph-mds-")
            for a in actions(after, replace(seen, context=a_context(after)))
            if isinstance(a, Apply)
        ]

    def test_one_at_a_time_those_that_stand_by_first_and_rank_0_last(self) -> None:
        before = a_filesystem(servers(2))
        after = a_filesystem(self.changed)
        seen = running(before, a_state("myfs-a", "myfs-b"))
        order: list[str] = []
        new = running(after, a_state("myfs-a", "myfs-b"))
        for _ in range(4):
            (mds,) = self.restarted(seen)
            order.append(mds)
            name = f"rook-ceph-mds-{mds}"
            away = running(after, a_state("myfs-a", "myfs-b"), down=(mds,))
            assert (
                self.restarted(
                    replace(
                        seen,
                        live={**seen.live, ("Deployment", name): new.live["Deployment", name]},
                        deployments={**seen.deployments, mds: away.deployments[mds]},
                    )
                )
                == []
            ), "nobody else while one is away"
            seen = replace(
                seen,
                live={**seen.live, ("Deployment", name): new.live["Deployment", name]},
                deployments={**seen.deployments, mds: new.deployments[mds]},
            )
        assert order == ["myfs-c", "myfs-d", "myfs-b", "myfs-a"]

    def test_nobody_while_a_rank_is_taken_over(self) -> None:
        before = a_filesystem(servers(2))
        replaying = a_state(
            ranks=(0, 1), max_mds=2, daemons=(Mds("myfs-a", 0, "up:active"), Mds("myfs-c", 1, "up:replay"))
        )
        assert self.restarted(running(before, replaying)) == []
        unheld = a_state(ranks=(0, 1), max_mds=2, daemons=(Mds("myfs-a", 0, "up:active"),))
        assert self.restarted(running(before, unheld)) == []

    def test_one_that_serves_nobody_may_be_restarted_at_any_time(self) -> None:
        before = a_filesystem(servers(2))
        seen = running(before, a_state("myfs-a", "myfs-b"), down=("myfs-d",))
        assert self.restarted(seen) == ["myfs-d"]

    def test_one_that_somebody_works_on_is_left_alone(self) -> None:
        filesystem = a_filesystem(self.changed)
        seen = running(a_filesystem(servers(2)), a_state("myfs-a", "myfs-b"))
        obj = seen.deployments["myfs-c"]
        obj.metadata.labels["ceph.rook.io/do-not-reconcile"] = "true"
        found = steps(filesystem, replace(seen, context=a_context(filesystem)))
        assert (
            "mds myfs-c: Wait <- label ceph.rook.io/do-not-reconcile to be taken off Deployment rook-ceph-mds-myfs-c"
            in found
        )


class TestDeletion:
    gone = a_filesystem(deleting=True)

    def removal(self, filesystem: CephFilesystem, seen: FilesystemObservation) -> list[Any]:
        return [s for s in analyze(filesystem, seen).steps if isinstance(s.action, RemoveFilesystem)]

    def test_the_file_system_then_its_pools_daemons_and_keys(self) -> None:
        done = actions(self.gone, running(self.gone, a_state("myfs-a")))
        pools = tuple(DeletePool(name, rule=name, profile="") for name in ("myfs-metadata", "myfs-data0"))
        assert done == [
            RemoveFilesystem("myfs", True, pools),
            *[a for a in done if isinstance(a, Delete)],
            RemoveUser("mds.myfs-a"),
            RemoveUser("mds.myfs-b"),
            LetGo(),
        ]
        assert [a.name for a in done if isinstance(a, Delete)] == ["rook-ceph-mds-myfs-a", "rook-ceph-mds-myfs-b"]
        lanes = {step.lane or step.subject for step in analyze(self.gone, running(self.gone, a_state("myfs-a"))).steps}
        assert lanes == {"file system myfs"}, "what fails keeps what comes after it"

    def test_what_is_in_it_needs_consent(self) -> None:
        seen = running(self.gone, a_state("myfs-a"), contents=("subvolume other/x",))
        (step,) = self.removal(self.gone, seen)
        assert step.consent.startswith('annotation rook.io/force-deletion: "true"')
        assert step.reason == "it has subvolume other/x"
        sure = a_filesystem(deleting=True, annotations=SURE)
        (step,) = self.removal(sure, seen)
        assert (step.consent, step.action.forced) == ("", True)

    def test_an_old_deletion_does_not_fire_by_surprise(self) -> None:
        seen = running(self.gone, a_state("myfs-a"))
        (step,) = self.removal(self.gone, replace(seen, now=seen.now + 2_000_000_000.0))
        assert "more than a day ago" in step.reason
        assert step.consent
        assert step.action.forced

    def test_pools_that_are_kept(self) -> None:
        filesystem = a_filesystem({"preservePoolsOnDelete": True}, deleting=True)
        (step,) = self.removal(filesystem, running(filesystem, a_state("myfs-a")))
        assert step.action == RemoveFilesystem("myfs", True, ())

    def test_a_file_system_that_is_kept_loses_its_daemons_alone(self) -> None:
        filesystem = a_filesystem({"preserveFilesystemOnDelete": True}, deleting=True)
        seen = running(filesystem, a_state("myfs-a"), contents=("subvolume x",))
        assert self.removal(filesystem, seen) == []
        assert [type(a) for a in actions(filesystem, seen)] == [Delete, Delete, RemoveUser, RemoveUser, LetGo]

    def test_pools_without_a_file_system_go_only_if_they_are_empty(self) -> None:
        (step,) = self.removal(self.gone, running(self.gone, None))
        assert (step.action.present, len(step.action.pools), step.consent) == (False, 2, "")
        pools = {name: replace(p, contents=("objects, such as 1.0",)) for name, p in pool_states(self.gone).items()}
        (step,) = self.removal(self.gone, running(self.gone, None, pools=pools))
        assert step.consent

    def test_a_pool_of_somebody_else_never_goes(self) -> None:
        pools = pool_states(self.gone)
        state = PoolState(pool_id=9, rule="r", applications=frozenset({"rbd"}))
        pools["myfs-data0"] = replace(pools["myfs-data0"], state=state)
        for present in (None, a_state("myfs-a")):
            (step,) = self.removal(self.gone, running(self.gone, present, pools=pools))
            assert [pool.pool for pool in step.action.pools] == ["myfs-metadata"]

    def test_what_uses_it_is_named(self) -> None:
        seen = running(self.gone, a_state("myfs-a"), users=("CephFilesystemSubVolumeGroup g",))
        (step,) = analyze(self.gone, seen).steps
        assert step.waits_for == "CephFilesystemSubVolumeGroup g to be deleted"

    def test_without_a_cluster_nothing_is_left_to_do(self) -> None:
        assert actions(self.gone, FilesystemObservation(waits_for="a CephCluster", cluster_gone=True)) == [LetGo()]
        assert actions(self.gone, FilesystemObservation(waits_for="it to answer")) == []


def upgrade_status(ranks: int = 1) -> dict[str, Any]:
    return {"mdsUpgrade": {"maxMds": ranks, "standbyReplay": True, "fromVersion": "18.2.7-0"}}


class TestUpgrade:
    def filesystem(self, *, begun: bool = True) -> CephFilesystem:
        return a_filesystem(servers(2, activeStandby=True), status=upgrade_status(2) if begun else {})

    def done(self, seen: FilesystemObservation) -> list[Any]:
        return actions(self.filesystem(), seen)

    def applied(self, seen: FilesystemObservation) -> list[Any]:
        return [action for action in self.done(seen) if isinstance(action, Apply)]

    def test_others_first(self) -> None:
        seen = running(self.filesystem(), a_state("myfs-a"), wanted=NEWER, hold_upgrade="osd 1 to run Ceph 18.2.9-0")
        assert steps(self.filesystem(), seen) == ["file system myfs: Wait <- osd 1 to run Ceph 18.2.9-0"]

    def test_the_status_has_what_was_before_the_first_step(self) -> None:
        state = a_state("myfs-a", "myfs-b", standby_replay=True)
        found = steps(self.filesystem(begun=False), running(self.filesystem(), state, wanted=NEWER))
        assert found == ["file system myfs: Wait <- the status to have how many ranks there were before"]

    def test_one_rank_that_nobody_follows(self) -> None:
        state = a_state("myfs-a", "myfs-b", standby_replay=True)
        assert self.done(running(self.filesystem(), state, wanted=NEWER)) == [
            SetStandbyReplay("myfs", False),
            SetMaxMds("myfs", 1),
        ]
        state = a_state(
            ranks=(0, 1), max_mds=1, daemons=(Mds("myfs-a", 0, "up:active"), Mds("myfs-b", 1, "up:stopping"))
        )
        found = steps(self.filesystem(), running(self.filesystem(), state, wanted=NEWER))
        assert found == ["file system myfs: Wait <- rank 1 to be stopped by Ceph"]

    def test_all_are_stopped_but_the_holder_of_rank_0(self) -> None:
        seen = running(self.filesystem(), a_state("myfs-c"), wanted=NEWER)
        assert [a.mds for a in self.done(seen)] == ["myfs-a", "myfs-b", "myfs-d"]

    def test_then_the_holder_of_rank_0_once_nobody_else_stands_by(self) -> None:
        seen = running(self.filesystem(), a_state("myfs-c"), ids=("myfs-c",), wanted=NEWER)
        (action,) = self.applied(seen)
        assert action.obj["metadata"]["name"] == "rook-ceph-mds-myfs-c"
        assert self.applied(replace(seen, standbys=frozenset({"myfs-d"}))) == []
        assert self.applied(replace(seen, pods={"myfs-d": ()})) == []

    def test_then_the_others_and_what_there_was_before(self) -> None:
        seen = running(self.filesystem(), a_state("myfs-c"), ids=("myfs-c",), releases={"myfs-c": NEWER}, wanted=NEWER)
        done = self.done(seen)
        assert len([a for a in done if isinstance(a, Apply)]) == 3
        assert SetMaxMds("myfs", 2) in done
        assert SetStandbyReplay("myfs", True) in done

    def test_what_there_was_before_comes_back_once_rank_0_is_served(self) -> None:
        """Ceph lets a daemon of another release take a rank only while nobody may follow one."""
        starting = a_state(ranks=(0,), max_mds=1, standby_replay=False)
        seen = running(
            self.filesystem(), starting, releases=dict.fromkeys(mds_ids(self.filesystem()), NEWER), wanted=NEWER
        )
        assert self.done(seen) == []
        stuck = replace(seen, state=replace(starting, standby_replay=True))
        assert self.done(stuck) == [SetStandbyReplay("myfs", False)]

    def test_one_that_somebody_works_on_holds_it_up(self) -> None:
        seen = running(self.filesystem(), a_state("myfs-c"), wanted=NEWER)
        seen.deployments["myfs-a"].metadata.labels["ceph.rook.io/do-not-reconcile"] = "true"
        assert self.done(seen) == []

    def test_where_no_rank_is_held_the_release_may_be_the_cure(self) -> None:
        nobody = a_state(ranks=(0,))
        seen = running(self.filesystem(), nobody, down=mds_ids(self.filesystem()), wanted=NEWER)
        assert [a.mds for a in self.done(seen)] == ["myfs-b", "myfs-c", "myfs-d"]
