"""Leader election in virtual time: clocks that differ, answers that come late, processes that stop, rivals."""

import asyncio
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest
import structlog.testing

from controller.runtime.kube import LEASE, Lease, LeaseSpec
from controller.runtime.leader import Elector, LeadershipLostError, NotLeaderError
from controller.runtime.lease import KubeLease, LeaderElection
from controller.testkit import ApiServer, Connection, now, pause, until, virtual_time
from informers import ApiError, Client, Delta, InformerFactory

ELECTION = LeaderElection(namespace="rook", name="operator")
START = datetime(2026, 1, 1, tzinfo=UTC)


def new_server() -> ApiServer:
    return ApiServer(namespaces=("rook",))


def lease_of(server: ApiServer) -> Lease:
    return msgspec.convert(server.get(LEASE, ELECTION.namespace, ELECTION.name), Lease)


class Path(Connection):
    """A way to the server on which something in between may answer."""

    answer: bytes | ApiError | None = None

    async def request(self, method: str, path: str, **options: Any) -> bytes:
        if isinstance(self.answer, ApiError):
            self.stats.answered(method, self.answer.status, 0.0)
            raise self.answer
        return await super().request(method, path, **options) if self.answer is None else self.answer


class Candidate:
    """An elector with its own connection for the lease, and another to watch it by, and the times at which it led."""

    def __init__(self, server: ApiServer, name: str, *, skew: timedelta = timedelta(), watch: bool = True) -> None:
        self.connection, self._watching = Path(server, "test"), server.connection()
        self.led_from: float | None = None
        self.ended: float | None = None
        self.error: Exception | None = None
        self.elector = Elector(
            KubeLease(Client(self.connection), ELECTION),
            ELECTION,
            name,
            clock=now,
            now=lambda: START + skew + timedelta(seconds=now()),
            uniform=lambda: 0.5,
        )
        self._tasks = [asyncio.create_task(self._run())]
        if watch:
            factory = InformerFactory(Client(self._watching), namespaces=(ELECTION.namespace,))
            factory.informer(LEASE, Lease).add_handler(self._seen)
            self._tasks.append(asyncio.create_task(factory.run()))

    @property
    def task(self) -> asyncio.Task[None]:
        return self._tasks[0]

    @property
    def requests(self) -> int:
        """About the lease, the watch apart."""
        return sum(self.connection.stats.requests.values())

    def cut_off(self) -> None:
        for connection in (self.connection, self._watching):
            connection.cut_off()

    def mend(self) -> None:
        for connection in (self.connection, self._watching):
            connection.mend()

    def _seen(self, delta: Delta[Lease]) -> None:
        if delta.new is not None:
            self.elector.observe(delta.new)
        elif delta.old is not None:
            self.elector.observe_deletion(delta.old)

    async def _run(self) -> None:
        await self.elector.acquire()
        self.led_from = now()
        try:
            await self.elector.hold()
        except LeadershipLostError as error:
            self.error = error
        finally:
            self.ended = now()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def may_write(self) -> bool:
        try:
            self.elector.check()
        except NotLeaderError:
            return False
        return True


async def _lead(server: ApiServer, name: str = "a", *, watch: bool = True) -> Candidate:
    candidate = Candidate(server, name, watch=watch)
    await until(lambda: candidate.led_from is not None)
    return candidate


async def _never_two(seconds: float, *candidates: Candidate) -> None:
    """Lets time pass and looks each 50 ms that at most one may write."""
    end = now() + seconds
    while now() < end:
        assert sum(candidate.may_write for candidate in candidates) <= 1, f"two leaders at {now()}"
        await asyncio.sleep(0.05)


@virtual_time
async def test_takes_a_lease_that_nobody_has_at_once() -> None:
    server = new_server()

    candidate = await _lead(server)

    assert candidate.may_write
    assert candidate.led_from == pytest.approx(0.0, abs=0.05)
    assert lease_of(server).spec == LeaseSpec(
        holder_identity="a",
        lease_duration_seconds=15,
        acquire_time="2026-01-01T00:00:00.000000Z",
        renew_time="2026-01-01T00:00:00.000000Z",
        lease_transitions=0,
    )
    await candidate.stop()


@virtual_time
async def test_renews_for_hours_with_one_request_each_time() -> None:
    server = new_server()
    candidate = await _lead(server)
    before = candidate.requests

    await asyncio.sleep(3600)

    renewals = candidate.requests - before
    assert candidate.may_write
    assert 3600 / 2.0 <= renewals <= 3600 / 1.6 + 1
    assert candidate.elector.slow_path == 0
    await candidate.stop()


