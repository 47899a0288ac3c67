"""Controllers whose reconciles end in every way that there is: no change is lost, no request has two workers, and none
comes before its writes are seen."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

import anyio
from hypothesis import given
from hypothesis import strategies as st

from controller.runtime import Controller, NotLeaderError, Request, Result, TerminalError
from controller.runtime.kube import POD
from controller.runtime.reconciler import Write, current_reconcile
from controller.testkit import now, virtual_time
from workqueue import LOW_PRIORITY, ItemExponentialBackoff

TIMEOUT = 2.0

ENDINGS = (
    "succeed",
    "succeed",
    "come again",
    "fail",
    "fail for good",
    "panic",
    "time out",
    "time out slowly",
    "swallow the timeout",
    "fail while timing out",
    "wait for what is cancelled",
    "cancel itself",
    "cancel itself in a group",
    "lose",
    "end just at the deadline",
)


class PanicError(BaseException):
    """What no `except Exception` catches."""


async def end(how: str) -> Result:  # noqa: C901  # a list of cases
    task = asyncio.current_task()
    assert task is not None
    match how:
        case "come again":
            return Result(requeue_after=0.3)
        case "fail":
            raise ConnectionError(how)
        case "fail for good":
            raise TerminalError(how)
        case "panic":
            raise PanicError(how)
        case "time out":
            await asyncio.sleep(100)
        case "time out slowly":
            try:
                await asyncio.sleep(100)
            finally:
                with anyio.CancelScope(shield=True):
                    await asyncio.sleep(1)
        case "swallow the timeout":
            try:
                await asyncio.sleep(100)
            except asyncio.CancelledError:
                return Result()
        case "fail while timing out":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_fail_when_cancelled())
        case "wait for what is cancelled":
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        case "cancel itself":
            task.cancel()
            await asyncio.sleep(1)
        case "cancel itself in a group":
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep, 0.1)
                task.cancel()
        case "lose":
            raise NotLeaderError(how)
        case "end just at the deadline":
            await asyncio.sleep(TIMEOUT)
    return Result()


async def _fail_when_cancelled() -> None:
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        raise ConnectionError("closed") from None


def write_something() -> None:
    reconcile = current_reconcile.get()
    assert reconcile is not None
    request = reconcile.request
    reconcile.writes.append(Write(POD, request.namespace, request.name, 7))


KEYS = st.sampled_from("abcd")


@given(
    workers=st.integers(1, 3),
    changes=st.lists(
        st.tuples(KEYS, st.sampled_from([LOW_PRIORITY, 0]), st.sampled_from([0.0, 0.1, 0.7, 2.0])),
        min_size=1,
        max_size=20,
    ),
    endings=st.lists(st.sampled_from(ENDINGS), max_size=25),
    behind=st.lists(st.sampled_from([0.0, 0.0, 0.5, 30.0, 200.0]), max_size=25),
)
@virtual_time
async def test_no_change_is_lost(
    workers: int, changes: list[tuple[str, int, float]], endings: list[str], behind: list[float]
) -> None:
    changed: Counter[str] = Counter()
    settled: Counter[str] = Counter()
    running: set[Request] = set()
    unseen: set[Request] = set()
    to_come, delays = list(endings), list(behind)
    before = asyncio.all_tasks()

    class Reconciler:
        async def reconcile(self, request: Request) -> Result:
            assert request not in running
            assert request not in unseen, "the caches do not show what its last reconcile wrote"
            running.add(request)
            write_something()
            try:
                state = changed[request.name]  # what a cache would show
                how = to_come.pop() if to_come else "succeed"
                try:
                    result = await end(how)
                except TerminalError:
                    settled[request.name] = max(settled[request.name], state)  # given up until the next change
                    raise
                if result.requeue_after is None:
                    settled[request.name] = max(settled[request.name], state)
                return result
            finally:
                running.remove(request)

    def follow(writes: Sequence[Write], caught_up: Callable[[], None]) -> bool:
        (write,) = writes
        delay, request = delays.pop() if delays else 0.0, Request(write.namespace, write.name)
        if not delay:
            return True

        def show() -> None:
            unseen.remove(request)
            caught_up()

        unseen.add(request)
        asyncio.get_running_loop().call_later(delay, show)
        return False

    controller = Controller(
        "test",
        Reconciler(),
        workers=workers,
        reconcile_timeout=TIMEOUT,
        rate_limiter=ItemExponentialBackoff(0.1, 1.0, jitter=0.0),
        clock=now,
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(controller.run, follow)
        for key, priority, pause in changes:
            changed[key] += 1
            controller.queue.add(Request("ns", key), priority=priority)
            await asyncio.sleep(pause)
        await asyncio.sleep(500 + sum(behind))
        assert settled == changed
        assert (controller.stats.active, controller.queue.delayed(), len(controller.queue)) == (0, 0, 0)
        controller.shut_down()
    assert asyncio.all_tasks() == before
