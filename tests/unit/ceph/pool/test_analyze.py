"""Pools: plans by table, from a spec and what the cluster has to what is done."""

from __future__ import annotations

from typing import Any

import pytest

from controller.ceph.crush import Rule
from controller.ceph.pool.analyze import analyze
from controller.ceph.pool.observe import BlockPoolObservation
from controller.ceph.pool.spec import problems, unserved
from controller.ceph.pool.status import show
from controller.ceph.pools.act import (
    CreatePool,
    CreateProfile,
    CreateRule,
    DeletePool,
    EnableApplication,
    SetSize,
    SetValue,
    UnsetValue,
    UseRule,
)
from controller.ceph.pools.analyze import kept
from controller.ceph.pools.crush_rule import rule_name
from controller.ceph.pools.observe import PoolState
from controller.ceph.pools.spec import wanted_values
from controller.framework.kind import LetGo, Look
from controller.framework.owned import Owned
from controller.framework.plan import APPLY, preview
from tests.unit.ceph.pools import HOST, coded, pool, present, replicated, seen


def actions(spec: dict[str, Any], observation: BlockPoolObservation) -> list[object]:
    return [step.action for step in analyze(pool(spec), observation).steps]


class TestCreation:
    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            (
                replicated(),
                [CreateRule("replicapool", HOST), CreatePool("replicapool", rule="replicapool", size=3)],
            ),
            (
                replicated(failureDomain="osd", deviceClass="ssd", crushRoot="fast"),
                [
                    CreateRule("replicapool", Rule("fast", "osd", "ssd")),
                    CreatePool("replicapool", rule="replicapool", size=3),
                ],
            ),
            (
                replicated(parameters={"pg_num": "16"}),
                [
                    CreateRule("replicapool", HOST),
                    CreatePool("replicapool", rule="replicapool", size=3, pg_num="16"),
                ],
            ),
            (
                coded(failureDomain="osd"),
                [
                    CreateProfile(
                        "replicapool_ecprofile",
                        {"k": "2", "m": "1", "crush-failure-domain": "osd", "crush-root": "default"},
                    ),
                    CreatePool("replicapool", profile="replicapool_ecprofile"),
                ],
            ),
            (
                {
                    "erasureCoded": {"dataChunks": 4, "codingChunks": 2, "algorithm": "isa", "stripeUnit": "16Ki"},
                    "deviceClass": "ssd",
                },
                [
                    CreateProfile(
                        "replicapool_ecprofile",
                        {
                            "k": "4",
                            "m": "2",
                            "crush-failure-domain": "host",
                            "crush-root": "default",
                            "plugin": "isa",
                            "crush-device-class": "ssd",
                            "stripe_unit": "16384",
                        },
                    ),
                    CreatePool("replicapool", profile="replicapool_ecprofile"),
                ],
            ),
        ],
    )
    def test_makes_what_it_needs(self, spec: dict[str, Any], expected: list[object]) -> None:
        assert actions(spec, seen())[: len(expected)] == expected

    def test_the_whole_of_it_in_one_lane(self) -> None:
        spec = replicated(compressionMode="aggressive", quotas={"maxSize": "10Gi"})
        plan = analyze(pool(spec), seen())
        assert [s.title for s in plan.steps] == [
            "CreateRule",
            "CreatePool",
            "EnableApplication",
            "SetValue",
            "SetValue",
        ]
        assert {step.lane or step.subject for step in plan.steps} == {"pool replicapool"}

    def test_left_over_rule_that_fits_is_used(self) -> None:
        observation = seen(rules={"replicapool": HOST})
        assert actions(replicated(), observation)[0] == CreatePool("replicapool", rule="replicapool", size=3)

    def test_left_over_rule_that_does_not_fit_is_left_alone(self) -> None:
        observation = seen(rules={"replicapool": Rule("default", "osd")})
        assert actions(replicated(), observation)[0] == CreateRule("replicapool_host", HOST)

    def test_profile_that_is_there(self) -> None:
        settings = {"k": "2", "m": "1", "crush-failure-domain": "host", "crush-root": "default", "plugin": "jerasure"}
        assert actions(coded(), seen(profile=settings))[0] == CreatePool("replicapool", profile="replicapool_ecprofile")

    def test_waits_for_its_device_class(self) -> None:
        (step,) = analyze(pool(replicated(deviceClass="nvme")), seen()).steps
        assert step.waits_for == "an OSD of device class nvme"

    def test_waits_for_the_cluster(self) -> None:
        (step,) = analyze(pool(), BlockPoolObservation(waits_for="CephCluster x to answer")).steps
        assert step.waits_for == "CephCluster x to answer"

    @pytest.mark.parametrize(
        ("spec", "expected"),
        [
            ({"name": ".mgr"}, "mgr"),
            ({"name": ".nfs"}, "nfs"),
            ({"name": ".rgw.root"}, "rgw"),
            ({"name": ".nvmeof"}, "rbd"),
            ({"application": "mine"}, "mine"),
            ({}, "rbd"),
        ],
    )
    def test_application(self, spec: dict[str, Any], expected: str) -> None:
        name = spec.get("name", "replicapool")
        assert EnableApplication(name, expected) in actions(replicated(**spec), seen())


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"failureDomain": "host"}, "neither replicated.size nor erasureCoded"),
        ({"replicated": {"size": 3}, "erasureCoded": {"dataChunks": 2, "codingChunks": 1}}, "has both"),
        ({"replicated": {"size": 1, "requireSafeReplicaSize": True}}, "requireSafeReplicaSize refuses"),
        ({"erasureCoded": {"dataChunks": 1, "codingChunks": 1}}, "at least 2 and 1 are needed"),
        ({"erasureCoded": {"dataChunks": 2, "codingChunks": 0}}, "at least 2 and 1 are needed"),
    ],
)
def test_spec_that_cannot_be_carried_out(spec: dict[str, Any], problem: str) -> None:
    assert problem in "; ".join(problems(pool(spec).spec))
    (step,) = analyze(pool(spec), seen()).steps
    assert step.action is None
    look = Look(obj=pool(spec), spec={}, mode=APPLY, now=0.0)
    shown = show(look, seen(), preview(analyze(pool(spec), seen())))
    assert shown.phase == "Failure"
    (ready,) = [c for c in shown.conditions if c.type == "Ready"]
    assert (ready.reason, problem in ready.message) == ("InvalidSpec", True)


