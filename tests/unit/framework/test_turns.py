"""Whose turn it is: of all who want it one has it, and what is written meanwhile by others is seen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from controller.framework.program import PROGRAM
from controller.framework.turns import Holder, NotFreeError, Turn, give_back, holder, take
from controller.runtime.kube import CONFIG_MAP
from controller.testkit import ApiServer, new_manager, virtual_time
from informers import ApiError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from informers import JsonObject

TURN = Turn(CONFIG_MAP, "db", "ring", "example.com/turn")
MINE, OTHER = Holder("mine", "u1"), Holder("other", "u2")


def free(_: JsonObject) -> str:
    return ""


class Case:
    def __init__(self) -> None:
        self.server = ApiServer(namespaces=("db",))
        self.server.create(CONFIG_MAP, {"metadata": {"name": "ring", "namespace": "db"}, "data": {"a": "1"}})
        self.client = new_manager(self.server, program=PROGRAM).client

    def whose(self) -> Holder | None:
        meta = self.server.get(CONFIG_MAP, "db", "ring")["metadata"]
        return holder(meta.get("annotations") or {}, TURN.key)

    def edit(self, **data: str) -> None:
        self.server.patch(CONFIG_MAP, "db", "ring", {"data": data})


@virtual_time
async def test_one_has_it_until_it_is_given_back() -> None:
    case = Case()
    await take(case.client, TURN, MINE, free)
    await take(case.client, TURN, MINE, free)
    assert case.whose() == MINE
    with pytest.raises(NotFreeError, match="it is the turn of mine"):
        await take(case.client, TURN, OTHER, free)

    await give_back(case.client, TURN, OTHER)
    assert case.whose() == MINE
    await give_back(case.client, TURN, MINE)
    assert case.whose() is None
    await take(case.client, TURN, OTHER, free)
    assert case.whose() == OTHER


@virtual_time
async def test_nobody_takes_it_from_what_the_object_says_now() -> None:
    case = Case()
    with pytest.raises(NotFreeError, match="a is 1"):
        await take(case.client, TURN, MINE, lambda obj: f"a is {obj['data']['a']}")
    assert case.whose() is None


@virtual_time
async def test_whoever_wrote_between_the_look_and_the_taking_is_not_overlooked() -> None:
    case = Case()

    def changed_meanwhile(_: JsonObject) -> str:
        case.edit(a="2")
        return ""

    with pytest.raises(ApiError) as refusal:
        await take(case.client, TURN, MINE, changed_meanwhile)
    assert refusal.value.is_conflict
    assert case.whose() is None


@virtual_time
async def test_whoever_writes_over_an_earlier_version_is_refused_once_it_is_taken() -> None:
    case = Case()
    version = case.server.get(CONFIG_MAP, "db", "ring")["metadata"]["resourceVersion"]
    await take(case.client, TURN, MINE, free)

    body: dict[str, Any] = {"metadata": {"resourceVersion": version}, "data": {"a": "2"}}
    with pytest.raises(ApiError) as refusal:
        await case.client.patch(CONFIG_MAP, "db", "ring", body, content_type=MERGE_PATCH)
    assert refusal.value.is_conflict


@virtual_time
async def test_it_is_given_back_though_the_object_is_gone() -> None:
    case = Case()
    case.server.delete(CONFIG_MAP, "db", "ring")
    await give_back(case.client, TURN, MINE)


@pytest.mark.parametrize("text", ["", "nobody"])
def test_what_names_nobody_is_nobody_s(text: str) -> None:
    assert holder({TURN.key: text}, TURN.key) is None
