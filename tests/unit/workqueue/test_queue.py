"""The work queue, case by case."""

import asyncio
import itertools
from collections.abc import Callable

import pytest
import uvloop

from controller.testkit import VirtualLoop, now, virtual_time
from workqueue import LOW_PRIORITY, ItemExponentialBackoff, QueueShutDown, WorkQueue
from workqueue.queue import SHARE


def make_queue() -> WorkQueue[str]:
    return WorkQueue("test", rate_limiter=ItemExponentialBackoff(1.0, 8.0, jitter=0.0), clock=now)


async def drain(queue: WorkQueue[str]) -> list[str]:
    """Everything that is ready, in order of hand-out."""
    found = []
    while len(queue):
        key = await queue.get()
        queue.done(key)
        found.append(key)
    return found


async def settle() -> None:
    """Let every task run until it waits."""
    for _ in range(10):
        await asyncio.sleep(0)


@virtual_time
async def test_hands_out_each_key_once_in_order_of_arrival() -> None:
    queue = make_queue()
    for key in "abacb":
        queue.add(key)
    assert len(queue) == 3
    assert await drain(queue) == ["a", "b", "c"]
    assert queue.stats.adds == 3


@virtual_time
async def test_a_key_added_while_processed_comes_again_after_done() -> None:
    queue = make_queue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    second = asyncio.create_task(queue.get())
    await settle()
    assert not second.done(), "two workers would have had the key"
    queue.done("a")
    assert await second == "a"
    queue.done("a")
    assert len(queue) == 0


@virtual_time
async def test_done_without_get_is_an_error() -> None:
    queue = make_queue()
    queue.add("a")
    with pytest.raises(KeyError):
        queue.done("a")


@virtual_time
async def test_higher_priorities_come_first() -> None:
    queue = make_queue()
    queue.add("initial-1", priority=LOW_PRIORITY)
    queue.add("initial-2", priority=LOW_PRIORITY)
    queue.add("edit")
    queue.add("urgent", priority=10)
    assert queue.depths() == {10: 1, 0: 1, LOW_PRIORITY: 2}
    assert await drain(queue) == ["urgent", "edit", "initial-1", "initial-2"]
    assert queue.depths() == {10: 0, 0: 0, LOW_PRIORITY: 0}


@virtual_time
async def test_a_steady_flow_of_changes_does_not_keep_the_initial_list_waiting_for_ever() -> None:
    queue = make_queue()
    for key in ("initial-1", "initial-2"):
        queue.add(key, priority=LOW_PRIORITY)
    handed_out = []
    for number in range(2 * SHARE):
        queue.add(f"edit-{number}")
        queue.add(f"edit-{number + 1}")  # there is always one more
        handed_out.append(await queue.get())
        queue.done(handed_out[-1])
    assert [index for index, key in enumerate(handed_out) if key.startswith("initial")] == [SHARE - 1, 2 * SHARE - 1]


@virtual_time
async def test_of_several_lower_priorities_the_key_that_has_waited_longest_has_its_turn() -> None:
    queue = make_queue()
    queue.add("lowest", priority=LOW_PRIORITY)
    await asyncio.sleep(1)
    queue.add("low", priority=-1)
    for number in range(2 * SHARE):
        queue.add(f"edit-{number}")
    handed_out = await drain(queue)
    assert (handed_out[SHARE - 1], handed_out[2 * SHARE - 1]) == ("lowest", "low")


@virtual_time
async def test_a_restart_delays_a_fresh_edit_by_no_more_than_the_key_in_process() -> None:
    queue = make_queue()
    for number in range(100):
        queue.add(f"initial-{number}", priority=LOW_PRIORITY)
    for number in range(5 * SHARE):
        queue.add(f"edit-{number}")
        assert await queue.get() == f"edit-{number}"
        queue.done(f"edit-{number}")
        queue.done(await queue.get())


@pytest.mark.parametrize("delay", [float("inf"), 1e300])
@pytest.mark.parametrize("loop_factory", [VirtualLoop, uvloop.new_event_loop])
def test_a_delay_of_any_length_stands_in_nobodys_way(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], delay: float
) -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue("test")
        queue.add_after("never", delay)
        queue.add_after("soon", 0.01)
        assert await queue.get() == "soon"
        queue.done("soon")
        queue.add("never")
        assert await queue.get() == "never"

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())


@virtual_time
async def test_a_delay_that_is_no_number_is_refused() -> None:
    queue = make_queue()
    with pytest.raises(ValueError, match="the delay of a is not a number"):
        queue.add_after("a", float("nan"))
    assert queue.delayed() == 0


@virtual_time
async def test_adding_again_raises_a_priority_and_never_lowers_it() -> None:
    queue = make_queue()
    for key in "abc":
        queue.add(key, priority=LOW_PRIORITY)
    queue.add("c")
    queue.add("c", priority=LOW_PRIORITY)
    assert await drain(queue) == ["c", "a", "b"]


