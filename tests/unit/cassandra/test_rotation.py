"""Rotations of the superuser: what the Secret has logs in at every moment, whoever is killed and whenever."""

from __future__ import annotations

import asyncio
import random
from base64 import b64decode, b64encode
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from controller.cassandra.access.answers import RefusedError, UnansweredError
from controller.cassandra.access.members import Login
from controller.cassandra.cluster.rotate import Rotating
from controller.cassandra.cluster.rotation import OVERLAP, DropRole, LockFormer, Rotate, Rotation, analyze
from controller.runtime.kube import SECRET
from controller.testkit import ApiServer, virtual_time
from informers import ApiError
from tests.unit.cassandra.clock import seconds
from tests.unit.cassandra.life import NAME, Life, living, spec
from tests.unit.cassandra.talk import WorldSession
from tests.unit.cassandra.world import NAMESPACE, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from controller.framework.plan import Step

NAME_OF_SECRET = f"{NAME}-superuser"
MEMBERS = ("a-0", "a-1", "a-2")
CURRENT = Login("store-superuser", "secret")


def steps(rotate: str = "", now: float = 0.0, **state: Any) -> list[Step]:
    return list(analyze(NAME_OF_SECRET, rotate, CURRENT, Rotation(version="7", **state), MEMBERS, now))


def actions(found: list[Step]) -> list[object]:
    return [step.action for step in found if not step.waits_for]


@pytest.mark.parametrize(
    ("text", "now", "state", "wanted"),
    [
        ("", 0.0, {}, []),
        ("", 0.0, {"text": "spring"}, []),
        ("spring", 0.0, {"text": "spring"}, []),
        ("spring", 0.0, {}, [Rotate("7", "spring", MEMBERS)]),
        ("autumn", 0.0, {"text": "spring"}, [Rotate("7", "autumn", MEMBERS)]),
        ("spring", 0.0, {"tried": "new"}, [DropRole("7", "new", "a-0")]),
        ("spring", 0.0, {"ended": "new"}, [DropRole("7", "new", "a-0")]),
        ("", 0.0, {"tried": "new", "former": "old", "since": -OVERLAP}, [DropRole("7", "new", "a-0")]),
        ("spring", OVERLAP - 1, {"text": "spring", "former": "old", "since": 0.0}, []),
        ("spring", OVERLAP, {"text": "spring", "former": "old", "since": 0.0}, [LockFormer("7", "old", "a-0")]),
        ("", OVERLAP, {"text": "spring", "former": "old", "since": 0.0}, [LockFormer("7", "old", "a-0")]),
        ("autumn", 0.0, {"text": "spring", "former": "old"}, [DropRole("7", "old", "a-0")]),
        ("spring", 0.0, {"text": "spring", "former": "old"}, []),
    ],
)
def test_what_is_next_of_a_rotation(text: str, now: float, state: dict[str, Any], wanted: list[object]) -> None:
    assert actions(steps(text, now, **state)) == wanted


def test_a_rotation_waits_for_the_one_before_to_end() -> None:
    (step,) = steps("autumn", 100.0, text="spring", former="old", since=0.0)
    assert step.waits_for == "role old to be locked, in 500 s: clients may still use it"


@pytest.mark.parametrize(("since", "wanted"), [("", None), ("2026-01-01T00:00:00Z", 1767225600.0), ("yesterday", 0.0)])
def test_a_time_that_cannot_be_read_is_past(since: str, wanted: float | None) -> None:
    noted = {"cassandra.rook.io/former-role": "old", "cassandra.rook.io/former-since": since}
    assert Rotation.of(noted, "1").since == wanted


def secret_of(server: ApiServer) -> tuple[Login, Mapping[str, str], str]:
    """What is in the Secret, its annotations and its version."""
    found = server.get(SECRET, NAMESPACE, NAME_OF_SECRET)
    login = Login(*(b64decode(found["data"][key]).decode() for key in ("username", "password")))
    return login, found["metadata"].get("annotations") or {}, found["metadata"]["resourceVersion"]


