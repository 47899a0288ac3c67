"""Renders the chart with the real helm, which is built where it is missing."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import binaries
from tests.unit.chart.rendered import CHART, Rendered


@pytest.fixture(scope="session")
def helm() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs helm with these arguments."""
    program = binaries.ensure("helm") / "helm"

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)

    return run


@pytest.fixture(scope="session")
def render(helm: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Rendered]:
    """Renders the release `rook` in namespace `rook-ceph` with these options and values; the same is rendered once."""
    done: dict[str, Rendered] = {}

    def run(*options: str, **values: Any) -> Rendered:
        key = json.dumps([options, values], sort_keys=True)
        if key not in done:
            arguments = ["template", "rook", CHART, "--namespace", "rook-ceph", "--kube-version", "1.36.0", *options]
            for name, value in values.items():
                arguments += ["--set-json", f"{name}={json.dumps(value)}"]
            result = helm(*arguments)
            assert result.returncode == 0, result.stderr
            done[key] = Rendered([o for o in yaml.load_all(result.stdout, yaml.CSafeLoader) if o])
        return done[key]

    return run
