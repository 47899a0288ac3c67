"""For unit tests of controllers: an API server in memory, virtual time, and a manager that runs over them.

See docs/testing-controllers.md. The kit needs neither a test framework nor a socket.
"""

from controller.testkit.clock import VirtualLoop, now, pause, until, virtual_time, wall_clock
from controller.testkit.connection import Connection
from controller.testkit.network import Sent
from controller.testkit.running import new_manager, running
from controller.testkit.server import ApiServer
from controller.testkit.stored import Stored

__all__ = [
    "ApiServer",
    "Connection",
    "Sent",
    "Stored",
    "VirtualLoop",
    "new_manager",
    "now",
    "pause",
    "running",
    "until",
    "virtual_time",
    "wall_clock",
]
