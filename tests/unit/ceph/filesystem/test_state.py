"""What is read of the mons' word of file systems: an answer of Ceph 18.2, as it was given."""

from __future__ import annotations

import json
from pathlib import Path

from controller.ceph.access.filesystems import FilesystemState, Mds, parse
from tests.unit.ceph.filesystems import a_state

ANSWER = json.loads(Path(__file__).with_name("fs_dump.json").read_text(encoding="utf-8"))


def test_a_real_answer() -> None:
    found = parse(ANSWER)
    assert found.standbys == frozenset({"myfs-c"})
    assert found.filesystems == {
        "myfs": FilesystemState(
            fscid=1,
            max_mds=1,
            standby_replay=True,
            ranks=(0,),
            daemons=(Mds("myfs-b", 0, "up:active"), Mds("myfs-a", 0, "up:standby-replay")),
            metadata_pool=2,
            data_pools=(3,),
        )
    }
    state = found.filesystems["myfs"]
    assert (state.holder(0), state.holder(1)) == (Mds("myfs-b", 0, "up:active"), None)
    assert (state.named("myfs-a"), state.named("myfs-c")) == (Mds("myfs-a", 0, "up:standby-replay"), None)
    assert state.serves


def test_a_cluster_without_file_systems() -> None:
    assert parse({"standbys": [], "filesystems": []}).filesystems == {}


def test_ranks_that_are_on_their_way_out() -> None:
    state = a_state(max_mds=1, ranks=(0, 1), daemons=(Mds("a", 0, "up:active"), Mds("b", 1, "up:stopping")))
    assert not state.serves
    assert state.active == (0,)
