"""Controllers in virtual time: who is reconciled, when, how often, and what failures do."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import anyio
import orjson
import pytest
from structlog.testing import capture_logs

from controller.runtime.controller import WARN_EVERY, Controller, Follow
from controller.runtime.kube import DEPLOYMENT, POD, Pod
from controller.runtime.leader import NotLeaderError
from controller.runtime.mapping import by_label, generation_changed, owned_by
from controller.runtime.reconciler import Request, Result, TerminalError, Write, current_reconcile
from controller.testkit import now, until, virtual_time
from informers import ApiError, Informer
from informers.cache import Cache
from informers.entry import Entry
from workqueue import LOW_PRIORITY

type Work = Callable[[Request], Awaitable[Result | None]]


class Recording:
    """A reconciler that notes what it was asked and when, and does the given work."""

    def __init__(self, work: Work | None = None) -> None:
        self.calls: list[tuple[float, Request]] = []
        self.running: set[Request] = set()
        self.most_running = 0
        self._work = work

    async def reconcile(self, request: Request) -> Result:
        assert request not in self.running, f"{request} is reconciled by two workers at once"
        self.calls.append((now(), request))
        self.running.add(request)
        self.most_running = max(self.most_running, len(self.running))
        try:
            return (await self._work(request) if self._work is not None else None) or Result()
        finally:
            self.running.remove(request)

    def times(self, name: str) -> list[float]:
        return [at for at, request in self.calls if request.name == name]


def always(_writes: Sequence[Write], _caught_up: Callable[[], None]) -> bool:
    return True


class Later:
    """Caches that show no write until the test says so."""

    def __init__(self) -> None:
        self.followed: list[list[Write]] = []
        self._waiting: list[Callable[[], None]] = []

    def follow(self, writes: Sequence[Write], caught_up: Callable[[], None]) -> bool:
        self.followed.append(list(writes))
        self._waiting.append(caught_up)
        return False

    def catch_up(self) -> None:
        while self._waiting:
            self._waiting.pop()()


def write_something() -> Write:
    """What the reconcile that goes on has written."""
    reconcile = current_reconcile.get()
    assert reconcile is not None
    reconcile.writes.append(Write(POD, "ns", "a", 7))
    return reconcile.writes[-1]


@asynccontextmanager
async def running(controller: Controller, follow: Follow = always) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(controller.run, follow)
        yield
        tasks.cancel_scope.cancel()


def new(reconciler: Recording, **options: Any) -> Controller:
    return Controller("test", reconciler, clock=now, **options)


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ns", **metadata}}


class Pods:
    """A cache of pods that the test changes."""

    def __init__(self) -> None:
        self.cache = Cache(POD, ("",))
        self.informer = Informer(self.cache, Pod)
        self._version = 0

    def put(self, name: str, **metadata: Any) -> None:
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        self.cache.put("ns", name, Entry(self._version, orjson.dumps(pod(name, **metadata))))

    def delete(self, name: str) -> None:
        self.cache.put("ns", name, None)


class TestWatching:
    @virtual_time
    async def test_every_change_of_an_object_asks_for_it_once(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        controller.watch(pods.informer)

        async with running(controller):
            pods.put("a")
            pods.put("a", labels={"x": "y"})
            await until(lambda: len(reconciler.calls) == 1)
            pods.delete("a")
            await until(lambda: len(reconciler.calls) == 2)

        assert {request for _, request in reconciler.calls} == {Request("ns", "a")}

    @virtual_time
    async def test_an_object_that_changes_hands_wakes_both_owners(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        controller.watch(pods.informer, owned_by(DEPLOYMENT))

        def owner(name: str, *, kind: str = "Deployment", api: str = "apps/v1", managing: bool = True) -> Any:
            return {"apiVersion": api, "kind": kind, "name": name, "uid": name, "controller": managing}

        async with running(controller):
            pods.put("a", ownerReferences=[owner("one")])
            await until(lambda: len(reconciler.calls) == 1)
            pods.put("a", ownerReferences=[owner("two")])
            await until(lambda: len(reconciler.calls) == 3)
            pods.put("b", ownerReferences=[owner("no", kind="Job"), owner("no", managing=False), owner("no", api="v1")])
            pods.put("c", ownerReferences=[owner("old-version", api="apps/v1beta1")])
            await until(lambda: len(reconciler.calls) == 4)

        assert [request.name for _, request in reconciler.calls] == ["one", "one", "two", "old-version"]

    @virtual_time
    async def test_a_plain_function_reconciles_and_need_not_return_anything(self) -> None:
        pods, asked = Pods(), list[Request]()

        async def reconcile(request: Request) -> None:
            asked.append(request)

        controller = Controller("function", reconcile)
        controller.watch(pods.informer)

        async with running(controller):
            pods.put("a")
            await until(lambda: controller.stats.success == 1)

        assert asked == [Request("ns", "a")]

    @virtual_time
    async def test_a_label_names_who_is_asked_for(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        controller.watch(pods.informer, by_label("cluster", namespaced=False))

        async with running(controller):
            pods.put("a", labels={"cluster": "one"})
            pods.put("b")
            await until(lambda: len(reconciler.calls) == 1)

        assert reconciler.calls[0][1] == Request("", "one")

    @virtual_time
    async def test_a_predicate_holds_back_changes_that_do_not_matter(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        controller.watch(pods.informer, predicate=generation_changed)

        async with running(controller):
            pods.put("a", generation=1)
            await until(lambda: len(reconciler.calls) == 1)
            pods.put("a", generation=1, labels={"x": "y"})
            pods.put("b", generation=1)
            await until(lambda: len(reconciler.calls) == 2)
            pods.put("a", generation=2)
            pods.put("b", generation=1, deletionTimestamp="2026-01-01T00:00:00Z")
            await until(lambda: len(reconciler.calls) == 4)
            pods.delete("a")
            await until(lambda: len(reconciler.calls) == 5)

        assert [request.name for _, request in reconciler.calls] == ["a", "b", "a", "b", "a"]

    @virtual_time
    async def test_of_a_kind_without_generations_every_change_matters(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        controller.watch(pods.informer, predicate=generation_changed)

        async with running(controller):
            pods.put("a")
            await until(lambda: len(reconciler.calls) == 1)
            pods.put("a", labels={"x": "y"})
            await until(lambda: len(reconciler.calls) == 2)

        assert [request.name for _, request in reconciler.calls] == ["a", "a"]

    @virtual_time
    async def test_an_object_that_could_not_be_read_is_looked_at_when_it_is_put_right(self) -> None:
        pods, reconciler = Pods(), Recording()
        own, labelled = new(reconciler), new(Recording())
        own.watch(pods.informer, predicate=generation_changed)
        labelled.watch(pods.informer, by_label("app"))
        pods.put("a", generation=1, labels="no map")
        assert len(own.queue) == 1
        own.queue.done(await own.queue.get())

        pods.put("a", generation=2, labels={"app": "web"})

        assert [key for key, _ in own.queue.next_ready(9)] == [Request("ns", "a")]
        assert [key for key, _ in labelled.queue.next_ready(9)] == [Request("ns", "web")]
        assert pods.cache.stats.handler_errors == 4

    @virtual_time
    async def test_an_edit_comes_before_the_rest_of_the_initial_list(self) -> None:
        pods, reconciler = Pods(), Recording()
        controller = new(reconciler)
        for name in ("one", "two", "three"):
            pods.put(name)
        controller.watch(pods.informer)  # it gets what is there already as initial
        assert set(controller.queue.depths()) == {LOW_PRIORITY}
        pods.put("edited")

        async with running(controller):
            await until(lambda: len(reconciler.calls) == 4)

        assert reconciler.calls[0][1].name == "edited"


class TestWorkers:
    @virtual_time
    async def test_no_request_is_worked_on_twice_at_once_and_all_workers_work(self) -> None:
        async def work(_request: Request) -> None:
            await asyncio.sleep(1)

        reconciler = Recording(work)
        controller = new(reconciler, workers=4)
        async with running(controller):
            for _ in range(50):
                for name in "abcdefgh":
                    controller.queue.add(Request("ns", name))
                await asyncio.sleep(0.3)
            await until(lambda: not reconciler.running)

        assert reconciler.most_running == 4
        assert {request.name for _, request in reconciler.calls} == set("abcdefgh")

    @virtual_time
    async def test_what_comes_while_it_is_worked_on_is_worked_on_again(self) -> None:
        async def work(_request: Request) -> None:
            await asyncio.sleep(1)

        reconciler = Recording(work)
        controller = new(reconciler, workers=2)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(0.5)
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(5)

        assert reconciler.times("a") == [0.0, 1.0]

    def test_there_must_be_one(self) -> None:
        with pytest.raises(ValueError, match="controller test: workers is 0"):
            new(Recording(), workers=0)

    @virtual_time
    async def test_shut_down_lets_them_finish_and_takes_no_more(self) -> None:
        finished: list[str] = []

        async def work(request: Request) -> None:
            await asyncio.sleep(1)
            finished.append(request.name)

        reconciler = Recording(work)
        controller = new(reconciler)
        for name in ("first", "second"):
            controller.queue.add(Request("ns", name))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(controller.run, always)
            await asyncio.sleep(0.5)
            controller.shut_down()

        assert finished == ["first"]
        assert now() == pytest.approx(1.0)


class TestResults:
    @virtual_time
    async def test_requeue_after(self) -> None:
        async def work(_request: Request) -> Result:
            return Result(requeue_after=10)

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(35)

        assert reconciler.times("a") == pytest.approx([0, 10, 20, 30])
        assert controller.stats.requeue_after == 4
        assert controller.stats.success == 0

    @virtual_time
    async def test_a_failure_is_tried_again_with_exponential_backoff_until_it_succeeds(self) -> None:
        async def work(_request: Request) -> None:
            if len(reconciler.calls) < 8:
                raise RuntimeError("not yet")

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(60)

        times = reconciler.times("a")
        pauses = [after - before for before, after in itertools.pairwise(times)]
        assert len(times) == 8
        for number, pause in enumerate(pauses):
            assert 0.9 * 0.005 * 2**number <= pause <= 0.005 * 2**number + 0.001
        assert (controller.stats.error, controller.stats.success) == (7, 1)
        assert controller.queue.requeues(Request("ns", "a")) == 0

    @pytest.mark.parametrize(
        ("outcome", "growing", "errors"),
        [
            (lambda: None, False, False),
            (Result, False, False),
            (lambda: Result(requeue_after=0.5), False, False),
            (lambda: Result(requeue_after=math.inf), False, False),
            (lambda: Result(requeue_after=0), True, False),
            (lambda: Result(requeue_after=-3.0), True, False),
            (lambda: Result(requeue_after=math.nan), True, True),
            (lambda: 5.0, True, True),
        ],
    )
    def test_what_a_result_leads_to(self, outcome: Callable[[], Any], growing: bool, errors: bool) -> None:
        @virtual_time
        async def run() -> None:
            class Answering(Recording):
                async def reconcile(self, request: Request) -> Result:
                    self.calls.append((now(), request))
                    answer: Result = outcome()
                    return answer

            reconciler = Answering()
            controller = new(reconciler)
            with capture_logs():
                async with running(controller):
                    controller.queue.add(Request("ns", "a"))
                    await asyncio.sleep(600)

            times = reconciler.times("a")
            pauses = [after - before for before, after in itertools.pairwise(times)]
            if growing:
                assert 15 <= len(times) <= 20
                assert pauses == sorted(pauses)
            else:
                assert all(pause == pytest.approx(0.5) for pause in pauses)
            assert (controller.stats.error == len(times)) == errors
            assert controller.queue.requeues(Request("ns", "a")) == (len(times) if growing else 0)

        run()

    @virtual_time
    async def test_another_result_ends_the_growth_of_one_that_asks_for_more_at_once(self) -> None:
        async def work(_request: Request) -> Result:
            return Result(requeue_after=100 if len(reconciler.calls) % 8 == 0 else 0)

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(1000)

        assert 72 <= len(reconciler.calls) <= 80
        assert controller.stats.error == 0

    @pytest.mark.parametrize(
        "outcome", [ApiError(503, "ServiceUnavailable", "not now"), Result(requeue_after=1), Result(requeue_after=0)]
    )
    def test_what_comes_again_by_itself_keeps_its_priority(self, outcome: Result | Exception) -> None:
        @virtual_time
        async def run() -> None:
            async def work(request: Request) -> Result:
                await asyncio.sleep(1)
                if request.name == "edited" or len(reconciler.times(request.name)) > 1:
                    return Result()
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            reconciler = Recording(work)
            controller = new(reconciler)
            for name in "abc":
                controller.queue.add(Request("ns", name), priority=LOW_PRIORITY)
            async with running(controller):
                await asyncio.sleep(3.5)  # all have come once, and wait again
                controller.queue.add(Request("ns", "edited"))
                await asyncio.sleep(10)

            assert [request.name for _, request in reconciler.calls[3:]].index("edited") <= 1

        run()

    @virtual_time
    async def test_one_that_fails_does_not_hold_up_others(self) -> None:
        async def work(request: Request) -> None:
            if request.name == "bad":
                raise RuntimeError("always")

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "bad"))
            await asyncio.sleep(1)
            controller.queue.add(Request("ns", "good"))
            await until(lambda: bool(reconciler.times("good")))

        assert now() == pytest.approx(1.0, abs=0.05)

    @virtual_time
    async def test_a_terminal_error_waits_for_a_change(self) -> None:
        async def work(_request: Request) -> None:
            raise TerminalError("spec.mon.count is 0, must be at least 1")

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(3600)
            assert len(reconciler.calls) == 1
            controller.queue.add(Request("ns", "a"))
            await until(lambda: len(reconciler.calls) == 2)

        assert (controller.stats.terminal, controller.stats.error) == (2, 2)

    @virtual_time
    async def test_of_several_errors_all_must_be_terminal(self) -> None:
        terminal, other = TerminalError("spec.a is 0"), ApiError(503, "ServiceUnavailable", "not now")
        failures = [
            ExceptionGroup("of a task group", [terminal, other]),
            ExceptionGroup("of a task group", [terminal, ExceptionGroup("of another", [TerminalError("spec.b is 0")])]),
        ]

        async def work(_request: Request) -> None:
            raise failures[len(reconciler.calls) - 1]

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(3600)

        assert (len(reconciler.calls), controller.stats.error, controller.stats.terminal) == (2, 2, 1)

    @pytest.mark.parametrize(
        ("error", "errors", "panics"),
        [
            (KeyError("x"), 1, 1),
            (AttributeError("x"), 1, 1),
            (ApiError(409, "Conflict", "changed"), 1, 0),
            (NotLeaderError("not the leader"), 0, 0),
            (ExceptionGroup("of a task group", [ValueError("x"), KeyError("x")]), 1, 1),
            (ExceptionGroup("of a task group", [ValueError("x"), NotLeaderError("not the leader")]), 0, 0),
        ],
    )
    def test_what_counts_as_what(self, error: Exception, errors: int, panics: int) -> None:
        @virtual_time
        async def run() -> None:
            async def work(_request: Request) -> None:
                if len(reconciler.calls) == 1:
                    raise error

            reconciler = Recording(work)
            controller = new(reconciler)
            async with running(controller):
                controller.queue.add(Request("ns", "a"))
                await until(lambda: controller.stats.success == 1)

            assert (controller.stats.error, controller.stats.panics) == (errors, panics)

        run()


class PanicError(BaseException):
    """As those of libraries in Rust, which no `except Exception` catches."""


class NamelessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "panics"),
    [
        (PanicError("index out of bounds"), 1),
        (BaseExceptionGroup("tasks", [PanicError("x"), ValueError("y")]), 1),
        (NamelessError(), 0),
    ],
)
def test_no_failure_of_one_request_ends_the_worker(error: BaseException, panics: int) -> None:
    @virtual_time
    async def run() -> None:
        async def work(request: Request) -> None:
            if request.name == "a" and len(reconciler.times("a")) == 1:
                raise error

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            controller.queue.add(Request("ns", "b"))
            await until(lambda: controller.stats.success == 2, within=60)

        assert (controller.stats.error, controller.stats.panics) == (1, panics)
        assert len(reconciler.times("a")) == 2

    run()


class TestTimeout:
    @virtual_time
    async def test_a_reconcile_that_takes_too_long_is_cut_off_and_tried_again(self) -> None:
        cut_off: list[float] = []

        async def work(request: Request) -> None:
            if request.name == "slow" and len(reconciler.times("slow")) == 1:
                try:
                    await asyncio.sleep(3600)
                except asyncio.CancelledError:
                    cut_off.append(now())
                    raise

        reconciler = Recording(work)
        controller = new(reconciler, reconcile_timeout=30)
        async with running(controller):
            await asyncio.sleep(7)
            controller.queue.add(Request("ns", "slow"))
            controller.queue.add(Request("ns", "next"))
            await until(lambda: controller.stats.success == 2)

        assert cut_off == pytest.approx([37.0])
        assert reconciler.times("next") == pytest.approx([37.0], abs=0.01)
        assert reconciler.times("slow")[1] == pytest.approx(37.0, abs=0.02)
        assert (controller.stats.timeouts, controller.stats.error) == (1, 1)

    @virtual_time
    async def test_many_short_ones_are_none_too_long(self) -> None:
        async def work(_request: Request) -> Result:
            await asyncio.sleep(9)
            return Result(requeue_after=0.5)

        reconciler = Recording(work)
        controller = new(reconciler, workers=3, reconcile_timeout=10)
        async with running(controller):
            for name in "abc":
                controller.queue.add(Request("ns", name))
            await asyncio.sleep(1000)

        assert controller.stats.timeouts == 0
        assert controller.stats.requeue_after > 300

    @virtual_time
    async def test_each_of_many_workers_is_watched(self) -> None:
        async def work(_request: Request) -> None:
            await asyncio.sleep(3600)

        reconciler = Recording(work)
        controller = new(reconciler, workers=3, reconcile_timeout=10)
        async with running(controller):
            for delay, name in ((0, "a"), (4, "b"), (3, "c")):
                await asyncio.sleep(delay)
                controller.queue.add(Request("ns", name))
            await asyncio.sleep(11)

        assert controller.stats.timeouts >= 3
        assert reconciler.times("b")[1] == pytest.approx(14.0, abs=0.1)

    @virtual_time
    async def test_a_cancelled_thing_that_a_reconciler_waits_for_does_not_end_the_worker(self) -> None:
        async def work(request: Request) -> None:
            if request.name == "a" and len(reconciler.times("a")) == 1:
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            controller.queue.add(Request("ns", "b"))
            await asyncio.sleep(10)

        assert len(reconciler.times("a")) == 2
        assert (controller.stats.success, controller.stats.error, controller.stats.timeouts) == (2, 1, 0)

    @virtual_time
    async def test_a_reconciler_that_cancels_its_own_task_does_not_end_the_worker(self) -> None:
        async def work(request: Request) -> None:
            if request.name == "a" and len(reconciler.times("a")) == 1:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)
            if request.name == "b" and len(reconciler.times("b")) == 1:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(fail())

        async def fail() -> None:
            raise ConnectionError("a TaskGroup tells its own cancellation from another's by the task's count")

        reconciler = Recording(work)
        controller = new(reconciler)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            controller.queue.add(Request("ns", "b"))
            await asyncio.sleep(10)

            assert len(reconciler.times("a")) == len(reconciler.times("b")) == 2
            assert (controller.stats.success, controller.stats.error, controller.stats.timeouts) == (2, 2, 0)

    @virtual_time
    async def test_a_worker_that_something_else_ends_is_not_missing_in_silence(self) -> None:
        controller = new(Recording())
        before = asyncio.all_tasks()
        with pytest.RaisesGroup(pytest.RaisesExc(RuntimeError, match="controller test: a worker was ended")):
            async with running(controller):
                await asyncio.sleep(1)
                (worker,) = (task for task in asyncio.all_tasks() - before if "_work" in task.get_name())
                worker.cancel()
                await asyncio.sleep(1)

    @virtual_time
    async def test_the_end_of_the_manager_is_no_timeout(self) -> None:
        async def work(_request: Request) -> None:
            await asyncio.sleep(3600)

        controller = new(Recording(work), reconcile_timeout=10)
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(1)

        assert (controller.stats.timeouts, controller.stats.error) == (0, 0)


class TestOwnWrites:
    @virtual_time
    async def test_are_seen_before_the_same_request_is_reconciled_again(self) -> None:
        async def work(request: Request) -> None:
            if request.name == "a" and len(reconciler.times("a")) == 1:
                write_something()

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler)
        async with running(controller, caches.follow):
            for name in "ab":
                controller.queue.add(Request("ns", name))
            await asyncio.sleep(0.5)
            for name in "aab":
                controller.queue.add(Request("ns", name))
            await asyncio.sleep(9.5)
            assert [request.name for _, request in reconciler.calls] == ["a", "b", "b"]
            caches.catch_up()
            await until(lambda: len(reconciler.times("a")) == 2)

        assert reconciler.times("a") == pytest.approx([0.0, 10.0], abs=0.05)
        assert len(caches.followed) == 1
        assert controller.stats.stale == 1
        assert not controller._behind

    @virtual_time
    async def test_that_the_caches_see_wake_nobody_who_was_not_asked_for(self) -> None:
        async def work(_request: Request) -> None:
            write_something()

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler)
        async with running(controller, caches.follow):
            controller.queue.add(Request("ns", "a"))
            await asyncio.sleep(1)
            caches.catch_up()
            await asyncio.sleep(1)

        assert len(reconciler.calls) == 1
        assert not controller._behind

    @virtual_time
    async def test_that_are_not_seen_hold_up_nobody_else(self) -> None:
        async def work(request: Request) -> None:
            if request.name != "fresh":
                write_something()

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler)
        async with running(controller, caches.follow):
            for _ in range(2):
                for number in range(200):
                    controller.queue.add(Request("ns", f"stale-{number}"))
                await asyncio.sleep(1)
            controller.queue.add(Request("ns", "fresh"))
            await until(lambda: bool(reconciler.times("fresh")))

        assert now() < 2.1
        assert len(reconciler.calls) == 201

    @virtual_time
    async def test_keep_the_highest_priority_at_which_a_request_was_asked_for_meanwhile(self) -> None:
        async def work(_request: Request) -> None:
            if len(reconciler.calls) == 1:
                write_something()

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler)
        async with running(controller, caches.follow):
            for priority in (LOW_PRIORITY, 5, LOW_PRIORITY):
                controller.queue.add(Request("ns", "a"), priority=priority)
                await asyncio.sleep(1)
            caches.catch_up()
            assert controller.queue.next_ready(9) == [(Request("ns", "a"), 5)]

    @virtual_time
    async def test_of_a_reconcile_that_failed_or_was_cut_off_count_too(self) -> None:
        async def work(_request: Request) -> None:
            if len(reconciler.calls) == 1:
                write_something()
                raise RuntimeError("after the write")
            if len(reconciler.calls) == 2:
                write_something()
                await asyncio.sleep(3600)

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler, reconcile_timeout=10)
        async with running(controller, caches.follow):
            controller.queue.add(Request("ns", "a"))
            for _ in range(30):
                await asyncio.sleep(1)
                caches.catch_up()
            await until(lambda: controller.stats.success == 1)

        assert len(caches.followed) == 2

    @virtual_time
    async def test_are_waited_for_as_long_as_the_caches_are_behind_and_that_is_told(self) -> None:
        async def work(_request: Request) -> Result:
            if len(reconciler.calls) == 1:
                write_something()
            return Result(requeue_after=1)

        reconciler, caches = Recording(work), Later()
        controller = new(reconciler)
        async with running(controller, caches.follow):
            controller.queue.add(Request("ns", "a"))
            with capture_logs() as logs:
                await asyncio.sleep(3600)
            assert len(reconciler.calls) == 1
            caches.catch_up()
            await until(lambda: len(reconciler.calls) == 2)

        assert 3600 / WARN_EVERY - 2 <= len(logs) <= 3600 / WARN_EVERY

    @virtual_time
    async def test_of_tasks_that_the_reconciler_starts_count_as_its_own(self) -> None:
        seen: list[Any] = []
        written: list[Write] = []

        async def work(_request: Request) -> None:
            async def child() -> None:
                seen.append(current_reconcile.get())
                written.append(write_something())

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(child)
            assert current_reconcile.get() is seen[0]

        controller = new(Recording(work))
        async with running(controller):
            controller.queue.add(Request("ns", "a"))
            await until(lambda: controller.stats.success == 1)

        assert seen[0].writes == written != []
        assert (seen[0].controller, seen[0].request) == ("test", Request("ns", "a"))


@virtual_time
async def test_at_rest_nothing_is_scheduled_but_the_timeouts_own_timer() -> None:
    reconciler = Recording()
    controller = new(reconciler, workers=4, reconcile_timeout=600)
    wakeups = 0
    loop = asyncio.get_running_loop()
    schedule = loop.call_at

    def counting(*args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        nonlocal wakeups
        wakeups += 1
        return schedule(*args, **kwargs)

    async with running(controller):
        await asyncio.sleep(1)
        with patch.object(loop, "call_at", counting):
            await asyncio.sleep(3600)

    assert wakeups <= 3600 / 600 + 2