class Rotations:
    """A Secret, the roles that members know, and operators of which each may be killed at any moment."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311
        self.server = ApiServer(namespaces=(NAMESPACE,))
        self.world = World(self.server, seed=seed)
        self.world.roles = {CURRENT.user: CURRENT.password}
        content = {"username": CURRENT.user, "password": CURRENT.password}
        meta = {"name": NAME_OF_SECRET, "namespace": NAMESPACE}
        self.server.create(SECRET, {"metadata": meta, "stringData": content, "data": encoded(content)})
        self.text = ""

    async def operate(self, *, late: bool) -> None:
        """An operator; a late one has seen the Secret some time ago, and takes its time."""
        slow = 20.0 if late else 1.0
        client = self.server.client()

        @asynccontextmanager
        async def session(name: str, login: Login) -> AsyncIterator[Any]:
            await asyncio.sleep(self.chance.random() * slow)
            if self.world.roles.get(login.user) != login.password:
                raise RefusedError("wrong password")
            yield Told(self, slow)

        rotating = Rotating(client, NAMESPACE, NAME_OF_SECRET, NAME_OF_SECRET, session, seconds)
        acts = rotating.handlers()
        while True:
            login, notes, version = secret_of(self.server)
            if late:
                await asyncio.sleep(self.chance.random() * slow)
            for step in analyze(NAME_OF_SECRET, self.text, login, Rotation.of(notes, version), MEMBERS, seconds()):
                if step.waits_for:
                    break
                try:
                    await acts[type(step.action)](step.action)
                except (RefusedError, UnansweredError, ApiError):
                    break
            await asyncio.sleep(1 + self.chance.random() * slow)

    def check(self) -> None:
        login, _, _ = secret_of(self.server)
        assert self.world.roles.get(login.user) == login.password, f"the Secret has {login.user}"

    async def pass_(self, times: float) -> None:
        """Time passes; at each moment the Secret has what logs in."""
        end = seconds() + times
        while seconds() < end:
            self.check()
            await asyncio.sleep(2)


class Told(WorldSession):
    """A session whose statements take their time, before they are carried out and after."""

    def __init__(self, rotations: Rotations, slow: float) -> None:
        super().__init__(rotations.world)
        self._rotations, self._slow = rotations, slow

    async def query(self, statement: str, *, quorum: bool = False) -> Sequence[Mapping[str, object]]:
        await asyncio.sleep(self._rotations.chance.random() * self._slow)
        rows = await super().query(statement, quorum=quorum)
        self._rotations.check()
        await asyncio.sleep(self._rotations.chance.random())
        return rows


def encoded(content: Mapping[str, str]) -> dict[str, str]:
    return {key: b64encode(value.encode()).decode() for key, value in content.items()}


@settings(max_examples=40, phases=[Phase.generate])
@given(seed=st.integers(0, 1_000_000))
def test_the_secret_has_what_logs_in_whenever_the_operator_is_killed(seed: int) -> None:
    @virtual_time
    async def run() -> None:
        rotations, seen = Rotations(seed), {CURRENT.user}
        for text in ("spring", "autumn"):
            rotations.text = text
            for _ in range(rotations.chance.randint(1, 8)):
                operator = asyncio.create_task(rotations.operate(late=False))
                await rotations.pass_(rotations.chance.random() * 8)
                operator.cancel()
                await asyncio.wait([operator])
            last = asyncio.create_task(rotations.operate(late=False))
            await rotations.pass_(2 * OVERLAP)
            last.cancel()
            await asyncio.wait([last])
            login, notes, _ = secret_of(rotations.server)
            assert notes["cassandra.rook.io/rotation"] == text
            assert login.user not in seen
            seen.add(login.user)
            # Nothing is left of what was begun, and the one before lets in nobody.
            assert rotations.world.roles == {login.user: login.password}

    run()


@settings(max_examples=25, phases=[Phase.generate])
@given(seed=st.integers(0, 1_000_000))
def test_an_operator_that_goes_on_too_late_does_no_harm(seed: int) -> None:
    @virtual_time
    async def run() -> None:
        rotations = Rotations(seed)
        operators = [asyncio.create_task(rotations.operate(late=late)) for late in (False, True, True)]
        for text in ("spring", "autumn"):
            rotations.text = text
            await rotations.pass_(3 * OVERLAP)
            assert secret_of(rotations.server)[1]["cassandra.rook.io/rotation"] == text
        for operator in operators:
            operator.cancel()
        await asyncio.wait(operators)

    run()


def let_in(life: Life, login: Login) -> bool:
    return life.world.roles.get(login.user) == login.password


@virtual_time
async def test_an_edit_has_a_new_role_take_over_and_ends_the_one_before_later() -> None:
    async with living() as life:
        life.create(spec(a=3) | {"authentication": {"rotate": "spring"}})
        await life.ready("a-0", "a-1", "a-2")
        await life.until(lambda: list(life.world.roles) == ["store-superuser"])
        await asyncio.sleep(60)
        before, _, _ = secret_of(life.server)
        life.edit(authentication={"rotate": "autumn"})
        await life.until(lambda: secret_of(life.server)[1].get("cassandra.rook.io/rotation") == "autumn")
        after, _, _ = secret_of(life.server)
        assert before.user != after.user
        assert before.password != after.password
        assert let_in(life, before)
        assert let_in(life, after)
        await asyncio.sleep(OVERLAP - 60)
        assert let_in(life, before)
        await life.until(lambda: not let_in(life, before))
        assert life.world.roles == {after.user: after.password}
        await life.ready("a-0", "a-1", "a-2")
        # A text that is taken away rotates nothing.
        life.edit(authentication={"rotate": None})
        await asyncio.sleep(OVERLAP)
        assert secret_of(life.server)[0] == after
        assert life.condition("Degraded")[0] == "False"


@virtual_time
async def test_roles_are_left_alone_while_members_run_two_versions() -> None:
    async with living() as life:
        life.create(spec("4.1.7", a=2))
        await life.ready("a-0", "a-1")
        life.edit(upgrade={"canary": 1, "soakSeconds": 2}, version="5.0.3", authentication={"rotate": "now"})
        await life.until(lambda: life.cluster.status.version == "4.1.7 to 5.0.3")
        rotated = secret_of(life.server)[0].user
        life.edit(authentication={"rotate": "once more"})
        await asyncio.sleep(OVERLAP * 2)
        assert secret_of(life.server)[0].user == rotated
        assert "all members to run one version" in str(life.cluster.status.plan.steps)
        life.edit(upgrade={"canary": 0, "soakSeconds": 2})
        await life.until(lambda: secret_of(life.server)[0].user != rotated)


@virtual_time
async def test_a_secret_that_is_lost_is_not_made_up() -> None:
    async with living() as life:
        life.create(spec(a=2))
        await life.ready("a-0", "a-1")
        await life.until(lambda: list(life.world.roles) == ["store-superuser"])
        kept = life.server.get(SECRET, NAMESPACE, NAME_OF_SECRET)
        life.server.delete(SECRET, NAMESPACE, NAME_OF_SECRET)
        await life.until(lambda: "nobody else has the password" in str(life.cluster.status.plan.steps))
        assert life.server.find(SECRET, NAMESPACE, NAME_OF_SECRET) is None
        meta = {"name": NAME_OF_SECRET, "namespace": NAMESPACE}
        life.server.create(SECRET, {"metadata": meta, "data": kept["data"]})
        await life.ready("a-0", "a-1")


@virtual_time
async def test_the_user_s_own_secret_is_rotated_by_a_second_role() -> None:
    """The procedure of docs/cassandra/cluster.md, and what is said when the Secret goes first."""
    async with living() as life:
        meta, own = {"name": "own", "namespace": NAMESPACE}, {"username": "admin", "password": "one"}
        life.server.create(SECRET, {"metadata": meta, "data": encoded(own)})
        life.create(spec(a=2) | {"authentication": {"superuserSecretName": "own"}})
        await life.ready("a-0", "a-1")
        await life.until(lambda: list(life.world.roles) == ["admin"])

        life.server.patch(SECRET, NAMESPACE, "own", {"data": encoded({"password": "two"})})
        await life.until(lambda: life.condition("Degraded")[1] == "SuperuserRefused")
        assert "it to have the password of role admin" in str(life.cluster.status.plan.steps)
        assert life.world.roles == {"admin": "one"}
        life.server.patch(SECRET, NAMESPACE, "own", {"data": encoded(own)})
        await life.ready("a-0", "a-1")

        life.world.roles["admin-2"] = "two"
        life.server.patch(SECRET, NAMESPACE, "own", {"data": encoded({"username": "admin-2", "password": "two"})})
        del life.world.roles["admin"]
        await asyncio.sleep(60)
        assert life.condition("Degraded")[0] == "False"
        life.scale(a=3)  # which needs the superuser, for the copies of Cassandra's own keyspaces
        await life.ready("a-0", "a-1", "a-2")
        assert life.world.keyspaces["system_auth"].factors == {"dc1": 3}