@virtual_time
async def test_a_standby_that_watches_asks_nothing_while_the_lease_is_renewed() -> None:
    server = new_server()
    leader = await _lead(server)
    standby = Candidate(server, "b")
    await asyncio.sleep(1)
    before = standby.requests

    await _never_two(600, leader, standby)

    assert standby.requests == before
    assert standby.led_from is None
    await leader.stop()
    await standby.stop()


@virtual_time
async def test_a_released_lease_is_taken_at_once() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)

    await leader.stop()
    await leader.elector.release()
    released = now()
    assert not leader.may_write
    await until(lambda: standby.led_from is not None)

    assert now() - released < 0.1
    assert lease_of(server).spec.lease_transitions == 1
    await standby.stop()


@virtual_time
async def test_a_dead_leaders_lease_is_taken_after_its_duration() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)

    await leader.stop()
    died = now()
    await until(lambda: standby.led_from is not None)

    assert 13 <= now() - died <= 15 * 1.2 + 2
    await standby.stop()


@pytest.mark.parametrize("hours", [-5, 5])
def test_wall_clocks_that_differ_do_no_harm(hours: int) -> None:
    @virtual_time
    async def run() -> None:
        server = new_server()
        leader = await _lead(server)
        standby = Candidate(server, "b", skew=timedelta(hours=hours))

        await _never_two(120, leader, standby)
        assert leader.may_write

        await leader.stop()
        died = now()
        await until(lambda: standby.led_from is not None)
        assert 13 <= now() - died <= 20
        await standby.stop()

    run()


@virtual_time
async def test_a_leader_that_is_cut_off_stops_writing_before_its_lease_can_be_taken() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)

    leader.cut_off()
    cut = now()
    await _never_two(60, leader, standby)

    assert isinstance(leader.error, LeadershipLostError)
    assert leader.ended is not None
    assert leader.ended - cut <= ELECTION.renew_deadline
    assert standby.led_from is not None
    assert standby.led_from - leader.ended >= (ELECTION.lease_duration - ELECTION.renew_deadline) * 0.9
    await standby.stop()


@virtual_time
async def test_a_process_that_was_stopped_past_its_lease_cannot_write_when_it_comes_back() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)

    pause(20)  # SIGSTOP, then SIGCONT; another has taken the lease meanwhile

    with pytest.raises(NotLeaderError, match="a does not hold lease rook/operator"):
        leader.elector.check()
    await leader.task
    assert isinstance(leader.error, LeadershipLostError)


@virtual_time
async def test_an_answer_that_comes_late_counts_from_when_it_was_asked_for() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)
    leader.connection.late = 4.5  # within the half of the deadline that an attempt may take

    await asyncio.sleep(60)
    assert leader.may_write
    leader.cut_off()
    await until(lambda: not leader.may_write)
    stopped = now()
    renew_time = lease_of(server).spec.renew_time
    assert renew_time is not None
    last_written = (datetime.fromisoformat(renew_time) - START).total_seconds()

    assert stopped - last_written <= ELECTION.renew_deadline + 0.1
    await leader.task


@virtual_time
async def test_a_server_that_is_back_just_before_the_deadline_is_found() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)
    version = server.storage.version
    await until(lambda: server.storage.version > version)
    renewed, asked = now(), leader.requests

    server.stop()
    await asyncio.sleep(ELECTION.renew_deadline - 0.7)
    assert leader.requests - asked <= 20, "it asks twice a second at most"
    server.start()

    await asyncio.sleep(renewed + ELECTION.renew_deadline - now())
    assert leader.may_write
    await leader.stop()


@virtual_time
async def test_a_network_that_is_back_shortly_before_the_deadline_is_found_though_attempts_hang_until_then() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)
    version = server.storage.version
    await until(lambda: server.storage.version > version)
    renewed = now()

    leader.cut_off()  # nobody refuses: each attempt waits for an answer
    await asyncio.sleep(ELECTION.renew_deadline - 1.5)
    leader.mend()

    await asyncio.sleep(renewed + ELECTION.renew_deadline - now())
    assert leader.may_write
    await leader.stop()


@virtual_time
async def test_answers_that_come_too_late_end_leadership_in_time_and_without_a_second_leader() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)

    leader.connection.late = 8.0  # the server renews, but the leader does not learn of it in time
    await _never_two(90, leader, standby)

    assert isinstance(leader.error, LeadershipLostError)
    assert standby.led_from is not None
    await standby.stop()


@virtual_time
async def test_a_lost_answer_is_no_lost_lease() -> None:
    server = new_server()
    leader = await _lead(server, watch=False)
    await asyncio.sleep(30)

    leader.connection.late = 6.0
    await asyncio.sleep(3)  # one renewal takes effect, its answer is given up
    leader.connection.late = 0.0
    await asyncio.sleep(60)

    assert leader.may_write
    assert leader.elector.slow_path == 1
    await leader.stop()


