"""The life of gateways under an operator that dies before each of its acts, which is after the one before.

Mons behave as those of Ceph 20.2.4 do with gateways that never start, and else as their source has it: one that is not
in the map does not start, one that stops is UNAVAILABLE, and one that starts gets its ANA group back a while later.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from controller.apis.ceph import CephNVMeOFGateway
from controller.ceph.access.users import CreateKeyring, given
from controller.ceph.instances import LETTER_LABEL
from controller.ceph.nvmeof import act
from controller.ceph.nvmeof.act import RemoveUser
from controller.ceph.nvmeof.analyze import analyze
from controller.ceph.nvmeof.objects import HASH_ANNOTATION, context, daemon_of
from controller.ceph.nvmeof.observe import GatewayObservation, ask
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo
from controller.runtime.kube import Deployment
from tests.unit.ceph.cases import a_pod, live_object
from tests.unit.ceph.filesystems import cluster
from tests.unit.ceph.nvmeof.test_mons import Ceph
from tests.unit.ceph.nvmeof_gateways import GROUP, IMAGE, NOW, NQN, TENTACLE
from tests.unit.ceph.rados_objects import Stored

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

LOOKS = 200
PREFIX = "rook-ceph-nvmeof-my-gw-"


class DiedError(Exception):
    """The operator is gone at this point; the next one begins from what there is."""


class World:
    """A Kubernetes with a CephNVMeOFGateway, its objects and pods, and mons with their map of gateways.

    Args:
        dies: The how manieth act the operator dies before; 0: none.
    """

    def __init__(self, dies: int = 0) -> None:
        pool = {"pool_name": ".nvmeof", "erasure_code_profile": "", "application_metadata": {"rbd": {}}}
        self.ceph = Ceph(
            {
                "osd pool ls": lambda detail="": [pool] if detail else [".nvmeof"],
                "nvme-gw show": lambda **_: {"Created Gateways:": self.rows()},
                "nvme-gw listeners": lambda **_: {"Created listeners": {NQN: self.listening()}},
                "nvme-gw create": lambda **args: self.states.setdefault(args["id"].removeprefix(PREFIX), "CREATED"),
                "nvme-gw delete": self.delete_gateway,
            }
        )
        self.ceph.objects.stored["", f"nvmeof.{GROUP}.state"] = Stored(b"", {f"subsystem_{NQN}": b"{}"})
        self.states: dict[str, str] = {}
        """By letter: how the mons have the gateway; "STANDBY": available, but without its own ANA group yet."""
        self.objects: dict[tuple[str, str], JsonObject] = {}
        self.users: set[str] = set()
        self.pods: dict[str, str] = {}
        """By letter: the configuration with which the gateway runs."""
        self.spec: JsonObject = {}
        self.annotations: dict[str, str] = {}
        self.deleting = self.gone = False
        self.acts, self._dies = 0, dies

    @property
    def gateway(self) -> CephNVMeOFGateway:
        meta: JsonObject = {"name": "my-gw", "namespace": "rook-ceph", "uid": "g1", "annotations": self.annotations}
        if self.deleting:
            meta["deletionTimestamp"] = NOW
        return msgspec.convert({"metadata": meta, "spec": {"group": GROUP, **self.spec}}, CephNVMeOFGateway)

    def rows(self) -> list[JsonObject]:
        return [
            {
                "gw-id": f"{PREFIX}{letter}",
                "anagrp-id": number,
                "Availability": "AVAILABLE" if state == "STANDBY" else state,
                "ana states": f" {number}: {'ACTIVE' if state == 'AVAILABLE' else 'STANDBY'} ",
            }
            for number, (letter, state) in enumerate(sorted(self.states.items()), 1)
        ]

    def listening(self) -> list[JsonObject]:
        serving = [letter for letter, state in self.states.items() if state in ("AVAILABLE", "STANDBY")]
        return [{"gw_id": f"{PREFIX}{letter}"} for letter in serving]

    def delete_gateway(self, **args: str) -> None:
        letter = args["id"].removeprefix(PREFIX)
        assert letter not in self.pods, f"{letter} runs, and is taken out of the map"
        self.states.pop(letter, None)

    def kubelet(self) -> None:
        """Pods follow their Deployments, and mons their beacons."""
        wanted = {
            obj["metadata"]["labels"][LETTER_LABEL]: obj["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
            for (kind, _), obj in self.objects.items()
            if kind == "Deployment"
        }
        for letter in sorted(self.pods):
            if self.pods[letter] != wanted.get(letter):
                others = {state for found, state in self.states.items() if found != letter and found in self.pods}
                if not self.deleting:
                    assert others <= {"AVAILABLE"}, f"{letter} stops while others are {others}"
                del self.pods[letter]
                self.states[letter] = "UNAVAILABLE"
                return
        starting = sorted(set(wanted) - set(self.pods))
        for letter in starting:
            assert letter in self.states, f"{letter} is not in the map, and waits for its group for ever"
            assert f"client.nvmeof.my-gw.{letter}" in self.users
            self.pods[letter] = wanted[letter]
            self.states[letter] = "STANDBY"
        if not starting:
            self.states |= dict.fromkeys(self.pods, "AVAILABLE")

    async def observe(self) -> GatewayObservation:
        deployments = {}
        for (kind, _), obj in self.objects.items():
            if kind == "Deployment":
                letter = obj["metadata"]["labels"][LETTER_LABEL]
                runs = self.pods.get(letter) == obj["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
                status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(runs)}
                deployments[letter] = msgspec.convert({**obj, "status": status}, Deployment)
        return replace(
            await ask(self.ceph, GROUP, IMAGE),
            context=replace(context(self.gateway, cluster(), TENTACLE), budgets=False),
            deployments=deployments,
            pods={letter: (a_pod(daemon_of("my-gw", letter)),) for letter in self.pods},
            live=dict(self.objects),
        )

    def handlers(self) -> dict[type, Any]:
        async def get(*_: object) -> JsonObject:
            return cast("JsonObject", msgspec.to_builtins(self.gateway))

        async def listed(*_: object, label_selector: str) -> list[JsonObject]:
            letter = label_selector.partition("ceph_daemon_id=my-gw-")[2].partition(",")[0]
            return [{"metadata": {"name": letter}}] if letter in self.pods else []

        async def delete(resource: Any, _: str, name: str, *, uid: str) -> None:
            self.objects.pop((resource.kind, name), None)

        async def apply(action: Apply) -> None:
            self.objects[action.obj["kind"], action.obj["metadata"]["name"]] = live_object(action.obj)

        async def delete_object(action: Delete) -> None:
            self.objects.pop((action.resource.kind, action.name), None)

        async def keyring(action: CreateKeyring) -> None:
            self.users.add(action.entity)
            meta = {"name": action.secret, "namespace": "rook-ceph", "uid": action.secret, "labels": action.labels}
            annotations = given(action.caps)
            self.objects["Secret", action.secret] = {"kind": "Secret", "metadata": {**meta, "annotations": annotations}}

        async def remove_user(action: RemoveUser) -> None:
            self.users.discard(action.entity)

        async def let_go(_: LetGo) -> None:
            self.gone = True

        client = cast("Client", SimpleNamespace(get=get, list=listed, delete=delete))
        own = act.handlers(self.gateway, GROUP, client, cast("RadosCluster", self.ceph))
        return own | {
            Apply: apply,
            Delete: delete_object,
            CreateKeyring: keyring,
            RemoveUser: remove_user,
            LetGo: let_go,
        }

    async def look(self) -> bool:
        """One look of the operator; whether it had nothing left to do."""
        plan, handlers = analyze(self.gateway, await self.observe()), self.handlers()
        held: set[str] = set()
        for step in plan.steps:
            lane = step.lane or step.subject
            if lane in held:
                continue
            if step.held_by is not None or step.action is None:
                held.add(lane)
                continue
            self.acts += 1
            if self.acts == self._dies:
                raise DiedError
            await handlers[type(step.action)](step.action)
        return not plan.steps

    async def settle(self) -> None:
        """Looks until nothing is left to do, and gateways, mons and pods do their part meanwhile."""
        for _ in range(LOOKS):
            try:
                rests = await self.look()
            except DiedError:
                rests = False
            if self.gone or (rests and set(self.states.values()) <= {"AVAILABLE"}):
                return
            self.kubelet()
        raise AssertionError(f"not at rest: {[str(s) for s in analyze(self.gateway, await self.observe()).steps]}")


async def live(world: World) -> World:
    """From nothing to two gateways, another configuration, three, one, and none."""
    for spec, letters in (
        ({"instances": 2}, "ab"),
        ({"instances": 2, "ports": {"gatewayPort": 6000}}, "ab"),
        ({"instances": 3, "ports": {"gatewayPort": 6000}}, "abc"),
        ({"instances": 1, "ports": {"gatewayPort": 6000}}, "a"),
    ):
        world.spec = spec
        await world.settle()
        assert sorted(world.pods) == list(letters)
        assert world.states == dict.fromkeys(letters, "AVAILABLE")
        assert world.users == {f"client.nvmeof.my-gw.{letter}" for letter in letters}
        assert len(world.objects) == 4 * len(letters)
        assert len(set(world.pods.values())) == len(letters), "each has a configuration of its own"
    world.deleting, world.annotations = True, {"rook.io/force-deletion": "true"}
    await world.settle()
    assert (world.pods, world.states, world.users) == ({}, {}, set())
    return world


async def test_nothing_is_done_twice() -> None:
    world = await live(World())
    # A life of three gateways and one restart of two, and not an act more.
    assert world.acts == (await live(World())).acts <= 60


async def test_an_operator_may_die_at_any_act() -> None:
    acts = (await live(World())).acts
    for number in range(1, acts + 1):
        await live(World(number))


async def test_without_consent_the_last_gateway_of_a_subsystem_stays() -> None:
    world = World()
    world.spec = {"instances": 1}
    await world.settle()
    world.deleting = True
    for _ in range(5):
        await world.look()
        world.kubelet()
    assert (list(world.pods), world.states, world.gone) == (["a"], {"a": "AVAILABLE"}, False)