@virtual_time
async def test_a_key_added_while_processed_keeps_the_highest_priority() -> None:
    queue = make_queue()
    queue.add("a")
    await queue.get()
    queue.add("a", priority=LOW_PRIORITY)
    queue.add("a", priority=1)
    queue.add("b")
    queue.done("a")
    assert await drain(queue) == ["a", "b"]


@virtual_time
async def test_add_after_hands_out_at_the_time() -> None:
    queue = make_queue()
    start = now()
    queue.add_after("late", 5.0)
    queue.add_after("soon", 2.0)
    queue.add_after("now", 0.0)
    assert len(queue) == 1
    times = []
    for _ in range(3):
        key = await queue.get()
        times.append((key, now() - start))
        queue.done(key)
    assert times == [("now", 0.0), ("soon", pytest.approx(2.0)), ("late", pytest.approx(5.0))]


@pytest.mark.parametrize("delays", [(3.0, 7.0), (7.0, 3.0), (9.0, 3.0, 5.0)])
@virtual_time
async def test_add_after_merges_to_the_earliest_time(delays: tuple[float, ...]) -> None:
    queue = make_queue()
    start = now()
    for delay in delays:
        queue.add_after("a", delay)
    assert queue.delayed() == 1
    assert await queue.get() == "a"
    assert now() - start == pytest.approx(3.0)
    queue.done("a")
    await asyncio.sleep(60)
    assert len(queue) == 0, "the later times were merged away"


@virtual_time
async def test_add_ends_a_delay_and_keeps_its_priority() -> None:
    queue = make_queue()
    queue.add_after("a", 30.0, priority=5)
    queue.add("b")
    queue.add("a", priority=LOW_PRIORITY)
    assert await drain(queue) == ["a", "b"]
    await asyncio.sleep(60)
    assert len(queue) == 0


@virtual_time
async def test_a_delay_for_a_ready_key_only_raises_its_priority() -> None:
    queue = make_queue()
    queue.add("a", priority=LOW_PRIORITY)
    queue.add("b", priority=LOW_PRIORITY)
    queue.add_after("b", 30.0)
    assert queue.delayed() == 0
    assert await drain(queue) == ["b", "a"]


@virtual_time
async def test_a_delay_that_ends_while_the_key_is_processed() -> None:
    queue = make_queue()
    queue.add("a")
    await queue.get()
    queue.add_after("a", 2.0)
    await asyncio.sleep(10)
    assert len(queue) == 1
    waiting = asyncio.create_task(queue.get())
    await settle()
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"


@virtual_time
async def test_failures_are_delayed_longer_each_time_until_forgotten() -> None:
    queue = make_queue()
    start = now()
    times = []
    queue.add("a")
    for _ in range(6):
        key = await queue.get()
        times.append(now() - start)
        queue.add_rate_limited(key)
        queue.done(key)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps == pytest.approx([1.0, 2.0, 4.0, 8.0, 8.0])
    assert queue.requeues("a") == 6
    assert queue.stats.retries == 6
    queue.forget("a")
    assert queue.requeues("a") == 0


@virtual_time
async def test_timers_of_keys_that_were_added_meanwhile_do_not_pile_up() -> None:
    queue = make_queue()
    queue.add_after("first", 500.0)
    for _ in range(10_000):
        queue.add_after("a", 600.0)
        queue.add("a")
        queue.done(await queue.get())
    assert queue.delayed() == 1
    assert len(queue._timers) < 100
    await asyncio.sleep(500.0)
    assert await drain(queue) == ["first"]


@virtual_time
async def test_waiting_until_it_is_idle() -> None:
    queue = make_queue()
    await queue.wait_idle()
    queue.add("a")
    queue.add_after("later", 60.0)
    idle = asyncio.create_task(queue.wait_idle())
    assert await queue.get() == "a"
    queue.add("a")
    queue.done("a")
    assert await queue.get() == "a"
    await settle()
    assert not idle.done()
    queue.done("a")
    await idle


@virtual_time
async def test_shut_down_stops_everything_at_once() -> None:
    queue = make_queue()
    waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
    await settle()
    queue.add("a")
    queue.add("b")
    await settle()
    queue.add("c")
    queue.add_after("d", 1.0)
    queue.shut_down()
    queue.add("e")
    queue.add_after("f", 1.0)
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sorted(str(result) for result in results if not isinstance(result, QueueShutDown)) == ["a", "b"]
    with pytest.raises(QueueShutDown):
        await queue.get()
    assert queue.shutting_down
    idle = asyncio.create_task(queue.wait_idle())
    queue.done("a")
    await settle()
    assert not idle.done()
    queue.done("b")
    await idle
    assert (len(queue), queue.delayed()) == (0, 0)


