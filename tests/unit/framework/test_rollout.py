"""Which members may be restarted: by table, and under any sequence of restarts, failures, returns and edits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.framework.rollout import Leave, Member, Policy, ask, decide, next_batch

ONE = Policy()
BACK = "to be back"


def the(text: str, **fields: float) -> tuple[Member, ...]:
    """Members in words: "a/r1 b/r1! c/r2~": `!` is out of date, `~` is down and awaited, `-` is down alone."""
    found = []
    for word in text.split():
        name, _, domain = word.rstrip("!~-").partition("/")
        marks = word[len(word.rstrip("!~-")) :]
        found.append(
            Member(
                name=name,
                domain=domain,
                outdated="!" in marks,
                serves=not {"~", "-"} & set(marks),
                awaited=BACK if "~" in marks else "",
                seconds=fields.get(name),
            )
        )
    return tuple(found)


@pytest.mark.parametrize(
    ("members", "policy", "waits"),
    [
        pytest.param(the("a b c"), ONE, {}, id="all is up to date"),
        pytest.param(the("a! b! c"), ONE, {"a": "", "b": "a to be restarted"}, id="one at a time"),
        pytest.param(the("a b! c!"), ONE, {"b": "", "c": "b to be restarted"}, id="in their order"),
        pytest.param(the("a~ b! c!"), ONE, {"b": "a to be back", "c": "a to be back"}, id="one is not back"),
        pytest.param(the("a~ b~! c!"), ONE, {"b": "", "c": "a, b to be back"}, id="one that is down may be mended"),
        pytest.param(the("a- b! c!"), ONE, {"b": "", "c": "b to be restarted"}, id="nobody waits for one"),
        pytest.param(
            the("a/1! b/1! c/1! d/2!"),
            Policy(batch=2),
            {"a": "", "b": "", "c": "a, b to be restarted", "d": "a, b to be restarted"},
            id="by two",
        ),
        pytest.param(
            the("a/1! b/2! c/1!"),
            Policy(batch=9),
            {"a": "", "c": "", "b": "a, c to be restarted"},
            id="of one failure domain",
        ),
        pytest.param(the("a! b!"), Policy(paused="a word"), {"a": "a word", "b": "a word"}, id="paused"),
        pytest.param(
            the("a b! c! d!-"),
            Policy(canary=2, canary_ends="a word"),
            {"b": "", "c": "a word", "d": "a word"},
            id="two are canaries",
        ),
        pytest.param(the("a b! c!"), Policy(canary=1, canary_ends="w"), {"b": "w", "c": "w"}, id="the canary is done"),
        pytest.param(
            the("a b! c~!", a=5.0),
            Policy(soak=60),
            {"b": "c to be back", "c": ""},
            id="one is away: the soak comes after that",
        ),
        pytest.param(the("a b!", a=59.0), Policy(soak=60), {"b": "a to have served for 60 s"}, id="it soaks"),
        pytest.param(the("a b!", a=60.0), Policy(soak=60), {"b": ""}, id="it has soaked"),
        pytest.param(the("a b! c!-", a=59.0), Policy(soak=60), {"b": "a to have served for 60 s", "c": ""}, id="heal"),
        pytest.param(the("a~ b!", a=59.0), Policy(patience=60), {"b": "a to be back"}, id="it may still come"),
        pytest.param(
            the("a~ b! c!-", a=60.0),
            Policy(patience=60),
            dict.fromkeys("bc", "a to come back, down for more than 60 s with what the others are to get"),
            id="it does not come: nobody else gets that",
        ),
        pytest.param(
            the("a~! b! c!-", a=60.0),
            Policy(patience=60),
            {"a": "", "b": "a to be back", "c": ""},
            id="something else is wanted by now",
        ),
    ],
)
def test_who_waits_for_what(members: tuple[Member, ...], policy: Policy, waits: dict[str, str]) -> None:
    assert decide(members, policy) == waits


def test_what_holds_the_system_holds_all() -> None:
    assert decide(the("a! b!- c~"), ONE, hold="peace") == {"a": "peace", "b": "peace"}


def test_one_that_is_being_restarted_may_be_so_again() -> None:
    members = (Member(name="a", outdated=True, awaited=BACK), Member(name="b", outdated=True))
    assert decide(members, ONE) == {"a": "", "b": "a to be restarted"}
    assert decide(members, ONE, leave=Leave((), "no")) == {"a": "a to be dispensable: no", "b": "a to be back"}
    assert decide(members[::-1], ONE) == {"a": "", "b": "a to be restarted"}
    assert decide((*members, *the("c", c=1.0)), Policy(soak=60))["a"] == "", "it takes nothing more away"
    assert decide((*members, *the("c~")), ONE) == {"a": "c to be back", "b": "a, c to be back"}


def test_it_says_why_it_is_given_up_and_goes_on_with_something_else() -> None:
    failed = Member(name="a", serves=False, awaited=BACK, seconds=700, trouble="CrashLoopBackOff")
    policy = Policy(patience=600)
    why = "a to come back, down for more than 600 s with what the others are to get: CrashLoopBackOff"
    assert decide((failed, *the("b! c!-")), policy) == {"b": why, "c": why}
    assert next_batch((failed, *the("b!")), policy) == ()
    assert decide((replace(failed, outdated=True), *the("b! c!-")), policy) == {"a": "", "b": "a to be back", "c": ""}


def test_leave_is_asked_for_and_heeded() -> None:
    members = the("a/1! b/1! c/2! d/2!-")
    policy = Policy(batch=2)
    assert next_batch(members, policy) == ("a", "b")
    assert next_batch(members, replace(policy, canary=1)) == ("a",)
    assert decide(members, policy, leave=Leave(("a",))) == {
        "a": "",
        "b": "a to be restarted",
        "c": "a to be restarted",
        "d": "",
    }
    assert decide(members, policy, leave=Leave((), "no")) == {
        "a": "a to be dispensable: no",
        "b": "b to be dispensable: no",
        "c": "c to be dispensable: no",
        "d": "",
    }
    assert decide(members, policy, leave=Leave())["a"] == "its turn", "nobody was there to be asked"


@pytest.mark.parametrize(
    ("batch", "refused", "leave"),
    [
        (("a", "b"), [], Leave(("a", "b"))),
        (("a", "b"), [("a", "b")], Leave(("a",))),
        (("a", "b"), [("a", "b"), ("a",)], Leave((), "not a")),
        (("a",), [("a",)], Leave((), "not a")),
    ],
)
async def test_all_of_the_batch_is_asked_about_and_then_its_first(
    batch: tuple[str, ...], refused: list[tuple[str, ...]], leave: Leave
) -> None:
    async def question(names: Sequence[str]) -> str:
        return f"not {' '.join(names)}" if tuple(names) in refused else ""

    assert await ask(batch, question) == leave


# ---- Under any sequence of events

PATIENCE = 30.0


@dataclass
class Simulation:
    """Members that fail, come back and are restarted; revision 0 is good, and so are those that are not in `bad`."""

    domains: list[str]
    policy: Policy
    wanted: int = 1
    now: float = 0.0
    bad: set[int] = field(default_factory=set)
    runs: dict[str, int] = field(default_factory=dict)
    since: dict[str, float] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    restarting: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.runs = {f"m{number}": 0 for number in range(len(self.domains))}
        self.since = dict.fromkeys(self.runs, -1000.0)

    def members(self) -> tuple[Member, ...]:
        return tuple(
            Member(
                name=name,
                domain=domain,
                outdated=self.runs[name] != self.wanted,
                serves=name not in self.down,
                awaited=BACK if name in self.down else "",
                seconds=self.now - self.since[name],
            )
            for name, domain in zip(self.runs, self.domains, strict=True)
        )

    def domain(self, name: str) -> str:
        return self.domains[list(self.runs).index(name)]

    def turn(self, name: str, *, down: bool) -> None:
        (self.down.add if down else self.down.discard)(name)
        self.since[name] = self.now

    def look(self, *, hold: str = "", leave: Leave | None = None) -> dict[str, str]:
        """The operator looks, and restarts whom it may."""
        members = self.members()
        found = decide(members, self.policy, hold=hold, leave=leave)
        serving = [m for m in members if m.serves]
        may = [name for name, waits_for in found.items() if not waits_for]
        taken = [m for m in serving if m.name in may]
        self.check(members, may, taken, hold, leave)
        for name in may:
            self.runs[name] = self.wanted
            if name not in self.down:
                self.turn(name, down=True)
            self.restarting.add(name)
        return found

    def check(
        self, members: tuple[Member, ...], may: list[str], taken: list[Member], hold: str, leave: Leave | None
    ) -> None:
        assert len(taken) <= self.policy.batch, "never more than the batch"
        assert len({m.domain for m in taken}) <= 1, "never two failure domains at once"
        assert not taken or not self.down, "nobody goes down while another is down"
        assert not may or not (hold or self.policy.paused), "a word holds all"
        assert leave is None or all(m.name in leave.names for m in taken), "a refusal is heeded"
        before = [m.name for m in members if m.outdated and m.serves and (not taken or m.domain == taken[0].domain)]
        assert leave is not None or [m.name for m in taken] == before[: len(taken)], "the order is kept"
        if self.policy.canary:
            assert set(may) <= set(list(self.runs)[: self.policy.canary]), "no more than the canaries"
        for member in members:
            if taken and member.serves and not member.outdated:
                assert self.now - self.since[member.name] >= self.policy.soak, (
                    "nobody before it has served for too short"
                )
        failed = {n for n in self.down if self.runs[n] == self.wanted and self.now - self.since[n] >= PATIENCE}
        said = bool(hold or self.policy.paused)
        for index, member in enumerate(members):
            is_canary = not self.policy.canary or index < self.policy.canary
            if member.outdated and not member.serves and is_canary and not said and not failed:
                assert member.name in may, "one that is broken may always be mended"

    def settle(self) -> None:
        """Those that were restarted come back where they can."""
        for name in sorted(self.restarting):
            self.restarting.discard(name)
            if name not in self.dead and self.runs[name] not in self.bad:
                self.turn(name, down=False)


policies = st.builds(
    Policy,
    batch=st.integers(1, 3),
    soak=st.sampled_from((0.0, 7.0)),
    patience=st.just(PATIENCE),
    canary=st.sampled_from((0, 0, 1, 2)),
    canary_ends=st.just("the canaries to be found good"),
    paused=st.sampled_from(("", "", "", "the pause to end")),
)
events = st.lists(
    st.tuples(st.sampled_from(("look", "held", "refused", "fail", "back", "edit", "bad", "wait")), st.integers(0, 50)),
    max_size=50,
)


@given(domains=st.lists(st.sampled_from("xyz"), min_size=1, max_size=7), policy=policies, events=events)
def test_what_holds_for_every_rollout(domains: list[str], policy: Policy, events: list[tuple[str, int]]) -> None:
    run = Simulation(domains, policy)
    for name, number in events:
        victim = f"m{number % len(domains)}"
        match name:
            case "look":
                run.look()
            case "held":
                run.look(hold="peace")
            case "refused":
                run.look(leave=Leave(next_batch(run.members(), run.policy)[: number % 2], "no"))
            case "fail":
                run.dead.add(victim)
                run.turn(victim, down=True)
            case "back":
                run.dead.discard(victim)
                run.restarting.add(victim)
                run.settle()
            case "edit":
                run.wanted += 1
            case "bad":
                run.wanted += 1
                run.bad.add(run.wanted)
            case "wait":
                run.now += number % 25
                run.settle()
    # In the end something good is wanted, nobody holds it, and those that are dead are mended: it ends, in order.
    run.wanted += 1
    run.dead.clear()
    run.policy = replace(policy, canary=0, paused="")
    run.restarting |= run.down
    for _ in range(3 * len(domains) + 3):
        run.settle()
        run.look()
        run.now += 25.0
    assert set(run.runs.values()) == {run.wanted}
    run.settle()
    assert not run.down


@given(
    domains=st.lists(st.sampled_from("xyz"), min_size=2, max_size=7), batch=st.integers(1, 3), last=st.integers(0, 6)
)
def test_a_revision_that_fails_reaches_one_batch_alone(domains: list[str], batch: int, last: int) -> None:
    run = Simulation(domains, Policy(batch=batch, patience=PATIENCE), bad={1})
    for _ in range(20):
        found = run.look()
        run.settle()
        run.now += 10
    spoilt = [name for name, revision in run.runs.items() if revision == 1]
    assert 1 <= len(spoilt) <= batch
    assert len({run.domain(name) for name in spoilt}) == 1
    assert len(spoilt) == len(domains) or all("to come back" in why for why in found.values())
    # One of the others goes down by itself: it comes back with what it had.
    run.turn(f"m{last % len(domains)}", down=True)
    assert all(found.values())
    # Something else is wanted: those that are broken get it first, and the rest after them.
    run.wanted, run.down = 2, set(spoilt)
    assert {name for name, waits_for in run.look().items() if not waits_for} == set(spoilt)
