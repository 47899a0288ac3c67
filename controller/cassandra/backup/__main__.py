"""What Jobs of backups and restores run, in the operator's image: `python -m controller.cassandra.backup COMMAND`.

What is secret is in files. The result, or in one line why there is none, is the pod's termination message; exit status
`HOPELESS` says that trying again does not help.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from controller.cassandra.access.answers import AccessError
from controller.cassandra.access.http import HttpMembers
from controller.cassandra.access.members import Door, Login
from controller.cassandra.backup import load, prepare, seal, upload
from controller.cassandra.backup.bucket import Bucket, BucketError, HopelessError
from controller.cassandra.backup.catalog import UnreadableError
from controller.cassandra.backup.options import ADMIN, HOPELESS, LOGIN, S3, Options
from controller.cassandra.member.containers import DATA

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from controller.cassandra.access.members import Session

FAILED = 1
MESSAGE = Path("/dev/termination-log")
MOST_MESSAGE = 4000
"""Characters of a termination message; of more than 4096 bytes, Kubernetes keeps the end."""


def say(text: str) -> None:
    """Writes a line for `kubectl logs`."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


async def run_upload(options: Options) -> upload.Uploaded:
    """Brings a member's part of a backup to the bucket."""
    bucket = Bucket(options.location, S3)
    (host_id,) = options.host_ids
    return upload.upload(bucket, Path(DATA, "data"), backup=options.backup, tag=options.tag, host_id=host_id, say=say)


async def run_seal(options: Options) -> seal.Sealed:
    """Writes that a backup is whole."""
    bucket = Bucket(options.location, S3)
    async with HttpMembers() as members, _session(members, options) as session:
        return await seal.seal(
            bucket,
            session,
            backup=options.backup,
            operation=options.operation,
            cluster=options.cluster,
            host_ids=options.host_ids,
            keyspaces=options.keyspaces,
        )


async def run_check(options: Options) -> prepare.Restorable:
    """Finds out whether a backup can be restored here."""
    bucket = Bucket(options.location, S3)
    async with HttpMembers() as members, _session(members, options) as session:
        return await prepare.check(
            bucket,
            session,
            backup=options.backup,
            keyspaces=options.keyspaces,
            overwrite=options.overwrite,
            operation=options.operation,
        )


async def run_prepare(options: Options) -> prepare.Restorable:
    """Makes the schema, and throws away the rows that may be."""
    bucket = Bucket(options.location, S3)
    async with HttpMembers() as members, _session(members, options) as session:
        return await prepare.prepare(
            bucket,
            session,
            backup=options.backup,
            keyspaces=options.keyspaces,
            overwrite=options.overwrite,
            members=options.members,
            operation=options.operation,
        )


async def run_load(options: Options) -> load.Loaded:
    """Brings back a member's share of a backup."""
    bucket = Bucket(options.location, S3)
    door = Door(options.host, _login(ADMIN), ca=options.ca, name=options.name)
    async with HttpMembers() as members:
        return await load.load(
            bucket,
            members.member(door),
            Path(DATA),
            backup=options.backup,
            operation=options.operation,
            keyspaces=options.keyspaces,
            number=options.number,
            members=options.members,
            say=say,
        )


COMMANDS = {"upload": run_upload, "seal": run_seal, "check": run_check, "prepare": run_prepare, "load": run_load}


def _session(members: HttpMembers, options: Options) -> AbstractAsyncContextManager[Session]:
    login = _login(LOGIN) if LOGIN.is_dir() else None
    return members.session(options.host, login, ca=options.ca, name=options.name)


def _login(directory: Path) -> Login:
    return Login(*((directory / key).read_text().strip() for key in ("username", "password")))


def main(arguments: Sequence[str]) -> int:
    """Runs one command, and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m controller.cassandra.backup")
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("options", type=lambda text: msgspec.json.decode(text, type=Options))
    given = parser.parse_args(arguments)
    try:
        result: Any = anyio.run(COMMANDS[given.command], given.options)
    except (HopelessError, UnreadableError) as error:
        return _end(HOPELESS, str(error))
    except (BucketError, AccessError, OSError) as error:
        return _end(FAILED, str(error))
    return _end(0, msgspec.json.encode(result).decode())


def _end(status: int, text: str) -> int:
    """Leaves the pod's last words."""
    text = " ".join(text.split())[:MOST_MESSAGE]
    say(text)
    if MESSAGE.exists():
        MESSAGE.write_text(text)
    return status


def _stop(*_: object) -> None:
    # At once: what was brought is found by the next try, and threads may be within a long request.
    os._exit(FAILED)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _stop)
    sys.exit(main(sys.argv[1:]))
