"""How a mon's store is made, by the script that makes it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.ceph.mon.objects import PREPARE_STORE
from tests.unit.ceph.cases import FSID

if TYPE_CHECKING:
    pass


class Pod:
    """A mon's pod that is about to make its store, on a machine whose tools of Ceph are stand-ins."""

    def __init__(self, directory: Path) -> None:
        self.store = directory / "data"
        self.tools = directory / "bin"
        self.tools.mkdir()
        self.tool("chown", "exit 0")
        self.tool("ceph-mon", self.script("ceph-mon"))
        self.quorum(True)

    def script(self, name: str) -> str:
        made = 'for flag; do case $flag in --mon-data=*) touch "${flag#*=}/kv_backend";; esac; done'
        return made if name == "ceph-mon" else "exit 0"

    def tool(self, name: str, script: str) -> None:
        path = self.tools / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def quorum(self, answers: bool) -> None:
        self.tool("ceph", f"exit {int(not answers)}")

    def prepare(self, joined: str | None, **more: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.tools}:{os.environ['PATH']}", "DATA_PLACE": "claim x", **more}
        environment |= {} if joined is None else {"ROOK_MONS_JOINED": joined}
        command = ["sh", "-c", PREPARE_STORE, "init-mon-fs", str(self.store), FSID, "b", "--id=b"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def has_store(self) -> bool:
        return (self.store / "kv_backend").exists() and (self.store / "rook-fsid").read_text() == f"{FSID}\n"


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path)


@pytest.mark.parametrize(
    ("joined", "quorum", "made"),
    [
        pytest.param(None, False, True, id="the Secret is of an operator that did not note it"),
        pytest.param("", False, True, id="a new cluster"),
        pytest.param("a,bb,c", False, True, id="a new mon"),
        pytest.param("a,b,c", True, True, id="it is filled from the others"),
        pytest.param("a,b,c", False, False, id="there are no others"),
        pytest.param("b", False, False, id="the only one"),
    ],
)
def test_a_lost_store_is_made_anew_only_to_be_filled_from_others(
    pod: Pod, joined: str | None, quorum: bool, made: bool
) -> None:
    pod.quorum(quorum)
    done = pod.prepare(joined)
    assert (done.returncode == 0, pod.has_store) == (made, made), done.stderr
    assert made or "mon b has lost its store (claim x is empty)" in done.stderr


@pytest.mark.parametrize(("members", "ciphers", "own_map"), [("b", "aes,aes256k", 1), ("a,b", "x", 0), ("b", "", 0)])
def test_the_first_mon_of_a_release_with_two_types_of_keys_lets_both_in(
    pod: Pod, tmp_path: Path, members: str, ciphers: str, own_map: int
) -> None:
    """What lets in the older type has to be in the map before there is anybody who could change it."""
    for tool in ("monmaptool", "ceph-mon"):
        pod.tool(tool, f'echo {tool} "$@" >> {tmp_path}/asked; ' + pod.script(tool))
    done = pod.prepare("", ROOK_CEPH_MON_INITIAL_MEMBERS=members, ROOK_CEPH_MON_HOST="[v2:x]", MON_CIPHERS=ciphers)
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text()
    assert asked.count(f"--fsid {FSID} --addv b [v2:x] --auth-allowed-ciphers {ciphers} /tmp/monmap") == own_map
    assert asked.count("--monmap=/tmp/monmap") == own_map


def test_nobody_else_on_the_node_reads_a_store(pod: Pod) -> None:
    pod.prepare("")
    assert pod.store.stat().st_mode & 0o077 == 0


def test_a_store_that_is_there_needs_no_quorum(pod: Pod) -> None:
    pod.prepare("")
    pod.tool("stat", "echo ceph")
    pod.quorum(False)
    assert pod.prepare("a,b,c").returncode == 0
