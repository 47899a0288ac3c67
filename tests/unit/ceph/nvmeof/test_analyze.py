"""NVMe-oF gateways: plans by table, from a spec and what there is to what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from controller.ceph.access.nvmeof import Gateway, Group
from controller.ceph.access.users import CreateKeyring
from controller.ceph.nvmeof.act import JoinGroup, LeaveGroup, RemoveUser, StopGateway
from controller.ceph.nvmeof.analyze import analyze
from controller.ceph.nvmeof.observe import GatewayObservation, PoolState
from controller.ceph.nvmeof.spec import letter_of, problems, unserved
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo
from controller.framework.plan import AT_REST, WHILE_BLOCKED, WHILE_WAITING
from tests.unit.ceph.cases import told
from tests.unit.ceph.nvmeof_gateways import (
    DISCONNECT,
    NEWER,
    NQN,
    PLAIN,
    SHOWN,
    SURE,
    TENTACLE,
    a_context,
    a_gateway,
    at,
    in_map,
    nothing,
    running,
)

if TYPE_CHECKING:
    from controller.apis.ceph import CephNVMeOFGateway

ANOTHER = "nvmeof:1.6"
A, B, C = (f"rook-ceph-nvmeof-my-gw-{letter}" for letter in "abc")


def steps(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> list[str]:
    return told(analyze(gateway, seen).steps)


def actions(gateway: CephNVMeOFGateway, seen: GatewayObservation) -> list[Any]:
    return [step.action for step in analyze(gateway, seen).steps if step.held_by is None and step.action is not None]


def names(found: list[Any]) -> list[str]:
    """Actions by their types, with what is applied or deleted."""
    return [
        f"{type(action).__name__} {action.obj['kind']} {action.obj['metadata']['name']}"
        if isinstance(action, Apply)
        else f"Delete {action.resource.kind} {action.name}"
        if isinstance(action, Delete)
        else type(action).__name__
        for action in found
    ]


class TestSpec:
    @pytest.mark.parametrize(
        ("spec", "words"),
        [
            ({"instances": 0}, "spec.instances is 0: expected 1 to 100"),
            ({"instances": 101}, "spec.instances is 101: expected 1 to 100"),
            ({"group": "a b"}, "spec.group is 'a b': expected letters, digits"),
            ({"nvmeofConfig": {"gateway": {"a\nb": "x"}}}, "expected letters, digits, underscores"),
            ({"nvmeofConfig": {"ga]te": {"a": "x"}}}, "expected letters, digits, underscores"),
            ({"nvmeofConfig": {"gateway": {"a": "x\n[ceph]"}}}, "spec.nvmeofConfig.gateway.a is 'x\\n[ceph]'"),
            (
                {"nvmeofConfig": {"gateway": {"port": "x"}}},
                "the port of gateway is x: expected a number from 1",
            ),
            ({"ports": {"gatewayPort": 1}}, "the port of monitor is 0: expected a number"),
            ({"ports": {"ioPort": 8009}}, "the ports of io and discovery are both 8009: expected one for each"),
            (
                {"ports": {"gatewayPort": 5500}, "nvmeofConfig": {"gateway": {"Port": "5501"}}},
                "spec.nvmeofConfig.gateway.port is 5501, and spec.ports.gatewayPort 5500: expected one of them",
            ),
        ],
    )
    def test_what_cannot_be(self, spec: dict[str, Any], words: str) -> None:
        gateway = a_gateway(spec)
        assert words in "; ".join(problems(gateway))
        (step,) = analyze(gateway, running(a_gateway())).steps
        assert (step.action, words in step.waits_for) == (None, True)

    def test_what_is_in_the_file_that_is_named_counts_as_well(self) -> None:
        gateway = a_gateway({"configMapRef": "mine"})
        (step,) = analyze(gateway, nothing(base={"gateway": {"port": "no"}})).steps
        assert "the port of gateway is no" in step.waits_for

    def test_what_is_not_the_users_to_say(self) -> None:
        config = {"gateway": {"Name": "x", "group": "y", "port": "6000"}, "ceph": {"id": "admin", "pool": "p"}}
        spec = {**PLAIN, "nvmeofConfig": config, "ports": {"monitorPort": 5499}}
        assert unserved(spec, a_gateway(spec).spec) == (
            "ports.monitorPort",
            "nvmeofConfig.gateway.Name",
            "nvmeofConfig.gateway.group",
            "nvmeofConfig.ceph.id",
            "nvmeofConfig.ceph.pool",
        )
        spec = {**PLAIN, "ports": {"monitorPort": 5499}, "nvmeofConfig": {"monitor": {"port": "5499", "timeout": "2"}}}
        assert unserved(spec, a_gateway(spec).spec) == ()

    @pytest.mark.parametrize(
        ("found", "letter"), [(A, "a"), (A + "b", "ab"), ("rook-ceph-nvmeof-other-a", ""), (A + "-b", ""), ("a", "")]
    )
    def test_gateways_by_their_ids(self, found: str, letter: str) -> None:
        assert letter_of("my-gw", found) == letter


class TestBefore:
    @pytest.mark.parametrize(
        ("seen", "waits"),
        [
            (GatewayObservation(waits_for="x"), "x"),
            (nothing(group=Group(known=False)), "a cephVersion.image of the CephCluster with Ceph 20.2 or later"),
            (nothing(pool=None), "a CephBlockPool with spec.name .nvmeof"),
            (nothing(pool=None, pool_of="builtin-nvmeof"), "CephBlockPool builtin-nvmeof"),
            (nothing(pool=PoolState(erasure=True)), "a replicated pool of this name"),
            (
                nothing(pool=PoolState(applications=frozenset({"nfs"}))),
                "it to be for rbd: ceph osd pool application enable",
            ),
            (nothing(image=""), "spec.image, an image of ceph-nvmeof"),
            (nothing(config_missing="ConfigMap x"), "ConfigMap x"),
        ],
    )
    def test_nothing_is_made(self, seen: GatewayObservation, waits: str) -> None:
        assert steps(a_gateway(), seen) == [f"gateways my-gw: Wait <- {waits}"]
        assert analyze(a_gateway(), seen).look_again == WHILE_WAITING

    def test_the_release_that_knows_no_gateways_is_named(self) -> None:
        (step,) = analyze(a_gateway(), nothing(group=Group(known=False))).steps
        assert step.reason == "the mons run Ceph 20.2.4-0, and know no NVMe-oF gateways"


class TestRollout:
    def test_a_gateway_is_in_the_map_before_it_starts(self) -> None:
        found = actions(a_gateway(instances=1), nothing())
        assert names(found) == [
            "CreateKeyring",
            "JoinGroup",
            f"Apply ConfigMap {A}-config",
            f"Apply Service {A}",
            f"Apply Deployment {A}",
            "Apply PodDisruptionBudget rook-ceph-nvmeof-my-gw",
        ]
        assert isinstance(found[0], CreateKeyring)
        assert (found[0].entity, found[0].caps) == (
            "client.nvmeof.my-gw.a",
            {"mon": "profile rbd", "osd": "profile rbd"},
        )
        assert found[1] == JoinGroup(A)
        lanes = {step.lane or step.subject for step in analyze(a_gateway(instances=1), nothing()).steps[:5]}
        assert lanes == {"gateway my-gw-a"}

    def test_at_rest(self) -> None:
        plan = analyze(a_gateway(), running(a_gateway()))
        assert (plan.steps, plan.look_again) == ((), AT_REST)

    @pytest.mark.parametrize("state", ["DELETING", ""])
    def test_one_that_the_map_has_lost_is_taken_into_it_again(self, state: str) -> None:
        found = in_map("ab", b=state) if state else in_map("a")
        assert actions(a_gateway(), running(a_gateway(), group=Group(gateways=found))) == [JoinGroup(B)]

    def test_one_after_the_other(self) -> None:
        assert steps(a_gateway(), running(a_gateway(), image=ANOTHER)) == [
            "gateway my-gw-a: Apply",
            "gateway my-gw-b: Apply <- gateway my-gw-a to be restarted",
        ]

    @pytest.mark.parametrize(
        ("state", "waits"),
        [
            ("UNAVAILABLE", "gateway my-gw-a to be available to the mons"),
            ("STANDBY", "gateway my-gw-a to have ANA group 1 back"),
            ("CREATED", ""),
        ],
    )
    def test_the_next_waits_until_the_one_before_has_its_paths_back(self, state: str, waits: str) -> None:
        seen, restarted = running(a_gateway(), image=ANOTHER), running(a_gateway({"image": ANOTHER}))
        group = Group(gateways=in_map("ab", a=state), listening=at("b"), subsystems=SHOWN)
        live = {**seen.live, ("Deployment", A): restarted.live["Deployment", A]}
        (step,) = analyze(a_gateway(), replace(seen, live=live, group=group)).steps
        assert (step.subject, step.waits_for) == ("gateway my-gw-b", waits)

    def test_gateways_of_others_in_the_group_are_waited_for(self) -> None:
        one = a_gateway(instances=1)
        other = Gateway(ana_group=7, availability="UNAVAILABLE")
        seen = running(one, "a", group=Group(gateways={**in_map("a"), "other": other}), image=ANOTHER)
        assert steps(one, seen) == ["gateway my-gw-a: Apply <- gateway other to be available to the mons"]

    def test_one_that_does_not_run_is_mended_whoever_is_awaited(self) -> None:
        group = Group(gateways=in_map("ab", a="UNAVAILABLE", b="UNAVAILABLE"))
        assert names(actions(a_gateway(), running(a_gateway(), down="ab", group=group, image=ANOTHER))) == [
            f"Apply Deployment {A}",
            f"Apply Deployment {B}",
        ]

    def test_one_that_does_not_serve_is_told_of(self) -> None:
        (step,) = analyze(a_gateway(), running(a_gateway(), down="b")).steps
        assert (step.subject, step.reason, step.waits_for) == ("gateway my-gw-b", "it does not serve", "it to answer")

    def test_another_release_of_ceph_waits_for_mons_mgrs_and_osds(self) -> None:
        seen = running(a_gateway(), wanted=NEWER, hold_upgrade="osd 0 to run Ceph 20.2.5-0")
        assert [step.waits_for for step in analyze(a_gateway(), seen).steps] == ["osd 0 to run Ceph 20.2.5-0"] * 2
        # What is no matter of the release does not wait for it.
        seen = running(a_gateway(), wanted=TENTACLE, hold_upgrade="osd 0 to run Ceph 20.2.5-0", image=ANOTHER)
        assert steps(a_gateway(), seen)[0] == "gateway my-gw-a: Apply"

    def test_a_deployment_that_somebody_works_on_is_left_alone(self) -> None:
        seen = running(a_gateway(), image=ANOTHER)
        held = {**seen.deployments["b"].metadata.labels, "ceph.rook.io/do-not-reconcile": ""}
        kept = msgspec.structs.replace(
            seen.deployments["b"], metadata=msgspec.structs.replace(seen.deployments["b"].metadata, labels=held)
        )
        seen = replace(seen, deployments={**seen.deployments, "b": kept})
        found = steps(a_gateway(), seen)
        assert "gateway my-gw-b: Wait <- label ceph.rook.io/do-not-reconcile to be taken off" in found[1]


class TestFewer:
    def test_the_last_goes_where_others_stand_in_for_it(self) -> None:
        seen = running(a_gateway(instances=3), "abc")
        assert actions(a_gateway(instances=2), seen) == [StopGateway("c", C, f"uid-{C}")]

    def test_one_by_one(self) -> None:
        seen = running(a_gateway(instances=3), "abc")
        assert steps(a_gateway(instances=1), seen) == [
            "gateway my-gw-c: StopGateway",
            "gateway my-gw-b: StopGateway <- gateway my-gw-c to be gone",
        ]

    def test_what_only_it_shows_needs_consent(self) -> None:
        group = Group(gateways=in_map("ab"), listening=at("b"), subsystems=SHOWN)
        seen = running(a_gateway(), group=group)
        plan = analyze(a_gateway(instances=1), seen)
        (step,) = plan.steps
        assert step.reason == f"1 gateways are wanted, and hosts lose {NQN} (replicapool/disk; for any host)"
        assert step.consent.startswith('annotation rook.io/disconnect-nvmeof-hosts: "true"; or a listener for each')
        assert plan.look_again == WHILE_BLOCKED
        sure = a_gateway(instances=1, annotations=DISCONNECT)
        assert actions(sure, seen) == [StopGateway("b", B, f"uid-{B}")]

    def test_where_mons_cannot_tell_who_listens_all_of_it_needs_consent(self) -> None:
        group = Group(gateways=in_map("ab"), listening=None, subsystems=SHOWN)
        (step,) = analyze(a_gateway(instances=1), running(a_gateway(), group=group)).steps
        assert NQN in step.reason

    def test_it_waits_until_another_can_stand_in_for_it(self) -> None:
        group = Group(gateways=in_map("abc", a="UNAVAILABLE"), listening=at("b", "c"), subsystems=SHOWN)
        seen = running(a_gateway(instances=3), "abc", group=group)
        assert steps(a_gateway(instances=2), seen) == [
            f"gateway my-gw-c: StopGateway <- gateway {A} to be available to the mons"
        ]
        # One that serves nobody goes at once.
        gone = replace(group, gateways=in_map("abc", a="UNAVAILABLE", c="UNAVAILABLE"))
        assert actions(a_gateway(instances=2), replace(seen, group=gone)) == [StopGateway("c", C, f"uid-{C}")]

    def test_it_leaves_the_map_after_its_pod_and_its_key_goes_last(self) -> None:
        seen = running(a_gateway(), "ab")
        stopped = replace(seen, deployments={"a": seen.deployments["a"]})
        found = steps(a_gateway(instances=1), stopped)
        assert found[:3] == [
            "gateway my-gw-b: Delete",
            "gateway my-gw-b: Wait <- pod rook-ceph-nvmeof-my-gw-b-x to be gone",
            "gateway my-gw-b: LeaveGroup",
        ]
        ended = replace(stopped, pods={"a": stopped.pods["a"]})
        assert names(actions(a_gateway(instances=1), ended)) == [
            f"Delete Service {B}",
            "LeaveGroup",
            f"Delete ConfigMap {B}-config",
            "RemoveUser",
            f"Delete Secret {B}-keyring",
        ]
        assert actions(a_gateway(instances=1), ended)[1] == LeaveGroup("b")
        assert actions(a_gateway(instances=1), ended)[3] == RemoveUser("client.nvmeof.my-gw.b")

    def test_what_is_left_in_the_map_alone_is_found(self) -> None:
        seen = running(a_gateway(instances=1), "a", group=Group(gateways=in_map("ab")))
        assert actions(a_gateway(instances=1), seen) == [LeaveGroup("b")]
        leaving = Group(gateways=in_map("ab", b="DELETING"))
        assert actions(a_gateway(instances=1), replace(seen, group=leaving)) == []


class TestDeletion:
    def test_without_a_cluster_it_goes(self) -> None:
        gone = GatewayObservation(waits_for="x", cluster_gone=True)
        assert actions(a_gateway(deleting=True), gone) == [LetGo()]
        assert steps(a_gateway(deleting=True), GatewayObservation(waits_for="x")) == ["gateways my-gw: Wait <- x"]

    def test_what_is_shown_is_named_and_needs_consent(self) -> None:
        gateway = a_gateway(deleting=True)
        plan = analyze(gateway, running(gateway))
        first = plan.steps[0]
        assert first.reason == f"hosts lose {NQN} (replicapool/disk; for any host)"
        assert first.consent == ('annotation rook.io/force-deletion: "true"; images and the settings of the group stay')
        assert {step.lane for step in plan.steps if step.action != LetGo()} == {"gateways my-gw"}
        sure = a_gateway(deleting=True, annotations=SURE)
        assert [type(action) for action in actions(sure, running(gateway))][:2] == [StopGateway, StopGateway]

    def test_what_gateways_of_others_show_as_well_is_not_lost(self) -> None:
        gateway = a_gateway(deleting=True)
        found = {**in_map("ab"), "other": Gateway(ana_group=7, availability="AVAILABLE", active=True)}
        group = Group(gateways=found, listening={NQN: frozenset({A, "other"})}, subsystems=SHOWN)
        assert not any(step.consent for step in analyze(gateway, running(gateway, group=group)).steps)

    def test_nothing_shown_nothing_asked(self) -> None:
        gateway = a_gateway(deleting=True)
        seen = running(gateway, group=Group(gateways=in_map("ab", a="CREATED", b="CREATED")))
        assert not any(step.consent for step in analyze(gateway, seen).steps)

    def test_mons_that_know_no_gateways_do_not_keep_it(self) -> None:
        gateway = a_gateway(deleting=True)
        seen = nothing(context=a_context(gateway), group=Group(known=False), pool=None, image="")
        assert actions(gateway, seen) == [LetGo()]
