"""A member's part of a restore: files are brought back table by table, verified, and streamed to their owners.

Cassandra's own bulk loading finds the owners, so that the ring may be another one than that of the backup. It is not
broken off with a Job: whoever comes after that Job waits for its end.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import batched
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import anyio
import msgspec

from controller.cassandra.access.answers import BulkLoad, Job, JobState, RefusedError, UnansweredError
from controller.cassandra.backup.bucket import HopelessError
from controller.cassandra.backup.catalog import file_key, renumbered
from controller.cassandra.backup.seal import read
from controller.cassandra.backup.share import share_of
from controller.cassandra.member.containers import DATA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from controller.cassandra.access.members import Member
    from controller.cassandra.backup.bucket import Bucket
    from controller.cassandra.backup.share import Portion, Share

SCRATCH = "rook-restore"
"""Below the volume of a member: what a restore has brought and Cassandra has not yet taken."""
WORKERS = 4
BATCH = 64
SPARE = 0.05
"""The part of a volume that stays free."""
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 120.0
"""How long a member may not answer before it counts as gone."""


class Loaded(msgspec.Struct, frozen=True):
    """What a member has brought back."""

    files: int = 0
    bytes: int = 0


async def load(
    bucket: Bucket,
    member: Member,
    volume: Path,
    *,
    backup: str,
    operation: str,
    keyspaces: Iterable[str],
    number: int,
    members: int,
    say: Callable[[str], None],
) -> Loaded:
    """Brings back this member's share of a backup; what an earlier try has brought is not brought again.

    Of all that load at a member, one does so at a time, and only when Cassandra does nothing any more for the others.

    Args:
        bucket: Where the backup is.
        member: Loads what was brought.
        volume: Its volume, as it is mounted here.
        backup: The backup's name.
        operation: The uid of the Operation.
        keyspaces: Those to restore; none: all.
        number: Which of the shares, from 0.
        members: How many shares there are.
        say: Writes a line about how far it is.

    Raises:
        HopelessError: A file is damaged, or there is too little space.
        BucketError: The bucket does not answer now.
        AccessError: The member does not load it.
    """
    whole = await anyio.to_thread.run_sync(read, bucket, backup)
    share = await anyio.to_thread.run_sync(partial(share_of, bucket, whole, keyspaces, number=number, members=members))
    # What was loaded of a share says nothing of another one, as there are once the cluster has more or fewer members.
    scratch = volume / SCRATCH / f"{operation}-{number + 1}-of-{members}"
    scratch.parent.mkdir(parents=True, exist_ok=True)
    async with _alone(scratch.parent):
        scratch.mkdir(exist_ok=True)
        for left in sorted(scratch.parent.iterdir()):
            if left != scratch:  # of an operation that is no more: a cluster has one at a time
                await _left_alone(member, left, say)
                await anyio.to_thread.run_sync(shutil.rmtree, left)
        try:
            _check_space(scratch, share)
            done = await _share(bucket, member, scratch, share, say)
        except HopelessError:  # no later try goes on with what is there
            await anyio.to_thread.run_sync(partial(shutil.rmtree, scratch, ignore_errors=True))
            raise
        shutil.rmtree(scratch)
    return done


@asynccontextmanager
async def _alone(directory: Path) -> AsyncIterator[None]:
    """Keeps others out: a pod that is to end may still be at work when the next one begins.

    Raises:
        UnansweredError: It does not end.
    """
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await _patiently(partial(_lock, place))
        yield
    finally:
        os.close(place)


async def _lock(place: int) -> None:
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UnansweredError("another Job brings files to this member") from error


def _tables(scratch: Path) -> list[tuple[str, str]]:
    """Keyspace and table of whatever was brought, and perhaps not loaded."""
    return sorted((path.parent.name, path.name) for path in scratch.glob("*/*"))


async def _left_alone(member: Member, left: Path, say: Callable[[str], None]) -> None:
    """Waits until Cassandra loads nothing any more of what an earlier operation, or share, has brought."""
    for keyspace, table in _tables(left):
        told = False
        while True:
            _, found = await _latest(member, _job_id(left, keyspace, table))
            if found is None or found.state is not JobState.RUNNING:
                break
            if not told:
                say(f"{keyspace}.{table}: waits for Cassandra to load what an earlier restore has brought")
                told = True
            await anyio.sleep(POLL_SECONDS)


async def _share(
    bucket: Bucket,
    member: Member,
    scratch: Path,
    share: Share,
    say: Callable[[str], None],
) -> Loaded:
    """Brings back table after table."""
    done = Loaded()
    for portion in share.portions:
        keyspace, table = portion.keyspace, portion.table
        # One process of ours writes here at a time, and its next try goes by these marks.
        mark = scratch / f"{keyspace}.{table}.loaded"
        if not mark.exists():
            directory = scratch / keyspace / table
            directory.mkdir(parents=True, exist_ok=True)
            say(f"{keyspace}.{table}: {portion.size} bytes")
            await anyio.to_thread.run_sync(_bring, bucket, directory, portion)
            seen = PurePosixPath(DATA, SCRATCH, scratch.name, keyspace, table)
            await _load(member, _job_id(scratch, keyspace, table), str(seen))
            mark.touch()
            shutil.rmtree(directory)
        done = Loaded(done.files + portion.files, done.bytes + portion.size)
    return done


def _check_space(scratch: Path, share: Share) -> None:
    """The largest table of the share is there twice for a while, and what other members stream comes meanwhile."""
    here = sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file())
    largest = max((portion.size for portion in share.portions), default=0)
    needed = largest + share.streamed - here
    state = os.statvfs(scratch)
    free = int(state.f_bavail * state.f_frsize - SPARE * state.f_blocks * state.f_frsize)
    if needed > free:
        raise HopelessError(
            f"the member's volume has room for {max(free, 0)} bytes more, and {needed} are needed: make it larger"
        )


def _bring(bucket: Bucket, directory: Path, portion: Portion) -> None:
    """Brings the files of a table, and numbers them anew: members number theirs alike."""
    wanted = (
        (file_key(part.host_id, file), directory / renumbered(file, number), file)
        for number, part in enumerate(portion.sstables, 1)
        for file in part.files
    )
    missing = (item for item in wanted if not item[1].exists())
    with ThreadPoolExecutor(WORKERS) as pool:
        for batch in batched(missing, BATCH):
            tries = [
                pool.submit(bucket.download, key, path, size=file.size, sha256=file.sha256) for key, path, file in batch
            ]
            for one in tries:
                one.result()


async def _load(member: Member, job_id: str, directory: str) -> None:
    """Has Cassandra stream what is in a directory, and waits for the end of it; that may be an earlier try's."""
    job_id, _ = await _latest(member, job_id)
    job = await _patiently(partial(member.start, job_id, BulkLoad(directory)))
    while job.state is JobState.RUNNING:
        await anyio.sleep(POLL_SECONDS)
        found = await _patiently(partial(member.job, job_id))
        if found is None:
            raise UnansweredError("the member was restarted while it loaded files")
        job = found
    if job.state is JobState.FAILED:
        raise RefusedError(f"Cassandra did not load {directory}: {job.message}")


def _job_id(scratch: Path, keyspace: str, table: str) -> str:
    return f"load-{scratch.name}-{keyspace}-{table}".replace("_", ".")


async def _latest(member: Member, job_id: str) -> tuple[str, Job | None]:
    """The ID of the last try to load a table that has not failed, and how it is; None: it has not begun."""
    number = 1
    while (found := await _patiently(partial(member.job, f"{job_id}-{number}"))) and found.state is JobState.FAILED:
        number += 1
    return f"{job_id}-{number}", found


async def _patiently[T](ask: Callable[[], Awaitable[T]]) -> T:
    """An answer, though the member may not give it for a while."""
    end = anyio.current_time() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except UnansweredError:
            if anyio.current_time() > end:
                raise
        await anyio.sleep(POLL_SECONDS)
