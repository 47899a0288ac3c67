"""The ring's plan alone against a world, without an API server: many histories in little time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from controller.cassandra.access.answers import JobState, Keyspace, Mode, RefusedError, UnansweredError
from controller.cassandra.access.members import Door, Login
from controller.cassandra.member.analyze import analyze
from controller.cassandra.member.asked import asked_jobs
from controller.cassandra.member.joining import found
from controller.cassandra.member.orders import orders
from controller.cassandra.member.record import key, text
from controller.cassandra.member.ring import Scene, Seen
from controller.cassandra.member.roster import Roster, Standing
from controller.cassandra.member.steps import DeleteVolume, NewAddress, Replicate, Restart, Tell, Wish, WriteRoster
from controller.cassandra.member.volumes import objection
from controller.runtime.kube import CONFIG_MAP, POD, PVC, SERVICE, STATEFULSET
from tests.unit.cassandra.daemons import Volume
from tests.unit.cassandra.talk import WorldMembers
from tests.unit.cassandra.witness import Witness
from tests.unit.cassandra.world import NAMESPACE, World

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from controller.cassandra.access.answers import Job
    from controller.framework.plan import Step
    from informers import JsonObject, Resource

ADMIN = Login("rook", "secret")
PREFIX = "store-dc1"


class Plain:
    """Objects in dictionaries; see `tests.unit.cassandra.world.Server`."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str], JsonObject] = {}
        self._count = 0

    def list(self, resource: Resource, namespace: str = "") -> list[JsonObject]:
        return [obj for (kind, _), obj in list(self._objects.items()) if kind == resource.kind]

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        return self._objects.get((resource.kind, name))

    def create(self, resource: Resource, obj: JsonObject) -> JsonObject:
        self._count += 1
        obj["metadata"]["uid"] = f"uid-{self._count}"
        self._objects[resource.kind, obj["metadata"]["name"]] = obj
        return obj

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: JsonObject, *, subresource: str = ""
    ) -> JsonObject:
        obj = self._objects[resource.kind, name]
        for field, value in patch.items():
            obj[field] = {**obj.get(field, {}), **value}
        return obj

    def delete(self, resource: Resource, namespace: str, name: str, *, grace: int | None = None) -> JsonObject:
        return self._objects.pop((resource.kind, name), {})