@virtual_time
async def test_of_two_candidates_for_a_free_lease_one_gets_it() -> None:
    server = new_server()
    first, second = Candidate(server, "a", watch=False), Candidate(server, "b", watch=False)
    first.connection.late = second.connection.late = 0.2

    await _never_two(120, first, second)

    assert [first.led_from is None, second.led_from is None].count(True) == 1
    await first.stop()
    await second.stop()


@virtual_time
async def test_candidates_without_a_working_watch_still_take_over() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b", watch=False)

    await _never_two(120, leader, standby)
    assert leader.may_write
    await leader.stop()
    died = now()
    await until(lambda: standby.led_from is not None)

    assert now() - died <= 15 * 1.2 * 2 + 2
    await standby.stop()


@virtual_time
async def test_steps_down_at_once_when_another_holds_the_lease() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)

    server.patch(LEASE, ELECTION.namespace, ELECTION.name, {"spec": {"holderIdentity": "b"}})
    await leader.task

    assert isinstance(leader.error, LeadershipLostError)
    assert "held by b" in str(leader.error)
    assert not leader.may_write


@virtual_time
async def test_a_deleted_lease_is_made_again() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)

    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    await asyncio.sleep(30)

    assert leader.may_write
    assert lease_of(server).spec.holder_identity == "a"
    await leader.stop()


@virtual_time
async def test_a_deleted_lease_is_made_again_before_another_finds_it_free() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)

    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    await asyncio.sleep(0.01)
    fresh = Candidate(server, "b")
    await _never_two(60, leader, fresh)

    assert leader.may_write
    assert fresh.led_from is None
    await leader.stop()
    await fresh.stop()


@virtual_time
async def test_a_standby_that_finds_the_lease_deleted_waits_as_after_a_renewal() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b", watch=False)
    await asyncio.sleep(15)  # of the last renewals the standby knows nothing

    leader.cut_off()
    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    await _never_two(40, leader, standby)

    assert standby.may_write
    await leader.stop()
    await standby.stop()


@virtual_time
async def test_a_leader_that_may_not_make_its_lease_again_asks_no_more_often_and_steps_down_in_time() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)
    before = leader.requests
    leader.connection.answer = ApiError(403, "Forbidden", "namespace rook is being terminated")

    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    await leader.task

    assert isinstance(leader.error, LeadershipLostError)
    assert leader.requests - before < 50
    await leader.stop()


@virtual_time
async def test_a_leader_without_a_working_watch_finds_out_that_its_lease_was_deleted_and_made_by_another() -> None:
    server = new_server()
    leader = await _lead(server, watch=False)
    await asyncio.sleep(30)

    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    fresh = await _lead(server, "b")
    await until(lambda: leader.ended is not None)

    assert isinstance(leader.error, LeadershipLostError)
    assert now() - (fresh.led_from or 0) < ELECTION.retry_period
    await fresh.stop()


@virtual_time
async def test_of_a_lease_that_is_made_while_the_leader_makes_it_again_it_reads_whose_it_is() -> None:
    server = new_server()
    leader = await _lead(server, watch=False)
    await asyncio.sleep(30)
    deleted = lease_of(server)

    server.delete(LEASE, ELECTION.namespace, ELECTION.name)
    metadata = {"namespace": ELECTION.namespace, "name": ELECTION.name}
    server.create(LEASE, {"metadata": metadata, "spec": {"holderIdentity": "b", "leaseDurationSeconds": 15}})
    leader.elector.observe_deletion(deleted)
    taken = now()
    await until(lambda: leader.ended is not None)

    assert "held by b" in str(leader.error)
    assert now() - taken < 0.1


@virtual_time
async def test_a_server_whose_data_were_restored_keeps_its_leader_and_the_standby_can_take_over() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)
    backup = server.storage.version
    await asyncio.sleep(3600)

    server.restore(backup)
    await _never_two(120, leader, standby)
    assert leader.may_write
    await leader.stop()
    died = now()
    await until(lambda: standby.led_from is not None)

    assert now() - died <= (15 * 1.2 + 2) * 2
    await standby.stop()


@virtual_time
async def test_a_lease_that_is_given_a_short_duration_by_hand_is_not_taken_from_its_leader() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(30)

    for _ in range(5):
        server.patch(LEASE, ELECTION.namespace, ELECTION.name, {"spec": {"leaseDurationSeconds": 1}})
        await _never_two(7, leader, standby)

    assert leader.may_write
    await leader.stop()
    await standby.stop()


@virtual_time
async def test_nothing_is_written_between_seeing_another_holder_and_stepping_down() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)
    lease = lease_of(server)
    metadata = msgspec.structs.replace(lease.metadata, resource_version=str(server.storage.version + 1))

    leader.elector.observe(msgspec.structs.replace(lease, metadata=metadata, spec=LeaseSpec(holder_identity="b")))

    assert not leader.may_write
    await leader.stop()


