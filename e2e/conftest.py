"""Brings up the demo's environment once for all scenarios, and keeps what explains a failed one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from e2e import cache, dump, namespaces, postgres
from e2e import environment as env
from e2e.api import Manifest
from e2e.environment import Environment
from e2e.progress import say
from e2e.timetable import Timetable
from e2e.turns import Turn, rank

HERE = Path(__file__).parent
SCENARIO_SECONDS = 900
"""For one scenario, without the environment, whose own waits have deadlines."""
MORE_IMAGES = ("ceph-20", "cassandra-41", "cassandra-50", "minio", "snapshot-controller")
CHART_VALUES: dict[str, Any] = {"csi.controllerService": True}
"""What scenarios ask of the chart beside what the demo does."""
_environment = pytest.StashKey[Environment]()
_turn = Turn(partial(cache.lock, "scenarios"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests here need the cluster, and more time than a unit test."""
    items.sort(key=rank)
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(SCENARIO_SECONDS, func_only=True))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """What cannot go on beside others waits for its turn."""
    _turn.before(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(nextitem: pytest.Item | None) -> Iterator[None]:
    """The turn ends when everything that a scenario made is removed."""
    try:
        yield
    finally:
        _turn.after(nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """When a scenario fails, write the cluster's objects, events and logs into a directory, and say where."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # the hook's wrapper protocol is untyped
    environment = item.config.stash.get(_environment, None)
    if report.failed and environment is not None:
        directory = cache.root() / "failures" / item.name
        namespaces = [env.NAMESPACE, *(v for k, v in getattr(item, "funcargs", {}).items() if k == "namespace")]
        try:
            dump.write(environment, directory, namespaces)
        except OSError as error:
            report.sections.append(("cluster state", f"could not be read: {error}"))
        else:
            report.sections.append(("cluster state", f"objects, events and logs are in {directory}"))
    return report  # type: ignore[return-value]  # the hook's wrapper protocol is untyped


@pytest.fixture(scope="session")
def environment(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Environment:
    """The kind cluster with our chart, a Ready Ceph cluster, a pool and a StorageClass."""
    directory = tmp_path_factory.getbasetemp()
    is_up = (directory if worker_id == "master" else directory.parent) / "environment-is-up"
    with cache.lock("environment"):  # of a run's processes the first makes it
        if is_up.exists():
            environment = env.joined(more_images=MORE_IMAGES)
            pytestconfig.stash[_environment] = environment
            return environment
        timetable = Timetable()
        environment = env.prepare(timetable, more_images=MORE_IMAGES, quick=True)
        pytestconfig.stash[_environment] = environment
        env.bring_up(environment, timetable, **CHART_VALUES)
        is_up.touch()
    say(str(timetable))
    return environment


@pytest.fixture
def namespace(environment: Environment) -> Iterator[str]:
    """A new namespace; afterwards nothing is left of what was in it, and of its volumes."""
    name = namespaces.make(environment)
    yield name
    namespaces.remove(environment, name)


@pytest.fixture(scope="module")
def database(environment: Environment) -> Iterator[str]:
    """A namespace with a PostgreSQL that has rows, shared by the scenarios of a module."""
    name = namespaces.make(environment)
    postgres.deploy(environment, name)
    postgres.write_rows(environment, name)
    yield name
    namespaces.remove(environment, name)


@pytest.fixture
def edit_cluster(environment: Environment) -> Iterator[Callable[[Manifest], None]]:
    """Edits the CephCluster as a user does, and afterwards puts its spec back and waits until it is Ready."""

    def edit(patch: Manifest) -> None:
        environment.api.patch("CephCluster", env.CLUSTER, env.NAMESPACE, patch)

    yield edit
    edit({"metadata": {"annotations": {"rook.io/mode": None}}, "spec": {"security": None}})
    env.apply_ceph_cluster(environment)
    env.wait_for_cluster(environment)
