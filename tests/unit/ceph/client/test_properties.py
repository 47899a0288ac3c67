"""A user under any sequence of edits, accidents and deaths of the operator: it ends up as the spec has it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from controller.apis.ceph import CephClient
from controller.ceph.client.act import EnsureUser, RemoveUser, RotateKey, WriteSecret
from controller.ceph.client.analyze import analyze
from controller.ceph.client.observe import ClientObservation
from controller.ceph.client.status import show
from controller.framework.children import Delete
from controller.framework.kind import LetGo, Look
from controller.framework.owned_secrets import SecretState
from controller.framework.plan import APPLY, Outcome, StepResult, StepState

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKS = 5
"""Looks after which everything has to be as the spec has it when nothing happens any more."""


@dataclass
class Simulation:
    """A CephClient, and the mons and its Secret as far as it matters to it."""

    spec: dict[str, Any]
    status: Any = field(default_factory=dict)
    caps: dict[str, str] | None = None
    key: str = ""
    secret: str | None = None
    deleting: bool = False
    gone: bool = False
    rotations: int = 0
    keys: Iterator[int] = field(default_factory=count)

    def client(self) -> CephClient:
        meta = {"name": "glance", "namespace": "rook-ceph", "uid": "u1", "generation": 1}
        deleted = {"deletionTimestamp": "2027-01-15T08:00:00Z"} if self.deleting else {}
        obj = {"metadata": {**meta, **deleted}, "spec": self.spec, "status": self.status}
        return msgspec.convert(obj, CephClient)

    def seen(self) -> ClientObservation:
        state = SecretState.ABSENT
        if self.secret is not None:
            is_current = self.caps is not None and self.secret == self.key
            state = SecretState.CURRENT if is_current else SecretState.OUTDATED
        return ClientObservation(caps=self.caps, key_type="aes", secret=state, secret_uid="s", version="20.2.4-0")

    def look(self, dies_after: int | None = None) -> None:
        """One look at it; the operator dies after so many steps, and then notes nothing."""
        client, seen = self.client(), self.seen()
        steps = analyze(client, seen).steps
        for step in steps[:dies_after]:
            self.act(step.action)
        if dies_after is None and not self.gone:
            results = tuple(StepResult(step=step, state=StepState.DONE) for step in steps)
            look = Look(obj=client, spec=self.spec, mode=APPLY, now=0.0)
            self.status = msgspec.to_builtins(show(look, seen, Outcome(results=results)))

    def act(self, action: object) -> None:
        match action:
            case EnsureUser(_, caps, _):
                if self.caps is None:
                    self.key = str(next(self.keys))
                self.caps = dict(caps)
            case RotateKey():
                assert self.caps is not None
                self.key, self.rotations = str(next(self.keys)), self.rotations + 1
            case WriteSecret():
                assert self.caps is not None
                self.secret = self.key
            case Delete():
                self.secret = None
            case RemoveUser():
                self.caps = None
            case LetGo():
                self.gone = True
            case _:
                raise AssertionError(action)


specs = st.builds(
    lambda caps, removed, generation: {
        "caps": caps,
        "removeSecret": removed,
        "security": {"cephx": {"keyRotationPolicy": "KeyGeneration", "keyGeneration": generation}},
    },
    st.sampled_from([{"mon": "allow r"}, {"mon": "profile rbd", "osd": "profile rbd"}]),
    st.booleans(),
    st.integers(0, 3),
)
events = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.none() | st.integers(0, 3)),
        st.tuples(st.just("edit"), specs),
        st.tuples(st.sampled_from(["user removed", "secret removed", "secret changed", "status lost"]), st.none()),
    ),
    max_size=12,
)


def play(simulation: Simulation, happened: list[tuple[str, Any]]) -> None:
    for what, value in happened:
        match what:
            case "look":
                simulation.look(value)
            case "edit":
                simulation.spec = value
            case "user removed":
                simulation.caps = None
            case "secret removed":
                simulation.secret = None
            case "secret changed":
                simulation.secret = "something" if simulation.secret is not None else None
            case "status lost":
                simulation.status = {}


@given(specs, events)
def test_it_ends_up_as_the_spec_has_it(spec: dict[str, Any], happened: list[tuple[str, Any]]) -> None:
    simulation = Simulation(spec)
    play(simulation, happened)
    for _ in range(LOOKS):
        simulation.look()

    assert analyze(simulation.client(), simulation.seen()).steps == ()
    assert simulation.caps == simulation.spec["caps"]
    assert simulation.secret == (None if simulation.spec["removeSecret"] else simulation.key)


@given(specs, st.lists(st.none() | st.integers(0, 3), max_size=6))
def test_a_key_is_rotated_only_for_a_generation_that_was_raised(spec: dict[str, Any], looks: list[int | None]) -> None:
    simulation = Simulation(spec)
    for dies_after in [*looks, None, None, None]:
        simulation.look(dies_after)
    assert simulation.rotations == 0

    simulation.spec = {**spec, "security": {"cephx": {"keyRotationPolicy": "KeyGeneration", "keyGeneration": 9}}}
    for _ in range(LOOKS):
        simulation.look()
    assert simulation.rotations == 1


@given(specs, events)
def test_nothing_is_left_of_one_that_is_deleted(spec: dict[str, Any], happened: list[tuple[str, Any]]) -> None:
    simulation = Simulation(spec)
    play(simulation, happened)
    simulation.deleting = True
    for _ in range(LOOKS):
        simulation.look()

    assert simulation.gone
    assert (simulation.caps, simulation.secret) == (None, None)
