"""How librados is told what is wanted of it, and what its answers mean: settings, connections, commands as JSON."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio.to_thread
import msgspec
import orjson

from controller.ceph.access.answers import LONG

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

CONNECT_TIMEOUT = 5.0
"""Seconds to find a mon that answers. Short: who connects to a cluster that is only starting looks again soon."""
SHORT = 1 << 16
"""Bytes of an answer up to which decoding it takes less than handing it to a thread."""


@dataclass(frozen=True, slots=True)
class Access:
    """What it takes to connect: `mon_hosts` as `mon_host` lists them, and the cephx key of `user` ("client.admin")."""

    mon_hosts: tuple[str, ...]
    fsid: str
    user: str
    key: str = field(repr=False)


def _rados() -> ModuleType:
    import rados  # a system library of the operator's image, absent where only plans are computed

    module: ModuleType = rados
    return module


def options(access: Access, timeout: float) -> dict[str, str]:
    """The settings of a connection whose commands may take so many seconds; 0: any time."""
    return {
        "fsid": access.fsid,
        "mon_host": ",".join(access.mon_hosts),
        "key": access.key,
        "client_mount_timeout": str(math.ceil(CONNECT_TIMEOUT)),
        "rados_mon_op_timeout": str(math.ceil(timeout)),
        "rados_osd_op_timeout": str(math.ceil(timeout)),
        # A mon that is only starting refuses connections; by default the next try is 3 s later.
        "mon_client_hunt_interval": "0.5",
        "mon_client_hunt_interval_backoff": "1.5",
        "mon_client_hunt_interval_max_multiple": "4",
        "ms_async_op_threads": "1",
        "log_to_stderr": "false",
        "log_file": "",
        "admin_socket": "",
    }


def connect(access: Access, timeout: float) -> Any:
    """A connected `rados.Rados`; blocks. Raises what librados raises."""
    handle = _rados().Rados(name=access.user, conf=options(access, timeout))
    try:
        handle.connect()
    except BaseException:
        handle.shutdown()
        raise
    return handle


def command_of(prefix: str, args: Mapping[str, Any]) -> str:
    """A command as mons, mgrs and MDS daemons take it."""
    return json.dumps({"prefix": prefix, "format": "json", **args})


async def decoded(output: bytes, prefix: str) -> Any:
    """A long answer is decoded in a thread: everything else goes on meanwhile."""
    if len(output) <= SHORT:
        return decode(output, prefix)
    return await anyio.to_thread.run_sync(decode, output, prefix)


def decode(output: bytes, prefix: str = "") -> Any:
    """The answer to a command: JSON, or a text; None where it is empty."""
    if prefix in LONG:
        with suppress(msgspec.MsgspecError):
            return LONG[prefix].decode(output)
    if not output.strip():
        return None
    try:
        return orjson.loads(output)
    except orjson.JSONDecodeError:
        return output.decode("utf-8", "replace").strip()
