"""How long random search goes on, and from which seed: `make test` is the same each time, `make test-long` is not.

And what may run side by side where a run has several processes; and how errors are logged.
"""

from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=120)
settings.register_profile("long", deadline=None, max_examples=10_000, print_blob=True)
settings.load_profile("ci")

# By default, structlog shows an exception with all local variables, in colours: that takes a second each time.
_renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _renderer])

ALONE = ("e2e/test_cassandra.py", "e2e", "tests/integration")
"""Files and directories whose tests share a cluster, servers or a network: one process runs all of each."""


class Rooms(LoadScopeScheduling):  # type: ignore[misc]  # pytest-xdist publishes no types
    """Hands a process a file of tests at a time, and of `ALONE` all that is in one and in none before it."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.split("::")[0])
        return next((place for place in ALONE if file.is_relative_to(place)), str(file))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """The scheduler of a run with several processes."""
    return Rooms(config, log)