@virtual_time
async def test_draining_hands_out_what_is_ready_and_what_becomes_ready_at_done() -> None:
    queue = make_queue()
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("b")
    queue.add_after("delayed", 1.0)
    queue.shut_down(drain=True)
    queue.add("too late")
    assert await queue.get() == "b"
    last = [asyncio.create_task(queue.get()) for _ in range(2)]
    await settle()
    assert not any(task.done() for task in last), "the dirty key is still to come"
    queue.done("b")
    queue.done("a")
    await settle()
    queue.done("a")
    results = await asyncio.gather(*last, return_exceptions=True)
    assert sorted(map(repr, results)) == sorted(["'a'", repr(QueueShutDown("test"))])
    await queue.wait_idle()


@virtual_time
async def test_a_cancelled_worker_passes_its_key_on() -> None:
    queue = make_queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    queue.add("a")  # wakes the first, which is cancelled before it runs
    first.cancel()
    await settle()
    assert second.done()
    assert second.result() == "a"


@virtual_time
async def test_cancelled_waits_leave_nothing_behind() -> None:
    queue = make_queue()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await queue.get()
    assert not queue._waiting
    queue.add("a")
    assert await queue.get() == "a"


@virtual_time
async def test_a_wait_that_is_cancelled_while_it_is_passed_over() -> None:
    queue = make_queue()
    first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
    await settle()
    first.cancel()  # its future is cancelled at once, its task runs later
    queue.add("a")
    await settle()
    assert first.cancelled()
    assert await second == "a"


async def test_busy_workers_let_the_event_loop_run() -> None:
    queue: WorkQueue[int] = WorkQueue("busy")
    ticks = 0

    async def worker() -> None:
        while True:
            key = await queue.get()
            queue.add(key + 1)
            queue.done(key)

    async def lease() -> None:
        nonlocal ticks
        while ticks < 3:
            await asyncio.sleep(0)
            ticks += 1

    queue.add(0)
    busy = asyncio.create_task(worker())
    async with asyncio.timeout(5):
        await lease()
    busy.cancel()
    assert ticks == 3


@virtual_time
async def test_durations_are_counted() -> None:
    queue = make_queue()
    queue.add("a")
    await asyncio.sleep(0.5)
    await queue.get()
    queue.add("a")
    await asyncio.sleep(20.0)
    assert queue.processing() == {"a": pytest.approx(20.0)}
    queue.done("a")
    assert queue.processing() == {}
    await asyncio.sleep(0.05)
    await queue.get()
    waited, worked = queue.stats.queue_duration, queue.stats.work_duration
    assert (waited.count, worked.count) == (2, 1)
    assert waited.total == pytest.approx(0.55)
    assert worked.total == pytest.approx(20.0)
    assert dict(waited.cumulative())["0.1"] == 1
    assert dict(waited.cumulative())["+Inf"] == 2
    assert dict(worked.cumulative())["10.0"] == 0
    assert dict(worked.cumulative())["100.0"] == 1


@virtual_time
async def test_what_comes_next_is_shown_as_far_as_asked_for() -> None:
    queue = make_queue()
    queue.add("worked on")
    await queue.get()
    for key in ("worked on", "first", "second"):
        queue.add(key)
    queue.add("urgent", priority=5)
    for delay in (9.0, 3.0, 6.0):
        queue.add_after(f"in {delay:.0f}", delay)

    assert queue.next_ready(10) == [("urgent", 5), ("first", 0), ("second", 0), ("worked on", 0)]
    assert queue.next_ready(2) == [("urgent", 5), ("first", 0)]
    await asyncio.sleep(1.0)
    assert dict(queue.next_delayed(2)) == pytest.approx({"in 3": 2.0, "in 6": 5.0})
    assert (len(queue), queue.delayed()) == (4, 3)


@virtual_time
async def test_a_key_in_process_has_the_priority_at_which_it_was_handed_out() -> None:
    queue: WorkQueue[str] = WorkQueue("test", clock=now)
    queue.add("a", priority=-100)
    queue.add("b", priority=7)

    assert [await queue.get(), await queue.get()] == ["b", "a"]

    queue.add("a", priority=9)
    assert (queue.priority("a"), queue.priority("b")) == (-100, 7)
    queue.done("a")
    assert await queue.get() == "a"
    assert queue.priority("a") == 9
    queue.done("b")
    with pytest.raises(KeyError):
        queue.priority("b")


@virtual_time
async def test_priorities_that_are_used_no_more_leave_nothing() -> None:
    queue: WorkQueue[int] = WorkQueue("test", clock=now)
    for number in range(1000):
        queue.add(number, priority=number)
        queue.done(await queue.get())

    assert queue.depths() == {999: 0}
