"""Virtual time and worker threads: the clock stands still while one computes."""

import threading

import anyio
import anyio.to_thread

from controller.framework.aside import aside
from controller.testkit import now, virtual_time


@virtual_time
async def test_what_a_worker_thread_computes_takes_no_time() -> None:
    long = threading.Event()

    with anyio.fail_after(1):
        ended_early = await aside(long.wait, 0.1)

    assert not ended_early
    assert now() == 0


@virtual_time
async def test_timers_go_on_once_the_thread_has_ended() -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, threading.Event().wait, 0.1)
        await anyio.sleep(3600)

    assert now() == 3600
