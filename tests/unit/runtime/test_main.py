"""A whole program in one call; `tests/integration/test_runtime_docs.py` runs one to its end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controller.runtime import LeaderElection, Program, connect
from controller.runtime.main import MISCONFIGURED

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: me, user: {token: t}}]
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG, encoding="utf-8")
    return str(path)


def test_without_a_configuration_it_says_so_and_ends(tmp_path: Path) -> None:
    program = (
        "import sys; from controller.runtime import Program, run; "
        "sys.exit(run(Program('toys'), print, namespaces=None, kubeconfig=sys.argv[1]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "missing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (MISCONFIGURED, ""), "nothing was registered"
    assert done.stderr.startswith("toys-operator: ")


async def test_the_manager_has_the_names_of_its_program_and_its_pod(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POD_NAME", "toys-0")
    async with connect(Program("toys"), namespaces=("ns",), kubeconfig=kubeconfig) as manager:
        assert manager.identity.startswith("toys-0_")
        assert (manager.program.name, manager.elector, len(manager.clients)) == ("toys", None, 1)
        assert manager.client.host == "http://127.0.0.1:1"


async def test_the_lease_has_a_client_of_its_own(kubeconfig: str) -> None:
    lease = LeaderElection(namespace="ns", name="toys")
    async with connect(
        Program("toys"), namespaces=None, kubeconfig=kubeconfig, identity="a", leader_election=lease
    ) as manager:
        assert manager.elector is not None
        assert len({id(client) for client in manager.clients}) == 2


@pytest.mark.parametrize(
    ("program", "names"),
    [
        (Program("toys"), ("toys/applied-digest", "toys-status", "toys/operator", "toys")),
        (
            Program("my-toys", domain="toys.io"),
            ("toys.io/applied-digest", "my-toys-status", "toys.io/operator", "my_toys"),
        ),
    ],
)
def test_names(program: Program, names: tuple[str, ...]) -> None:
    found = (program.digest_annotation, program.status_manager, program.reporting_controller, program.prefix)
    assert found == names


@pytest.mark.parametrize("name", ["", "My Toys", "-toys", "toys_", "1toys", "t" * 64])
def test_a_name_that_does_not_fit_everywhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="DNS label"):
        Program(name)
