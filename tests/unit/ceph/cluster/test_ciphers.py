"""Types of cephx keys: when the mons are told to use the newer one."""

from __future__ import annotations

import pytest

from controller.ceph.access.mons import MonState
from controller.ceph.cluster.ciphers import ALLOWED, PREFERRED, SERVICE, SetCipher, analyze, handlers
from controller.ceph.releases import CephVersion, Running
from tests.unit.ceph.answers import FakeCeph

OLD, NEW = CephVersion(18, 2, 7), CephVersion(20, 2, 4)
UPGRADED: dict[str, tuple[str, ...]] = {ALLOWED: ("aes",), PREFERRED: ("aes",), SERVICE: ("aes",)}
SETTLED: dict[str, tuple[str, ...]] = {ALLOWED: ("aes", "aes256k"), PREFERRED: ("aes256k",), SERVICE: ("aes256k",)}


def planned(ciphers: dict[str, tuple[str, ...]] | None, oldest: CephVersion | None = NEW) -> list[tuple[str, str]]:
    state = None if ciphers is None else MonState({"a": "10.0.0.1"}, frozenset("a"), ciphers)
    steps = analyze(state, Running(oldest, NEW))
    return [(s.action.name, s.action.value) for s in steps if isinstance(s.action, SetCipher)]


def test_after_an_upgrade_the_mons_let_both_types_in_and_make_the_newer_one() -> None:
    assert planned(UPGRADED) == [(ALLOWED, "aes,aes256k"), (PREFERRED, "aes256k"), (SERVICE, "aes256k")]


@pytest.mark.parametrize(
    ("ciphers", "oldest"),
    [
        pytest.param(SETTLED, NEW, id="all is set"),
        pytest.param(SETTLED | {ALLOWED: ("aes256k",)}, NEW, id="an administrator lets the newer one in only"),
        pytest.param(UPGRADED, OLD, id="an OSD is not upgraded yet"),
        pytest.param(UPGRADED, None, id="nobody knows what runs"),
        pytest.param({}, NEW, id="the leader is older"),
        pytest.param(None, NEW, id="no mon answers"),
    ],
)
def test_nothing_is_set_where_it_is_so_or_a_daemon_would_not_understand_it(
    ciphers: dict[str, tuple[str, ...]] | None, oldest: CephVersion | None
) -> None:
    assert planned(ciphers, oldest) == []


def test_what_the_mons_say_of_key_types_is_read() -> None:
    aes, newer = {"name": "aes", "value": 1}, {"name": "aes256k", "value": 2}
    monmap = {"mons": [], "auth_epoch": 3, ALLOWED: [aes, newer], PREFERRED: newer, SERVICE: aes}
    state = MonState.parse({"quorum_names": [], "monmap": monmap})
    assert state.ciphers == {ALLOWED: ("aes", "aes256k"), PREFERRED: ("aes256k",), SERVICE: ("aes",)}
    assert MonState.parse({"quorum_names": [], "monmap": {"mons": []}}).ciphers == {}


async def test_the_mons_are_told() -> None:
    ceph = FakeCeph()
    await handlers(ceph)[SetCipher](SetCipher(SERVICE, "aes256k"))
    assert ceph.asked == [("mon set", {"name": "auth_service_cipher", "value": "aes256k"})]