@pytest.mark.parametrize("answer", [b"<html>log in</html>", b"{}", b'{"metadata": [], "spec": {}}'])
def test_an_answer_that_is_no_lease_is_a_failed_attempt(answer: bytes) -> None:
    @virtual_time
    async def run() -> None:
        server = new_server()
        leader = await _lead(server)
        standby = Candidate(server, "b")
        await asyncio.sleep(30)

        for candidate in (leader, standby):
            candidate.connection.answer = answer
        await _never_two(6, leader, standby)
        assert leader.may_write
        for candidate in (leader, standby):
            candidate.connection.answer = None
        await _never_two(60, leader, standby)

        assert leader.may_write
        await leader.stop()
        await standby.stop()

    run()


@virtual_time
async def test_an_older_lease_from_a_slow_watch_changes_nothing() -> None:
    server = new_server()
    leader = await _lead(server)
    old = msgspec.structs.replace(lease_of(server), spec=LeaseSpec(holder_identity="z"))
    await asyncio.sleep(30)

    leader.elector.observe(old)
    await asyncio.sleep(5)

    assert leader.may_write
    await leader.stop()


@virtual_time
async def test_does_not_release_what_it_does_not_hold() -> None:
    server = new_server()
    leader, standby = await _lead(server), Candidate(server, "b")
    await asyncio.sleep(5)

    await standby.stop()
    await standby.elector.release()

    assert lease_of(server).spec.holder_identity == "a"
    assert leader.may_write
    await leader.stop()


@virtual_time
async def test_survives_a_server_that_is_away_for_less_than_the_deadline() -> None:
    server = new_server()
    leader = await _lead(server)
    await asyncio.sleep(30)

    server.stop()
    await asyncio.sleep(6)
    server.start()
    await asyncio.sleep(60)

    assert leader.may_write
    await leader.stop()


@pytest.mark.parametrize(
    "timing",
    [
        {"lease_duration": 10.0, "renew_deadline": 10.0},
        {"renew_deadline": 2.0, "retry_period": 2.0},
        {"retry_period": 0.0},
    ],
)
def test_refuses_a_timing_that_is_not_safe(timing: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="leader election rook/operator: lease_duration"):
        LeaderElection(namespace="rook", name="operator", **timing)


def quick(lease_duration: float) -> LeaderElection:
    return LeaderElection(
        namespace="rook",
        name="operator",
        lease_duration=lease_duration,
        renew_deadline=lease_duration * 0.9,
        retry_period=lease_duration / 10,
    )


def test_the_dead_mans_switch_ends_a_process_whose_lease_has_run_out_and_says_so(
    capfd: pytest.CaptureFixture[str],
) -> None:
    elector = Elector(KubeLease(new_server().client(), quick(0.3)), quick(0.3), "a")
    asyncio.run(elector.acquire())
    aborted = threading.Event()
    codes: list[int] = []

    def abort(code: int) -> None:
        codes.append(code)
        aborted.set()

    with elector.dead_mans_switch(abort):
        assert aborted.wait(100)  # the event loop does not even run any more

    assert not elector.leading
    assert codes == [1]
    assert "a: lease operator ran out, process ended by force\n" in capfd.readouterr().err


@virtual_time
async def test_lets_the_lease_go_that_a_renewal_under_way_has_changed() -> None:
    server = new_server()
    leader = await _lead(server, watch=False)
    leader.connection.late = 0.5
    version = server.storage.version
    await until(lambda: server.storage.version > version)  # the renewal has arrived, its answer has not
    await leader.stop()

    await leader.elector.release()

    assert lease_of(server).spec.holder_identity == ""


def test_the_dead_mans_switch_lets_a_process_be_that_renews_or_has_ended() -> None:
    elector = Elector(KubeLease(new_server().client(), quick(1.5)), quick(1.5), "a")
    aborted = threading.Event()

    async def run() -> None:
        await elector.acquire()
        with elector.dead_mans_switch(lambda _: aborted.set()), anyio.move_on_after(2.0):
            await elector.hold()

    asyncio.run(run())

    assert not aborted.is_set()


@virtual_time
async def test_candidates_that_try_at_the_same_time_are_no_trouble() -> None:
    server = new_server()
    with structlog.testing.capture_logs() as logs:
        candidates = [Candidate(server, name) for name in "ab"]
        for candidate in candidates:
            candidate.connection.late = 0.1  # both see that there is no lease before either makes one
        await asyncio.sleep(10)
    leading = [candidate for candidate in candidates if candidate.led_from is not None]
    for candidate in candidates:
        await candidate.stop()

    assert len(leading) == 1
    assert [entry["log_level"] for entry in logs if entry["event"] == "Another candidate was faster"] == ["info"]
    assert not [entry for entry in logs if entry["log_level"] == "warning"]