def test_one_copy_is_the_users_choice() -> None:
    assert problems(pool({"replicated": {"size": 1}}).spec) == ()


class TestConvergence:
    def test_settled(self) -> None:
        plan = analyze(pool(), seen(present()))
        assert plan.steps == ()
        assert plan.look_again == 60.0

    def test_size(self) -> None:
        assert actions({"replicated": {"size": 2}}, seen(present())) == [SetSize("replicapool", 2)]

    def test_new_parameter(self) -> None:
        observation = seen(present(values={"compression_mode": "none"}))
        expected = [SetValue("replicapool", "compression_mode", "aggressive")]
        assert actions(replicated(parameters={"compression_mode": "aggressive"}), observation) == expected
        assert actions(replicated(compressionMode="aggressive"), observation) == expected

    def test_one_that_ceph_refuses_holds_up_no_others(self) -> None:
        spec = replicated(parameters={"pg_num_min": "8", "bulk": "true", "pg_num": "16", "pg_autoscale_mode": "off"})
        steps = analyze(pool(spec), seen(present())).steps
        assert [(step.action.name, step.lane) for step in steps if isinstance(step.action, SetValue)] == [
            ("pg_autoscale_mode", "pool replicapool placement groups"),
            ("pg_num", "pool replicapool placement groups"),
            ("pg_num_min", "pool replicapool placement groups"),
            ("bulk", "pool replicapool bulk"),
        ]

    def test_parameters_go_before_older_fields(self) -> None:
        spec = replicated(compressionMode="force", parameters={"compression_mode": "passive"})
        assert wanted_values(pool(spec).spec)["compression_mode"] == "passive"

    @pytest.mark.parametrize(
        ("owned", "stored", "expected"),
        [
            (Owned("1G", "1073741824"), 1073741824, []),
            (Owned("1G", "1073741824"), 5, [SetValue("replicapool", "target_size_bytes", "1G")]),
            (Owned("2G", "1073741824"), 1073741824, [SetValue("replicapool", "target_size_bytes", "1G")]),
        ],
        ids=["spelt otherwise", "changed by somebody", "changed in the spec"],
    )
    def test_remembered(self, owned: Owned, stored: int, expected: list[object]) -> None:
        observation = seen(present(values={"target_size_bytes": stored}), owned={"target_size_bytes": owned})
        assert actions(replicated(parameters={"target_size_bytes": "1G"}), observation) == expected

    def test_the_autoscaler_is_not_fought(self) -> None:
        observation = seen(present(values={"pg_num": 128}), owned={"pg_num": Owned("16", "16")})
        assert actions(replicated(parameters={"pg_num": "16"}), observation) == []
        assert actions(replicated(parameters={"pg_num": "32"}), observation) == [
            SetValue("replicapool", "pg_num", "32")
        ]

    @pytest.mark.parametrize(
        ("name", "value", "default"),
        [
            ("compression_mode", "aggressive", "unset"),
            ("target_size_ratio", 0.5, "0"),
            ("pg_num_min", 4, "0"),
            ("bulk", True, "false"),
            ("min_size", 3, "2"),
            ("pg_autoscale_mode", "off", "on"),
            ("pg_num", 16, ""),
            ("quota_max_bytes", 5, "0"),
        ],
    )
    def test_parameter_that_left_the_spec(self, name: str, value: Any, default: str) -> None:
        observation = seen(present(values={name: value}), owned={name: Owned(str(value), str(value))})
        assert actions(replicated(), observation) == [UnsetValue("replicapool", name, default)]

    def test_what_somebody_else_set_is_left_alone(self) -> None:
        assert actions(replicated(), seen(present(values={"compression_mode": "force", "quota_max_bytes": 5}))) == []

    @pytest.mark.parametrize(
        ("quotas", "expected"),
        [
            ({"maxBytes": 10}, {"quota_max_bytes": "10"}),
            ({"maxSize": "1.5Gi"}, {"quota_max_bytes": "1610612736"}),
            ({"maxSize": "10k", "maxBytes": 3}, {"quota_max_bytes": "10000"}),
            ({"maxObjects": 7}, {"quota_max_objects": "7"}),
            ({"maxBytes": 0, "maxObjects": 0}, {}),
        ],
    )
    def test_quotas(self, quotas: dict[str, Any], expected: dict[str, str]) -> None:
        assert wanted_values(pool(replicated(quotas=quotas)).spec) == expected

    def test_target_size_ratio(self) -> None:
        spec = {"replicated": {"size": 3, "targetSizeRatio": 0.25}}
        assert wanted_values(pool(spec).spec) == {"target_size_ratio": "0.25"}

    def test_images_need_overwrites_of_chunks(self) -> None:
        assert wanted_values(pool(coded()).spec) == {"allow_ec_overwrites": "true"}


