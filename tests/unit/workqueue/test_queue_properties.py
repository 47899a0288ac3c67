"""The work queue against a model, and under workers in any interleaving."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from controller.testkit import VirtualLoop, now, virtual_time
from workqueue import LOW_PRIORITY, ItemExponentialBackoff, WorkQueue
from workqueue.queue import SHARE

KEYS = st.sampled_from("abcdef")
PRIORITIES = st.sampled_from([LOW_PRIORITY, 0, 0, 7])
DELAYS = st.sampled_from([0.0, 0.5, 1.0, 3.0, 10.0])


@dataclass
class Model:
    """What the queue should hold, kept in the plainest way."""

    line: list[tuple[str, int]] = field(default_factory=list)
    dirty: dict[str, int] = field(default_factory=dict)
    processing: set[str] = field(default_factory=set)
    delayed: dict[str, tuple[float, int]] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    entered: dict[str, float] = field(default_factory=dict)
    passed_over: int = 0
    now: float = 0.0

    def add(self, key: str, priority: int) -> None:
        _, promised = self.delayed.pop(key, (0.0, priority))
        self.make_ready(key, max(priority, promised))

    def make_ready(self, key: str, priority: int) -> None:
        if key in self.processing:
            self.dirty[key] = max(priority, self.dirty.get(key, priority))
            return
        queued = next((found for name, found in self.line if name == key), None)
        if queued is None:
            self.line.append((key, priority))
            self.entered[key] = self.now
        elif priority > queued:
            self.line.remove((key, queued))
            self.line.append((key, priority))

    def add_after(self, key: str, due: float, priority: int) -> None:
        if key in self.dirty or any(name == key for name, _ in self.line):
            self.make_ready(key, priority)
            return
        present_due, present_priority = self.delayed.get(key, (due, priority))
        if due < present_due:
            del self.delayed[key]  # among those due at the same moment it is now the last to come
        self.delayed[key] = (min(due, present_due), max(priority, present_priority))

    def pass_to(self, time: float) -> None:
        for key, (due, priority) in sorted(self.delayed.items(), key=lambda item: item[1][0]):
            if due <= time:
                del self.delayed[key]
                self.now = due
                self.make_ready(key, priority)
        self.now = time

    def get(self) -> str:
        by_priority = sorted({priority for _, priority in self.line}, reverse=True)
        heads = [next(entry for entry in self.line if entry[1] == priority) for priority in by_priority]
        found = heads[0]
        self.passed_over = self.passed_over + 1 if len(heads) > 1 else 0
        if self.passed_over == SHARE:
            self.passed_over = 0
            found = min(heads[1:], key=lambda entry: self.entered[entry[0]])
        self.line.remove(found)
        self.processing.add(found[0])
        return found[0]

    def done(self, key: str) -> None:
        self.processing.remove(key)
        if key in self.dirty:
            self.line.append((key, self.dirty.pop(key)))
            self.entered[key] = self.now


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of calls on a virtual clock leaves queue and model the same."""

    @initialize()
    def start(self) -> None:
        self.loop = VirtualLoop()
        self.queue: WorkQueue[str] = WorkQueue(
            "test", rate_limiter=ItemExponentialBackoff(1.0, 10.0, jitter=0.0), clock=self.loop.time
        )
        self.model = Model()

    def call(self, function: str, *args: object, **kwargs: object) -> None:
        async def inside() -> None:
            getattr(self.queue, function)(*args, **kwargs)

        self.loop.run_until_complete(inside())

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: int) -> None:
        self.call("add", key, priority=priority)
        self.model.add(key, priority)

    @rule(key=KEYS, delay=DELAYS, priority=PRIORITIES, jitter=st.floats(0, 0.01))
    def add_after(self, key: str, delay: float, priority: int, jitter: float) -> None:
        self.call("add_after", key, delay and delay + jitter, priority=priority)
        if delay:
            self.model.add_after(key, self.loop.time() + delay + jitter, priority)
        else:
            self.model.add(key, priority)

    @rule(key=KEYS)
    def fail(self, key: str) -> None:
        self.call("add_rate_limited", key)
        self.model.add_after(key, self.loop.time() + min(10.0, 2.0 ** self.model.failures[key]), 0)
        self.model.failures[key] += 1

    @rule(key=KEYS)
    def forget(self, key: str) -> None:
        self.queue.forget(key)
        self.model.failures.pop(key, None)

    @precondition(lambda self: self.model.line)
    @rule()
    def get(self) -> None:
        key = self.loop.run_until_complete(self.queue.get())
        assert key not in self.model.processing, "two workers have the key"
        assert key == self.model.get()

    @precondition(lambda self: self.model.processing)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.processing)))
        self.call("done", key)
        self.model.done(key)

    @rule(seconds=st.floats(0.01, 12.0))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self.model.pass_to(self.loop.time())

    @invariant()
    def same(self) -> None:
        model, queue = self.model, self.queue
        assert len(queue) == len(model.line) + len(model.dirty)
        assert set(queue.processing()) == model.processing
        assert queue.delayed() == len(model.delayed)
        in_line = sorted(model.line, key=lambda entry: -entry[1])
        ready = queue.next_ready(100)
        assert (ready[: len(in_line)], dict(ready[len(in_line) :])) == (in_line, model.dirty)
        left = {key: due - self.loop.time() for key, (due, _) in model.delayed.items()}
        soonest = queue.next_delayed(100)
        assert [due for _, due in soonest] == sorted(due for _, due in soonest)
        assert dict(soonest) == pytest.approx(left)
        assert sum(queue.depths().values()) == len(queue)
        assert all(queue.requeues(key) == model.failures[key] for key in "abcdef")

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(stateful_step_count=40)


@given(
    workers=st.integers(1, 4),
    adds=st.lists(st.tuples(KEYS, PRIORITIES, st.sampled_from([0.0, 0.0, 0.3, 1.0]), DELAYS), min_size=1, max_size=40),
    work=st.lists(st.sampled_from([0.0, 0.1, 0.4, 2.0]), min_size=1),
    fails=st.lists(st.booleans(), min_size=1),
)
@virtual_time
async def test_no_key_is_lost_or_with_two_workers(
    workers: int, adds: list[tuple[str, int, float, float]], work: list[float], fails: list[bool]
) -> None:
    queue: WorkQueue[str] = WorkQueue("test", rate_limiter=ItemExponentialBackoff(0.1, 1.0, jitter=0.0), clock=now)
    in_process: set[str] = set()
    changed: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    runs = 0

    async def worker() -> None:
        nonlocal runs
        while True:
            key = await queue.get()
            assert key not in in_process
            in_process.add(key)
            state = changed[key]  # what a reconciler would read from its cache
            runs += 1
            await asyncio.sleep(work[runs % len(work)])
            in_process.remove(key)
            if fails[runs % len(fails)] and queue.requeues(key) < 3:
                queue.add_rate_limited(key)
            else:
                queue.forget(key)
                seen[key] = max(seen[key], state)
            queue.done(key)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(worker()) for _ in range(workers)]
        for key, priority, delay, pause in adds:
            changed[key] += 1
            queue.add_after(key, delay, priority=priority)
            await asyncio.sleep(pause)
        await asyncio.sleep(1000.0)
        for task in running:
            task.cancel()
    assert seen == changed
