"""Which sessions of a file system are a volume's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.ceph.access.filesystems import FilesystemState, Mds
from controller.ceph.cephfs.sessions import of_all, of_directory, parse, sessions
from controller.volumes.backend import BackendError
from tests.unit.ceph.cephfs.cephfs import Ceph, session

NAMES = st.lists(st.sampled_from(["a", "ab", "b"]), max_size=4)


@given(NAMES, st.lists(NAMES, max_size=6))
def test_a_session_is_of_the_directory_that_its_client_has_mounted_and_of_no_other(
    wanted: list[str], roots: list[list[str]]
) -> None:
    found = parse(session(f"10.0.0.1:0/{i}", "/" + "/".join(root)) for i, root in enumerate(roots))
    mine = {s.root for s in of_directory(found, "/" + "/".join(wanted))}
    within = [root for root in roots if wanted and root[: len(wanted)] == wanted]
    assert mine == {"/" + "/".join(root) for root in within}


@pytest.mark.parametrize("root", ["/shared", "/shared/", "//shared", "/shared/x"])
def test_paths_are_compared_by_their_parts(root: str) -> None:
    found = parse([session("10.0.0.1:0/1", root), session("10.0.0.1:0/2", "/shared2"), session("10.0.0.1:0/3", "")])
    assert [s.client for s in of_directory(found, "/shared/")] == ["10.0.0.1:0/1"]


def test_a_client_with_sessions_at_several_daemons_is_one() -> None:
    several = [session("[fd00::1]:0/1", "/x", state=state) for state in ("stale", "open", "closed", "stale")]
    (found,) = parse([*several, session("10.0.0.1:0/2", "/x", state="closed")])
    assert (found.client, found.stale) == ("[fd00::1]:0/1", False)


@pytest.mark.parametrize(
    ("daemons", "told"),
    [
        ((Mds("a", 0, "up:active"),), "no MDS daemon has rank 1 of file system myfs"),
        (
            (Mds("a", 0, "up:active"), Mds("b", 1, "up:reconnect"), Mds("c", 1, "up:standby-replay")),
            "MDS daemon b, which is up:reconnect, has rank 1 of file system myfs",
        ),
    ],
)
async def test_all_ranks_are_asked_or_nobody_knows(daemons: tuple[Mds, ...], told: str) -> None:
    with pytest.raises(BackendError, match=told):
        await sessions(Ceph(), "myfs", FilesystemState(fscid=1, ranks=(0, 1), daemons=daemons))


async def test_a_rank_on_its_way_out_is_asked_too() -> None:
    ceph = Ceph()
    ceph.sessions = [session("10.0.0.1:0/1", "/x")]
    daemons = (Mds("a", 0, "up:active"), Mds("b", 1, "up:stopping"))
    found = await sessions(ceph, "myfs", FilesystemState(fscid=1, ranks=(0, 1), daemons=daemons))
    assert [s.client for s in found] == ["10.0.0.1:0/1"]


async def test_clients_of_all_file_systems_as_far_as_they_are_served() -> None:
    ceph = Ceph()
    ceph.sessions = [session("10.0.0.1:0/1", "/x"), session("10.0.0.2:0/1", "/")]
    ceph.filesystems = {"myfs": "up:active", "dead": "up:replay"}
    assert await of_all(ceph) == {"10.0.0.1:0/1", "10.0.0.2:0/1"}
