"""Leader election under any sequence of faults: never two that may act, and one again when all is well."""

import asyncio
from datetime import timedelta

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from controller.runtime.kube import LEASE
from controller.testkit import now, virtual_time
from informers import JsonObject
from tests.unit.runtime.test_leader import ELECTION, Candidate, lease_of, new_server


class World:
    """A server and its candidates, some of which have ended."""

    def __init__(self, skews: list[int]) -> None:
        self.server = new_server()
        self.candidates: list[Candidate] = []
        self.alive: list[Candidate] = []
        self.deleted = False
        for number, skew in enumerate(skews):
            self._start(skew=timedelta(seconds=skew), watch=number != 1)

    @property
    def leaders(self) -> list[str]:
        return [candidate.elector.identity for candidate in self.candidates if candidate.may_write]

    async def pass_time(self, seconds: float) -> None:
        ends = now() + seconds
        while now() < ends:
            assert len(self.leaders) <= 1, f"{self.leaders} at {now()}"
            await asyncio.sleep(0.05)

    async def inflict(self, fault: str, which: int) -> None:
        leading = [candidate for candidate in self.alive if candidate.may_write]
        some = self.alive[which % len(self.alive)] if self.alive else None
        chosen = leading[0] if leading and which > 4 else some  # mostly it is the leader's trouble that matters
        match fault:
            case "cut off" if chosen is not None:
                chosen.cut_off()
            case "late answers" if chosen is not None:
                chosen.connection.late = 3.0
            case "all is well":
                self.mend()
            case "server away":
                self.server.stop()
            case "history is gone":
                self.server.cut(0)
                self.server.compact()
            case "shorter duration" | "labelled" | "deleted":
                self._change_lease(fault)
            case "ends well" | "killed" if chosen is not None:
                self.alive.remove(chosen)
                await chosen.stop()
                await (chosen.elector.release() if fault == "ends well" else asyncio.sleep(0))
            case "another starts" if not self.deleted:  # who has never seen the lease cannot know that there was one
                self._start()

    def mend(self) -> None:
        self.server.start()
        for candidate in self.alive:
            candidate.mend()
            candidate.connection.late = 0.0

    async def end(self) -> None:
        self.mend()
        ends = now() + 90
        while now() < ends:
            # As a kubelet does; an attempt that was under way when the network came back may end a process later.
            if all(candidate.ended is not None for candidate in self.alive):
                self._start()
            await self.pass_time(1)
        assert self.leaders == [lease_of(self.server).spec.holder_identity]
        for candidate in self.candidates:
            await candidate.stop()

    def _start(self, *, skew: timedelta = timedelta(), watch: bool = True) -> None:
        self.alive.append(Candidate(self.server, f"c{len(self.candidates)}", skew=skew, watch=watch))
        self.candidates.append(self.alive[-1])

    def _change_lease(self, fault: str) -> None:
        if self.server.find(LEASE, ELECTION.namespace, ELECTION.name) is None:
            return
        if fault == "deleted":
            self.deleted = True
            self.server.delete(LEASE, ELECTION.namespace, ELECTION.name)
            return
        body: JsonObject = {"metadata": {"labels": {"step": str(now())}}}
        if fault == "shorter duration":
            body["spec"] = {"leaseDurationSeconds": 1}
        self.server.patch(LEASE, ELECTION.namespace, ELECTION.name, body)


FAULTS = st.sampled_from(
    ["cut off"] * 3
    + ["late answers", "all is well", "server away", "history is gone", "shorter duration", "labelled", "deleted"]
    + ["ends well", "killed", "another starts"]
)
PAUSES = st.sampled_from([0.3, 1.7, 3.1, 4.9, 9.9, 14.9, 21.0])


@settings(phases=(Phase.explicit, Phase.reuse, Phase.generate))
@example(
    skews=[-3600, 0],
    steps=[
        ("cut off", 2, 1.7),
        ("late answers", 4, 1.7),
        ("killed", 3, 1.7),
        ("shorter duration", 3, 1.7),
        ("history is gone", 0, 1.7),
    ],
)
@given(
    skews=st.lists(st.sampled_from([-3600, 0, 3600]), min_size=2, max_size=3),
    steps=st.lists(st.tuples(FAULTS, st.integers(0, 9), PAUSES), min_size=4, max_size=16),
)
@virtual_time
async def test_never_two_and_in_the_end_one(skews: list[int], steps: list[tuple[str, int, float]]) -> None:
    world = World(skews)
    await world.pass_time(2)
    for fault, which, pause in steps:
        await world.inflict(fault, which)
        await world.pass_time(pause)
    await world.end()
