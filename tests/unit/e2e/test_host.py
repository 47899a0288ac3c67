"""The machine: podman's settings, and what is missing."""

import tomllib
from pathlib import Path

import pytest

from e2e import host


def test_containers_get_no_limit_above_the_machines_own() -> None:
    settings = tomllib.loads(host.render_settings(cgroup_v1=False, files=20000, processes=4096))
    assert settings["containers"]["default_ulimits"] == ["nofile=20000:20000", "nproc=4096:4096"]
    assert "runtime" not in settings["engine"]


def test_no_limit_is_asked_for_where_the_machine_has_none() -> None:
    settings = tomllib.loads(host.render_settings(cgroup_v1=False, files=-1, processes=100))
    assert settings["containers"]["default_ulimits"] == ["nproc=100:100"]


def test_on_cgroup_v1_runc_manages_the_groups_without_systemd() -> None:
    settings = tomllib.loads(host.render_settings(cgroup_v1=True, files=1, processes=1))
    assert settings["engine"]["runtime"] == "runc"
    assert settings["engine"]["cgroup_manager"] == "cgroupfs"


def test_docker_users_are_not_asked_for_what_podman_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(host, "PACKAGES", {"no-such-podman": "podman", "no-such-tool": "tool"})
    assert host.missing(with_docker=True) == ["tool"]
    assert host.missing(with_docker=False) == ["podman", "tool"]


def test_an_engines_own_environment_reaches_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "podman"
    command.write_text('#!/bin/sh\necho "$CONTAINERS_CONF $KIND_EXPERIMENTAL_PROVIDER $*"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    engine = host.Engine("podman", {"CONTAINERS_CONF": "/cache/containers.conf"})
    assert engine.run("ps", "--all").stdout == "/cache/containers.conf podman ps --all\n"


def test_a_failing_command_says_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "podman"
    command.write_text("#!/bin/sh\necho 'no such image' >&2\nexit 125\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(RuntimeError, match=r"podman rmi x failed with 125:\nno such image"):
        host.Engine("podman").run("rmi", "x")
    assert host.Engine("podman").run("rmi", "x", check=False).returncode == 125