class TestPlacement:
    moved = replicated(failureDomain="zone", enableCrushUpdates=True)

    def test_rule_is_changed_with_consent(self) -> None:
        assert actions(self.moved, seen(present())) == [
            CreateRule("replicapool_zone", Rule("default", "zone")),
            UseRule("replicapool", "replicapool_zone", "replicapool"),
        ]
        assert kept(pool(self.moved).spec, seen(present())) == ()

    def test_rule_is_kept_without_consent(self) -> None:
        spec = replicated(failureDomain="zone", deviceClass="ssd")
        assert actions(spec, seen(present())) == []
        (told,) = kept(pool(spec).spec, seen(present()))
        assert told.startswith("the pool has failureDomain host, not zone, deviceClass any, not ssd; set enableCrush")

    def test_rule_of_somebody_else(self) -> None:
        observation = seen(present(rule="theirs"), rules={"theirs": None})
        assert actions(replicated(), observation) == []
        assert "theirs is somebody else's" in kept(pool().spec, observation)[0]

    def test_kind_of_pool_cannot_be_changed(self) -> None:
        assert actions(coded(), seen(present())) == []
        assert kept(pool(coded()).spec, seen(present())) == (
            "the pool is replicated, which cannot be changed: make another pool and move the data",
        )

    def test_erasure_code_cannot_be_changed(self) -> None:
        profile = {"k": "4", "m": "1", "crush-failure-domain": "host", "crush-root": "default"}
        state = present(erasure=True, profile="replicapool_ecprofile", values={"allow_ec_overwrites": True})
        observation = seen(state, profile=profile, owned={"allow_ec_overwrites": Owned("true", "True")})
        assert actions(coded(), observation) == []
        assert kept(pool(coded()).spec, observation) == (
            "the erasure code of a pool cannot be changed: it has k=4, not 2",
        )

    @pytest.mark.parametrize(
        ("rules", "expected"),
        [
            ({}, "p"),
            ({"p": HOST}, "p"),
            ({"p": None}, "p_host"),
            ({"p": None, "p_host": HOST}, "p_host"),
            ({"p": None, "p_host": None}, "p_host_default"),
        ],
    )
    def test_name_of_the_rule(self, rules: dict[str, Rule | None], expected: str) -> None:
        assert rule_name("p", HOST, rules) == expected


