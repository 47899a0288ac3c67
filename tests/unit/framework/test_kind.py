"""A kind's control loop on the test kit's API server: what every kind gets by handing in its functions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from controller.apis.meta import ApiStruct, ObjectMeta
from controller.apis.plan import PlanStatus
from controller.framework.kind import ControlLoop, LetGo, Look, controller_of
from controller.framework.pace import BURST
from controller.framework.plan import Outcome, Plan, Step, plan_status
from controller.framework.status import timestamp
from controller.testkit import ApiServer, new_manager, now, running, until, virtual_time, wall_clock
from informers import Resource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from controller.framework.plan import Handler
    from controller.runtime import Manager, Request
    from informers import JsonObject

RINGS = Resource("example.rook.io", "v1", "Ring", "rings")
FINALIZER = "ring.example.rook.io"
PLAN_MODE = {"rook.io/mode": "plan"}


class RingSpec(ApiStruct, frozen=True, kw_only=True):
    size: int = 0


class RingStatus(ApiStruct, frozen=True, kw_only=True):
    message: str = ""
    mode: str = ""
    asked: tuple[str, ...] = ()
    plan: PlanStatus = PlanStatus()


class Ring(ApiStruct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: RingSpec = RingSpec()
    status: RingStatus = RingStatus()


@dataclass(frozen=True)
class Count:
    """Find out how large the ring is."""


@dataclass(frozen=True)
class Resize:
    size: int


@dataclass
class Rings:
    """The system: rings by name, and what was done to them."""

    server: ApiServer
    sizes: dict[str, int] = field(default_factory=dict)
    broken: bool = False
    looks: list[float] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    rest: float | None = None

    async def observe(self, ring: Ring, _: float) -> int:
        self.looks.append(now())
        return self.sizes.get(ring.metadata.name, 0)

    def analyze(self, ring: Ring, size: int) -> Plan:
        if ring.metadata.deletion_timestamp is not None:
            wanted, last = 0, (Step(subject="ring", action=LetGo(), reason="it is empty"),)
        else:
            wanted, last = ring.spec.size, (Step(subject="count", action=Count(), reason="why not", observes=True),)
        resize = Step(subject="ring", action=Resize(wanted), reason=f"it has {size}, wanted {wanted}")
        return Plan(steps=(*((resize,) if size != wanted else ()), *last), look_again=self.rest)

    def handlers(self, ring: Ring, _: int) -> Mapping[type, Handler]:
        name = ring.metadata.name

        async def resize(action: Resize) -> None:
            if self.broken:
                raise ConnectionError("the ring does not answer")
            held = self.server.get(RINGS, "ns", name)["metadata"].get("finalizers", [])
            self.done.append(f"resize to {action.size} {held}")
            self.sizes[name] = action.size

        async def count(_: Count) -> None:
            self.done.append("count")

        return {Resize: resize, Count: count}

    def show(self, look: Look[Ring], size: int, outcome: Outcome) -> RingStatus:
        at = timestamp(look.now)
        status, failed = look.obj.status, outcome.failures
        message = failed[0].error if failed else f"size {self.sizes.get(look.obj.metadata.name, 0)}"
        plan = PlanStatus(steps=plan_status(outcome, status.plan.steps, at))
        return RingStatus(message=message, mode=look.mode, asked=tuple(sorted(look.spec)), plan=plan)

    def refuse(self, ring: Ring) -> RingStatus | None:
        return RingStatus(message="too large") if ring.spec.size > 100 else None

    def forget(self, request: Request) -> None:
        self.forgotten.append(request.name)

    @property
    def loop(self) -> ControlLoop[Ring, int]:
        return ControlLoop(
            resource=RINGS,
            observe=self.observe,
            analyze=self.analyze,
            handlers=self.handlers,
            show=self.show,
            finalizer=FINALIZER,
            refuse=self.refuse,
            forget=self.forget,
        )


def a_system() -> tuple[ApiServer, Rings]:
    server = ApiServer(namespaces=("ns",))
    server.serve(RINGS)
    return server, Rings(server)


def serving(server: ApiServer, loop: ControlLoop[Ring, int]) -> AbstractAsyncContextManager[Manager]:
    manager = new_manager(server)
    rings = manager.informers.informer(RINGS, Ring)
    clock = lambda: wall_clock().timestamp()  # noqa: E731
    manager.add(controller_of(manager, loop, rings, workers=1, clock=clock))
    return running(manager)


def create(server: ApiServer, size: int, **meta: Any) -> None:
    spec = {"size": size, "colour": "red"}
    server.create(RINGS, {"metadata": {"name": "a", "namespace": "ns", **meta}, "spec": spec})


def status(server: ApiServer) -> JsonObject:
    return dict((server.find(RINGS, "ns", "a") or {}).get("status", {}))


@virtual_time
async def test_what_is_wanted_is_done_under_the_finalizer_and_shown() -> None:
    server, rings = a_system()
    async with serving(server, rings.loop):
        create(server, 3)
        await until(lambda: status(server).get("message") == "size 3")
        assert rings.done[0] == f"resize to 3 ['{FINALIZER}']", "no ring is made that nobody would remove"
        assert (status(server)["mode"], status(server)["asked"]) == ("apply", ["colour", "size"])


@virtual_time
async def test_a_status_that_says_the_same_is_not_written() -> None:
    server, rings = a_system()
    rings.rest = 5.0
    async with serving(server, replace(rings.loop, analyze=lambda ring, size: Plan(look_again=5.0))):
        create(server, 0)
        await until(lambda: len(rings.looks) > 3)
        version = server.get(RINGS, "ns", "a")["metadata"]["resourceVersion"]
        await until(lambda: len(rings.looks) > 9)
        assert server.get(RINGS, "ns", "a")["metadata"]["resourceVersion"] == version
        assert rings.looks[-1] - rings.looks[-2] == pytest.approx(5.0)


@virtual_time
async def test_a_plan_that_is_only_shown_finds_out_what_it_can_and_does_nothing_else() -> None:
    server, rings = a_system()
    async with serving(server, rings.loop):
        create(server, 3, annotations=PLAN_MODE)
        await until(lambda: status(server).get("mode") == "plan")
        await anyio.sleep(1.0)
        assert set(rings.done) == {"count"}
        assert "finalizers" not in server.get(RINGS, "ns", "a")["metadata"]
        (row,) = status(server)["plan"]["steps"]
        assert (row["action"], row["state"]) == ("Resize", "Pending")
        server.patch(RINGS, "ns", "a", {"metadata": {"annotations": {"rook.io/mode": None}}})
        await until(lambda: rings.sizes == {"a": 3})


@virtual_time
async def test_an_object_that_is_deleted_goes_when_its_plan_lets_it_and_is_forgotten() -> None:
    server, rings = a_system()
    async with serving(server, rings.loop):
        create(server, 3)
        await until(lambda: rings.sizes == {"a": 3})
        rings.broken = True
        server.delete(RINGS, "ns", "a")
        await until(lambda: status(server).get("message") == "the ring does not answer")
        assert rings.forgotten == []
        rings.broken = False
        await until(lambda: server.find(RINGS, "ns", "a") is None)
        await until(lambda: rings.forgotten == ["a"])
        assert rings.sizes == {"a": 0}


@virtual_time
async def test_an_object_that_is_held_by_others_only_is_left_alone() -> None:
    server, rings = a_system()
    create(server, 3, finalizers=["example.com/other"])
    server.delete(RINGS, "ns", "a")
    async with serving(server, rings.loop):
        await anyio.sleep(5.0)
        assert (rings.looks, status(server)) == ([], {})


@virtual_time
async def test_an_object_that_is_refused_is_told_so_and_nothing_is_done_for_it() -> None:
    server, rings = a_system()
    async with serving(server, rings.loop):
        create(server, 101)
        await until(lambda: status(server).get("message") == "too large")
        assert rings.looks == []
        assert "finalizers" not in server.get(RINGS, "ns", "a")["metadata"]
        server.patch(RINGS, "ns", "a", {"spec": {"size": 2}})
        await until(lambda: rings.sizes == {"a": 2})


@virtual_time
async def test_a_failure_is_shown_and_tried_again_later_and_later_until_the_spec_is_mended() -> None:
    server, rings = a_system()
    rings.broken = True
    async with serving(server, replace(rings.loop, analyze=lambda ring, size: one_resize(ring, size))):
        create(server, 3)
        await until(lambda: status(server).get("message") == "the ring does not answer")
        await until(lambda: len(rings.looks) > 6)
        waits = [later - earlier for earlier, later in zip(rings.looks[-5:], rings.looks[-4:], strict=False)]
        assert waits == sorted(waits)
        rings.broken = False
        server.patch(RINGS, "ns", "a", {"spec": {"size": 4}})
        await until(lambda: rings.sizes == {"a": 4})


def one_resize(ring: Ring, size: int) -> Plan:
    wanted = ring.spec.size
    return Plan(steps=() if size == wanted else (Step(subject="ring", action=Resize(wanted), reason="size"),))


@virtual_time
async def test_looks_are_paced_however_often_an_object_is_edited() -> None:
    server, rings = a_system()
    async with serving(server, replace(rings.loop, analyze=one_resize)):
        create(server, 0)
        await until(lambda: bool(rings.looks))
        for size in range(1, 100):
            server.patch(RINGS, "ns", "a", {"spec": {"size": size}})
            await anyio.sleep(0.01)
        assert len(rings.looks) <= BURST + 3
        await until(lambda: rings.sizes == {"a": 99})


@pytest.mark.parametrize("aside", [True, False])
async def test_long_work_is_done_beside_the_event_loop_where_a_kind_says_so(*, aside: bool) -> None:
    import threading

    server, rings = a_system()
    threads: set[bool] = set()

    def analyze(ring: Ring, size: int) -> Plan:
        threads.add(threading.current_thread() is threading.main_thread())
        return one_resize(ring, size)

    async with serving(server, replace(rings.loop, analyze=analyze, aside=aside)):
        create(server, 3)
        await until(lambda: rings.sizes == {"a": 3})
    assert threads == {not aside}