class Rounds:
    """An operator of which each look may be its last.

    Args:
        racks: Members by rack.
        seed: Of what happens by chance.
        copies: Of the user's keyspace.
    """

    def __init__(self, racks: Mapping[str, int], *, seed: int = 0, copies: int = 2) -> None:
        self.server, self.now = Plain(), 1_000_000.0
        self.world = World(self.server, seed=seed, copies=copies, clock=lambda: self.now)
        self.wish = Wish(prefix=PREFIX, racks=dict(racks), wipe=True)
        self.roster: Roster | None = None
        self.by_hand: dict[str, str] = {}
        """Members that somebody told to leave, and their host IDs."""

    def tick(self) -> None:
        """A second of the world."""
        self.now += 1
        self.world.tick()
        self.consent()

    def scale(self, rack: str, count: int) -> None:
        """The spec asks for another number of members."""
        self.wish = replace(self.wish, racks={**self.wish.racks, rack: count})

    def give_up(self, name: str) -> None:
        """A member is lost, and the spec says so."""
        if self.roster is not None and name in self.roster.members:
            self.wish = replace(self.wish, lost={**self.wish.lost, name: self.roster.seats[name].host_id})
            self.world.lose(name)

    def give_up_newcomer(self) -> None:
        """Who comes is lost before it has a place in the ring, and the spec says so."""
        moving = self.roster.moving if self.roster is not None else None
        if moving is None or moving[1].standing not in (Standing.JOINING, Standing.REPLACING):
            return
        name = moving[0]
        claim = self.server.find(PVC, NAMESPACE, f"data-{name}")
        process = self.world.processes.get(name)
        if claim is not None and process is not None and not process.volume.bootstrapped:
            self.world.lose_node(name)
            self.wish = replace(self.wish, lost={**self.wish.lost, name: claim["metadata"]["uid"]})

    def tell_by_hand(self, name: str, *, alone: bool) -> None:
        """Somebody has a member leave: the one that is to leave anyhow, or, where nothing else moves, another."""
        process, roster = self.world.processes.get(name), self.roster
        seat = roster.seats.get(name) if roster is not None else None
        if seat is None or process is None or process.mode is not Mode.NORMAL or not process.volume.bootstrapped:
            return
        if seat.standing is Standing.LEAVING and not seat.lost:
            self.world.decommission(name)
        elif alone and seat.standing is Standing.MEMBER:
            self.world.decommission(name)
            self.by_hand[name] = seat.host_id

    def restart_who_stopped(self) -> None:
        """Somebody deletes the pods of those that were told by hand to leave, and stopped, as the plan says."""
        for process in list(self.world.processes.values()):
            told = process.jobs.get("decommission-by-hand")
            if process.mode is Mode.LEAVING and told is not None and told.state is JobState.FAILED:
                self.world.kill(process.name)

    def consent(self) -> None:
        """Whoever left because somebody told it by hand, as all know, is given up."""
        processes = self.world.processes
        for name, host_id in self.by_hand.items():
            known = {h for p in processes.values() if p.serves for h in p.view.host_ids.values()}
            if name in processes and processes[name].volume.left and host_id not in known:
                self.wish = replace(self.wish, lost={**self.wish.lost, name: host_id})

    def operate(self, most: int = 10) -> tuple[Step, ...]:
        """A look, of whose steps at most so many are carried out: then the operator dies."""
        self._objects()
        scene = self.scene()
        if self.roster is None:
            steps = tuple(found(self.wish, new_roster(), scene))
        else:
            steps = analyze(self.wish, self.roster, scene)
        for step in steps[:most]:
            if step.waits_for or step.consent or step.action is None:
                break
            try:
                self._carry_out(step.action)
            except (UnansweredError, RefusedError):
                break
        return steps

    def settled(self) -> bool:
        """Whether the members are those that are wanted, and nothing is left to do, nor does anybody leave by hand."""
        roster, modes = self.roster, {process.mode for process in self.world.processes.values()}
        if roster is None or roster.moving is not None or roster.chores:
            return False
        if modes & {Mode.LEAVING, Mode.DECOMMISSIONED}:
            return False
        sizes = {rack: len(roster.rack(rack)) for rack in self.wish.racks}
        return sizes == self.wish.racks and not self.operate(0)

    def scene(self) -> Scene:
        """What an observation finds."""
        seen, roster = {}, self.roster if self.roster is not None else new_roster()
        names = {wanted for rack, count in self.wish.racks.items() for wanted in self._names(rack, count)}
        pods = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in self.server.list(POD)}
        claims = {c["metadata"]["name"].removeprefix("data-"): c["metadata"]["uid"] for c in self.server.list(PVC)}
        keyspaces = None
        jobs: dict[tuple[str, str], Job | None] = {}
        for name in {*names, *roster.seats, *pods, *claims}:
            service, process = self.server.find(SERVICE, NAMESPACE, name), self.world.processes.get(name)
            look = None
            if process is not None:
                try:
                    look = done(self._member(name).look())
                    keyspaces = done(self._member(name).keyspaces())
                except UnansweredError:
                    look = None
            seen[name] = Seen(
                address=service["spec"].get("clusterIP", "") if service is not None else "",
                look=look,
                pod=pods.get(name, ""),
                claim=claims.get(name, ""),
                service=service["metadata"]["uid"] if service is not None else "",
            )
        for name, job_id in asked_jobs(roster, pods, keyspaces or ()):
            try:
                jobs[name, job_id] = done(self._member(name).job(job_id))
            except (UnansweredError, KeyError):
                continue
        strangers = {name: uid for name, uid in claims.items() if name not in roster.seats}
        return Scene(now=self.now, seen=seen, keyspaces=keyspaces, jobs=jobs, strangers=strangers)

    def _names(self, rack: str, count: int) -> list[str]:
        return [f"{PREFIX}-{rack}-{ordinal}" for ordinal in range(count)]

    def _member(self, name: str) -> Any:
        return WorldMembers(self.world).member(Door(self.world.processes[name].ip, ADMIN))

    def _objects(self) -> None:
        """What follows from the roster as it is written."""
        roster = self.roster if self.roster is not None else new_roster()
        wanted = {wanted for rack, count in self.wish.racks.items() for wanted in self._names(rack, count)}
        for name in {*wanted, *roster.seats}:
            if self.server.find(SERVICE, NAMESPACE, name) is None:
                self.server.create(SERVICE, {"metadata": {"name": name}, "spec": {}})
        self._write(roster)
        for rack in {*self.wish.racks, *(seat.rack for seat in roster.seats.values())}:
            template = {"metadata": {"labels": {"cassandra.rook.io/version": "5.0.3"}}}
            claim = {"metadata": {"name": "data", "labels": {}}, "spec": {}}
            spec = {"replicas": roster.replicas(rack), "template": template, "volumeClaimTemplates": [claim]}
            spec["podManagementPolicy"] = "Parallel"
            self.server.create(STATEFULSET, {"metadata": {"name": f"{PREFIX}-{rack}"}, "spec": spec})

    def _write(self, roster: Roster) -> None:
        """The roster, and what members are told by it: both are one object."""
        addresses = {s["metadata"]["name"]: s["spec"].get("clusterIP", "") for s in self.server.list(SERVICE)}
        claims = {c["metadata"]["name"].removeprefix("data-"): c["metadata"]["uid"] for c in self.server.list(PVC)}
        records = orders(roster, addresses, claims)
        data = {key(name): text(record) for name, record in records.items()}
        self.server.create(CONFIG_MAP, {"metadata": {"name": "store-members"}, "data": data})

    def _carry_out(self, action: object) -> None:
        roster = self.roster if self.roster is not None else new_roster()
        for violation in Witness(self.world, self.wish, roster).objections(action):
            self.world.blame(violation)
        match action:
            case WriteRoster(roster):
                self.roster = roster
                self._write(roster)
            case Tell(member, job, command):
                if member in self.world.processes:
                    done(self._member(member).start(job, command))
            case Replicate(_, keyspace, datacenter, copies):
                factors = {datacenter: copies}
                self.world.keyspaces[keyspace] = Keyspace(keyspace, "NetworkTopologyStrategy", factors)
            case NewAddress(member, _, _):
                self.server.delete(SERVICE, NAMESPACE, member)
            case Restart(member, _):
                self.world.kill(member)
            case DeleteVolume():
                self._delete(action)
            case _:
                raise AssertionError(action)

    def _delete(self, action: DeleteVolume) -> None:
        """The claim goes, and its data, if members say at this moment, too, that they are nobody's."""
        why = objection(action, self.roster if self.roster is not None else new_roster(), self.scene())
        if why:
            raise RefusedError(why)
        self.world.blocked.discard(action.member)
        volume = self.world.volumes.get(action.claim, Volume())
        claim = self.server.find(PVC, NAMESPACE, f"data-{action.member}")
        if claim is not None and claim["metadata"]["uid"] == action.claim:
            self.server.delete(PVC, NAMESPACE, f"data-{action.member}")
            self.world.holders.pop(volume.host_id, None)
        if action.pod:
            self.world.kill(action.member)


def new_roster() -> Roster:
    """Of a ring that is not there yet."""
    return Roster(cluster="store", datacenter="dc1", num_tokens=16, authentication=True)


def done[T](call: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        call.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("it waits")
