"""Questions to MDS daemons: the real program, with stand-ins for rados and cephfs."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from controller.ceph.access import mds
from controller.ceph.access.librados import Access
from controller.ceph.access.rados import CephError, RadosCluster

ACCESS = Access(("[v2:10.0.0.1:3300,v1:10.0.0.1:6789]",), "f", "client.admin", "hush")

RADOS = """
class Rados:
    def __init__(self, name, conf):
        assert name == "client.admin" and conf["key"] == "hush" and conf["fsid"] == "f", conf

    def connect(self):
        pass
"""

CEPHFS = """
import json, pathlib, sys, time
found = json.loads(pathlib.Path(__file__).with_name("answers.json").read_text())
assert "hush" not in " ".join(sys.argv)

class LibCephFS:
    def __init__(self, rados_inst):
        pass

    def init(self):
        if found.get("fails"):
            raise OSError(110, "no mon answered")

    def mds_command(self, role, command, data):
        if isinstance(command, list) != found.get("takes_list", False):
            raise TypeError("args must be another")
        command = command[0] if isinstance(command, list) else command
        time.sleep(found.get("hangs", 0))
        if role not in found["answers"]:
            return -2, b"", "no rank"
        return 0, json.dumps([role, json.loads(command), found["answers"][role]]).encode(), ""
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the program finds its modules; answers.json says what daemons answer."""
    (tmp_path / "rados.py").write_text(RADOS)
    (tmp_path / "cephfs.py").write_text(CEPHFS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]))
    return tmp_path


def answering(library: Path, **found: Any) -> RadosCluster:
    (library / "answers.json").write_text(json.dumps({"answers": {"myfs:0": "a", "myfs:1": "b"}, **found}))
    return RadosCluster(ACCESS, timeout=10)


@pytest.mark.parametrize("takes_list", [True, False])
async def test_each_rank_answers(library: Path, takes_list: bool) -> None:
    ceph = answering(library, takes_list=takes_list)
    asked = {"prefix": "session ls", "format": "json"}
    assert await ceph.mds(["myfs:1", "myfs:0"], "session ls") == [["myfs:1", asked, "b"], ["myfs:0", asked, "a"]]


async def test_a_refusal_names_the_rank(library: Path) -> None:
    with pytest.raises(CephError, match="MDS daemon of myfs:7: no rank") as caught:
        await answering(library).mds(["myfs:0", "myfs:7"], "session ls")
    assert caught.value.is_not_found


async def test_mons_that_do_not_answer(library: Path) -> None:
    with pytest.raises(CephError, match=r"myfs:0 could not be asked: .*no mon answered") as caught:
        await answering(library, fails=True).mds(["myfs:0"], "session ls")
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_daemon_that_never_answers_is_given_up_and_leaves_no_process(library: Path) -> None:
    answering(library, hangs=60)
    began = time.monotonic()
    with pytest.raises(mds.MdsError, match=r"the MDS daemons of myfs:0 did not answer within 0\.5 s"):
        mds.tell("client.admin", {"key": "hush", "fsid": "f"}, ["myfs:0"], "{}", seconds=0.5)
    assert time.monotonic() - began < 30
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if str(library) in environment(path)]


def environment(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def test_a_program_that_fails_is_told_without_the_key() -> None:
    with pytest.raises(mds.MdsError, match="could not be asked: status 3, oh") as caught:
        mds.tell(
            "client.admin",
            {"key": "hush"},
            ["myfs:0"],
            "{}",
            seconds=10,
            program=("sh", "-c", "cat >/dev/null; echo oh >&2; exit 3"),
        )
    assert "hush" not in str(caught.value)


async def test_a_connection_that_was_closed_asks_nothing(library: Path) -> None:
    ceph = answering(library)
    ceph.close()
    with pytest.raises(CephError, match="the connection was closed"):
        await ceph.mds(["myfs:0"], "session ls")
