"""Gateways that do not answer are asked by one request for all, with growing pauses."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.rgw.admin import AdminClient, AdminError
from controller.ceph.rgw.silence import FIRST, LONGEST, Silence
from tests.unit.ceph.rgw.test_admin import ACCESS, SECRET, Gateway, gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["gateway"]

PATIENCE = 30.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_pauses_grow_to_a_bound_and_begin_anew_after_an_answer() -> None:
    clock = Clock()
    silence, pauses = Silence(clock), []
    for _ in range(8):
        silence.failed("refused")
        began = clock.now
        while silence.told(PATIENCE):
            clock.now += 0.25
        pauses.append(clock.now - began)
    assert pauses == [1, 2, 4, 8, 16, LONGEST, LONGEST, LONGEST]
    silence.answered()
    silence.failed("refused")
    clock.now += FIRST
    assert silence.told(PATIENCE) == ""


def test_requests_that_were_sent_together_fail_as_one() -> None:
    clock = Clock()
    silence = Silence(clock)
    assert [silence.told(PATIENCE) for _ in range(10)] == [""] * 10
    for _ in range(10):
        silence.failed("refused")
    clock.now += FIRST
    assert silence.told(PATIENCE) == ""


def test_one_asks_for_all_and_what_a_lost_one_holds_back_is_asked_again() -> None:
    clock = Clock()
    silence = Silence(clock)
    silence.failed("refused")
    clock.now = FIRST
    assert [silence.told(PATIENCE) for _ in range(3)] == ["", "refused", "refused"]
    clock.now += PATIENCE
    assert silence.told(PATIENCE) == ""


def test_who_may_answer_now_is_asked_at_once() -> None:
    silence = Silence(Clock()).about("Progressing")
    silence.failed("refused")
    assert silence.about("Progressing").told(PATIENCE) == "refused"
    assert silence.about("Ready").told(PATIENCE) == ""


@given(st.lists(st.sampled_from(["ask", "fail", "answer", "wait"]), max_size=60))
def test_whatever_happens_the_next_request_is_never_further_than_the_longest_pause(steps: list[str]) -> None:
    clock = Clock()
    silence = Silence(clock)
    for step in steps:
        match step:
            case "ask":
                silence.told(PATIENCE)
            case "fail":
                silence.failed("refused")
            case "answer":
                silence.answered()
                assert silence.told(PATIENCE) == "", "gateways that answer are asked by everybody"
            case "wait":
                clock.now += 3.0
    clock.now += max(LONGEST, PATIENCE)
    assert silence.told(PATIENCE) == ""


@pytest.fixture
def nobody() -> Iterator[str]:
    """A URL whose port nobody listens on, and nobody else gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


async def test_clients_of_a_store_share_it(gateway: Gateway, nobody: str) -> None:
    clock = Clock()
    silence = Silence(clock)
    away = AdminClient(nobody, ACCESS, SECRET, silence=silence)
    there = AdminClient(gateway.url, ACCESS, SECRET, silence=silence)
    with pytest.raises(AdminError) as first:
        await away.get("user", uid="u")
    with pytest.raises(AdminError) as second:
        await there.get("user", uid="u")
    assert (str(second.value), gateway.asked) == (str(first.value), [])
    assert second.value.is_unreachable

    clock.now += FIRST
    await there.get("user", uid="u")
    await there.get("user", uid="u")
    assert len(gateway.asked) == 2


async def test_a_refusal_is_an_answer(gateway: Gateway) -> None:
    gateway.answer = (503, b"")
    client = AdminClient(gateway.url, ACCESS, SECRET, silence=Silence(Clock()))
    for _ in range(3):
        with pytest.raises(AdminError):
            await client.get("user", uid="u")
    assert len(gateway.asked) == 3