class TestDeletion:
    def plan(self, observation: BlockPoolObservation, **fields: Any) -> list[tuple[object, str]]:
        steps = analyze(pool(fields.pop("spec", None), deleting=True, **fields), observation).steps
        return [(step.action, step.consent) for step in steps]

    def test_empty_pool(self) -> None:
        delete = DeletePool("replicapool", rule="replicapool", profile="")
        assert self.plan(seen(present())) == [(delete, ""), (LetGo(), "")]

    def test_erasure_code_goes_with_it(self) -> None:
        state = present(erasure=True, profile="replicapool_ecprofile")
        assert self.plan(seen(state), spec=coded())[0][0] == DeletePool(
            "replicapool", rule="replicapool", profile="replicapool_ecprofile"
        )

    def test_pool_that_is_gone(self) -> None:
        assert self.plan(seen()) == [(LetGo(), "")]

    def test_cluster_that_is_gone(self) -> None:
        assert self.plan(BlockPoolObservation(waits_for="a CephCluster", cluster_gone=True)) == [(LetGo(), "")]

    def test_cluster_that_does_not_answer(self) -> None:
        assert self.plan(BlockPoolObservation(waits_for="x to answer")) == [(None, "")]

    def test_ceph_keeps_its_own_pools(self) -> None:
        spec = {"name": ".mgr", "replicated": {"size": 3}}
        assert self.plan(seen(present()), spec=spec) == [(LetGo(), "")]

    def test_spec_that_was_made_invalid(self) -> None:
        assert self.plan(seen(present()), spec={"replicated": {"size": 0}})[0][0] is not None

    def test_images_block_it(self) -> None:
        observation = seen(present(), contents=("image csi-vol-1", "image csi-vol-2"))
        (_, consent), _ = self.plan(observation)
        assert consent == 'annotation rook.io/force-deletion: "true", which destroys their data'

    @pytest.mark.parametrize("state", [present(), None])
    def test_what_uses_it_goes_first_whatever_is_consented_to(self, state: PoolState | None) -> None:
        observation = seen(state, users=("CephBlockPoolRadosNamespace a",))
        assert self.plan(observation, annotations={"rook.io/force-deletion": "true"}) == [(None, "")]

    @pytest.mark.parametrize(("value", "forced"), [("true", True), ("yes", False), ("", False)])
    def test_consent(self, value: str, forced: bool) -> None:
        observation = seen(present(), contents=("image csi-vol-1",))
        (action, consent), _ = self.plan(observation, annotations={"rook.io/force-deletion": value})
        assert (consent == "") is forced
        assert action == DeletePool("replicapool", rule="replicapool", profile="", forced=True)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (replicated(failureDomain="host", deviceClass="ssd", quotas={"maxSize": "1Gi"}, name=".nfs"), ()),
        ({"replicated": {"size": 3, "replicasPerFailureDomain": 1}}, ()),
        ({"replicated": {"size": 4, "replicasPerFailureDomain": 2}}, ("replicated.replicasPerFailureDomain=2",)),
        (
            replicated(
                mirroring={"enabled": True, "mode": "image", "snapshotSchedules": [{"interval": "1h", "path": "/"}]},
                enableRBDStats=True,
            ),
            ("mirroring.snapshotSchedules[0].path", "enableRBDStats"),
        ),
        (replicated(mirroring={"enabled": False, "mode": "image"}), ()),
        (replicated(statusCheck={"mirror": {"disabled": False, "interval": "60s"}}), ()),
    ],
)
def test_fields_that_are_not_served(spec: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert unserved(spec) == expected


PLACEMENT = [
    {"replicated": {"size": 4, "replicasPerFailureDomain": 2}},
    {"replicated": {"size": 3, "subFailureDomain": "host"}},
    {"replicated": {"size": 3, "hybridStorage": {"primaryDeviceClass": "ssd", "secondaryDeviceClass": "hdd"}}},
    {"erasureCoded": {"dataChunks": 4, "codingChunks": 2, "crushNumFailureDomains": 3, "crushOSDsPerFailureDomain": 2}},
]


@pytest.mark.parametrize("spec", PLACEMENT)
def test_a_pool_whose_data_would_be_elsewhere_than_asked_is_not_made(spec: dict[str, Any]) -> None:
    plan = analyze(pool(spec), seen(None))
    assert plan.steps
    assert all(step.subject.startswith("spec.") and step.waits_for for step in plan.steps)


HELD = "CephCluster rook-ceph to leave HEALTH_ERR (OSD_FULL)"


class TestFullCluster:
    """What relieves a cluster is carried out whatever its health; what adds to it waits."""

    def test_a_pool_is_not_made(self) -> None:
        (first, *_) = analyze(pool(), seen(None, hold=HELD)).steps
        assert first.waits_for == HELD

    def test_a_pool_is_deleted(self) -> None:
        (delete, _) = analyze(pool(deleting=True), seen(present(), hold=HELD)).steps
        assert (type(delete.action), delete.waits_for) == (DeletePool, "")

    @pytest.mark.parametrize(("size", "waits_for"), [(2, ""), (4, HELD)])
    def test_fewer_copies_relieve_and_more_do_not(self, size: int, waits_for: str) -> None:
        wanted = pool({"replicated": {"size": size}})
        (step,) = [s for s in analyze(wanted, seen(present(), hold=HELD)).steps if isinstance(s.action, SetSize)]
        assert step.waits_for == waits_for

    def test_quotas_are_changed(self) -> None:
        wanted = pool(replicated(quotas={"maxBytes": 5}))
        (step,) = [s for s in analyze(wanted, seen(present(), hold=HELD)).steps if isinstance(s.action, SetValue)]
        assert step.waits_for == ""
