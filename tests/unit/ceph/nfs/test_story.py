"""The life of NFS servers under an operator that dies before each of its acts, which is after the one before.

Servers behave as Ganesha does: one that is not in the database of grace periods does not start, one that starts or ends
begins a grace period, and that ends when all who need one have their clients back.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from controller.apis.ceph import CephNFS
from controller.ceph.access import ganesha
from controller.ceph.access.users import CreateKeyring, given
from controller.ceph.instances import LETTER_LABEL
from controller.ceph.nfs import act
from controller.ceph.nfs.act import RemoveUser
from controller.ceph.nfs.analyze import analyze
from controller.ceph.nfs.objects import HASH_ANNOTATION, context, daemon_of
from controller.ceph.nfs.observe import NfsObservation, PoolState
from controller.framework.children import Apply, Delete
from controller.framework.kind import LetGo
from controller.runtime.kube import Deployment
from tests.unit.ceph.cases import RELEASE, a_pod, live_object
from tests.unit.ceph.filesystems import cluster
from tests.unit.ceph.nfs.test_act import Ceph
from tests.unit.ceph.nfs.test_ganesha import KEY
from tests.unit.ceph.nfs_servers import NOW
from tests.unit.ceph.rados_objects import Stored

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

NEEDS, ENFORCES = 1, 2
LOOKS = 200


class DiedError(Exception):
    """The operator is gone at this point; the next one begins from what there is."""


class World:
    """A Kubernetes with a CephNFS, its objects and pods, and a Ceph that has what servers share.

    Args:
        dies: The how manieth act the operator dies before; 0: none.
    """

    def __init__(self, dies: int = 0) -> None:
        self.ceph = Ceph()
        self.objects: dict[tuple[str, str], JsonObject] = {}
        self.users: set[str] = set()
        self.pods: dict[str, str] = {}
        """By letter: the configuration with which the server runs."""
        self.spec: JsonObject = {}
        self.deleting = self.gone = False
        self.acts, self._dies = 0, dies

    @property
    def nfs(self) -> CephNFS:
        meta: JsonObject = {"name": "my-nfs", "namespace": "rook-ceph", "uid": "n1", "generation": 1}
        if self.deleting:
            meta["deletionTimestamp"] = NOW
        return msgspec.convert({"metadata": meta, "spec": self.spec}, CephNFS)

    def flags(self) -> dict[str, int]:
        found = self.ceph.objects.stored.get(KEY)
        return {key.removeprefix("my-nfs."): value[0] for key, value in found.keys.items()} if found else {}

    def _put(self, flags: dict[str, int], *, recovering: bool) -> None:
        stored = self.ceph.objects.stored[KEY]
        current, before = struct.unpack("<QQ", stored.data)
        if recovering and not before:
            current, before = current + 1, current
        data = struct.pack("<QQ", current, before if recovering else 0)
        keys = {f"my-nfs.{server}": bytes((value,)) for server, value in flags.items()}
        self.ceph.objects.stored[KEY] = Stored(data, keys, stored.version + 1)

    @property
    def in_grace(self) -> bool:
        found = self.ceph.objects.stored.get(KEY)
        return found is not None and struct.unpack("<QQ", found.data)[1] != 0

    def _begins_grace(self, server: str) -> None:
        self._put({**self.flags(), server: NEEDS | ENFORCES}, recovering=True)

    def kubelet(self) -> None:
        """Pods follow their Deployments, and clients take back what they had."""
        wanted = {
            obj["metadata"]["labels"][LETTER_LABEL]: obj["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
            for (kind, _), obj in self.objects.items()
            if kind == "Deployment"
        }
        for server in sorted(self.pods):
            if self.pods[server] != wanted.get(server):
                others = [found for found in self.pods if found != server]
                if not self.deleting:
                    assert not self.in_grace, f"{server} ends within a grace period"
                    assert all(self.pods[found] == wanted.get(found, self.pods[found]) for found in others), (
                        "two at once"
                    )
                del self.pods[server]
                self._begins_grace(server)
                return
        starting = sorted(set(wanted) - set(self.pods))
        for server in starting:
            assert server in self.flags(), f"{server} is not in the database, and its pod fails"
            assert f"client.nfs-ganesha.my-nfs.{server}" in self.users
            self.pods[server] = wanted[server]
            self._begins_grace(server)
        if not starting and self.in_grace:
            flags = {s: f & ~NEEDS if s in self.pods else f for s, f in self.flags().items()}
            waited = any(value & NEEDS for value in flags.values())
            self._put(flags if waited else dict.fromkeys(flags, 0), recovering=waited)

    async def observe(self) -> NfsObservation:
        nfs = self.nfs
        shared = await ganesha.read(self.ceph, "my-nfs")
        deployments = {}
        for (kind, _), obj in self.objects.items():
            if kind == "Deployment":
                server = obj["metadata"]["labels"][LETTER_LABEL]
                runs = self.pods.get(server) == obj["spec"]["template"]["metadata"]["annotations"][HASH_ANNOTATION]
                status = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": int(runs)}
                deployments[server] = msgspec.convert({**obj, "status": status}, Deployment)
        return NfsObservation(
            context=replace(context(nfs, cluster(), RELEASE), budgets=False),
            pool=PoolState(applications=frozenset({"nfs"})),
            shared=shared,
            deployments=deployments,
            pods={server: (a_pod(daemon_of("my-nfs", server)),) for server in self.pods},
            live=dict(self.objects),
        )

    def handlers(self) -> dict[type, Any]:
        async def get(*_: object) -> JsonObject:
            return cast("JsonObject", msgspec.to_builtins(self.nfs))

        async def listed(*_: object, label_selector: str) -> list[JsonObject]:
            server = label_selector.partition("ceph_daemon_id=my-nfs-")[2].partition(",")[0]
            return [{"metadata": {"name": server}}] if server in self.pods else []

        async def delete(resource: Any, _: str, name: str, *, uid: str) -> None:
            self.objects.pop((resource.kind, name), None)

        async def nobody() -> tuple[str, ...]:
            return ()

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
        own = act.handlers(self.nfs, client, cast("RadosCluster", self.ceph), nobody)
        return own | {
            Apply: apply,
            Delete: delete_object,
            CreateKeyring: keyring,
            RemoveUser: remove_user,
            LetGo: let_go,
        }

    async def look(self) -> bool:
        """One look of the operator; whether it had nothing left to do."""
        plan, handlers = analyze(self.nfs, await self.observe()), self.handlers()
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
        """Looks until nothing is left to do, and servers and pods do their part meanwhile."""
        for _ in range(LOOKS):
            try:
                rests = await self.look()
            except DiedError:
                rests = False
            if self.gone:
                return
            if rests and not self.in_grace:
                return
            self.kubelet()
        raise AssertionError(f"not at rest: {[str(s) for s in analyze(self.nfs, await self.observe()).steps]}")


async def live(world: World) -> World:
    """From nothing to two servers, another configuration, three, one, and none."""
    for spec, servers in (
        ({"server": {"active": 2}}, "ab"),
        ({"server": {"active": 2, "port": 12049}}, "ab"),
        ({"server": {"active": 3, "port": 12049}}, "abc"),
        ({"server": {"active": 1, "port": 12049}}, "a"),
    ):
        world.spec = spec
        await world.settle()
        assert sorted(world.pods) == list(servers)
        assert world.flags() == dict.fromkeys(servers, 0)
        assert world.users == {f"client.nfs-ganesha.my-nfs.{server}" for server in servers}
        assert len(world.objects) == 4 * len(servers)
        assert len(set(world.pods.values())) == len(servers), "each has a configuration of its own"
    world.deleting = True
    await world.settle()
    assert (world.pods, world.flags(), world.users) == ({}, {}, set())
    return world


async def test_nothing_is_done_twice() -> None:
    world = await live(World())
    acts = world.acts
    # A life of seven servers and one restart of two, and not an act more.
    assert acts == (await live(World())).acts <= 60


async def test_an_operator_may_die_at_any_act() -> None:
    acts = (await live(World())).acts
    for number in range(1, acts + 1):
        await live(World(number))
