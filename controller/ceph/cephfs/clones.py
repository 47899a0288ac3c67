"""Subvolumes that begin as copies of snapshots, which the mgr makes file by file, several at a time.

https://docs.ceph.com/en/latest/cephfs/fs-volumes/#cloning-snapshots. Nobody waits for a copy: each question begins it,
or tells how far it is.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anyio import current_time

from controller.ceph.access.rados import CephError
from controller.ceph.cephfs.subvolumes import arguments
from controller.volumes.backend import BackendError, UnderWayError

if TYPE_CHECKING:
    from controller.ceph.access.rados import Cluster
    from controller.ceph.cephfs.snaps import Snapshot
    from controller.ceph.cephfs.volumes import Subvolume

COMPLETE = "complete"
ENDED = ("failed", "canceled")
"""States of copies that nobody works on any more, and that are not whole."""

_MOST, _DEFAULT_MOST = "max_concurrent_clones", 4

_FORGOTTEN = 120.0
"""Seconds after which a copy that nobody asks about any more does not count. Else it is asked about within 40 s."""


_ASK_AGAIN = 10.0
"""Seconds after which a mgr that has begun as many copies as it works on is asked to begin another."""


@dataclass(frozen=True, slots=True)
class Clone:
    """A copy that was begun.

    Attributes:
        state: "pending", "in-progress", "complete", "failed" or "canceled".
        detail: How far it is, or why it failed; empty where Ceph does not tell.
    """

    state: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.state} ({self.detail})" if self.detail else self.state


async def status(ceph: Cluster, target: Subvolume) -> Clone | None:
    """How far a copy is; None: there is no such subvolume. One that is no copy is complete.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    asked = {"vol_name": target.filesystem, "clone_name": target.name, "group_name": target.group}
    try:
        answer = await ceph.mgr("fs clone status", **asked)
    except CephError as error:
        if error.is_not_found:
            return None
        if error.errno == errno.EOPNOTSUPP:
            return Clone(COMPLETE)
        raise
    found: dict[str, Any] = answer["status"]
    return Clone(found["state"], _progress(found.get("progress_report")) or _failure(found.get("failure")))


async def cancel(ceph: Cluster, target: Subvolume) -> None:
    """Has a copy stopped, which takes moments; one that has ended is left alone.

    Raises:
        CephError: The mgr does not answer, or refuses it.
    """
    asked = {"vol_name": target.filesystem, "clone_name": target.name, "group_name": target.group}
    try:
        await ceph.mgr("fs clone cancel", **asked)
    except CephError as error:
        if not error.is_not_found and error.errno != errno.EINVAL:
            raise


class Clones:
    """Begins copies: no more at a time than the mgr works on, since releases before 18.2.4 take any number, and may
    then never come to the end of them.

    A copy that waits for others is not asked about until one of them has ended, however many wait.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Subvolume], float] = {}
        self._waiting: dict[tuple[str, Subvolume], float] = {}
        """Those of which it is known that they are not begun, and when they were asked for last."""
        self._most: dict[str, int] = {}
        self._busy: dict[str, float] = {}
        """By cluster, until when its mgr is not asked to begin another."""

    def wait_for_turn(self, cluster: str, target: Subvolume) -> None:
        """Asks nobody.

        Raises:
            UnderWayError: It is known that the copy is not begun, and that it cannot be now.
        """
        if (cluster, target) not in self._waiting:
            return
        now = current_time()
        others, most = self._others(cluster), self._most.get(cluster, _DEFAULT_MOST)
        is_busy = self._busy.get(cluster, now) > now
        if others < most and not is_busy:
            return
        self._waiting[cluster, target] = now
        self._waiting = {key: asked for key, asked in self._waiting.items() if now - asked < _FORGOTTEN}
        raise (
            _waits(target, others)
            if others >= most
            else UnderWayError(f"subvolume {target} waits to be copied: the mgr works on as many as it may")
        )

    async def advance(self, ceph: Cluster, cluster: str, target: Subvolume) -> bool:
        """Looks how far a copy is; whether it is whole. False: it has to be begun, and there is room for it.

        Args:
            ceph: The cluster.
            cluster: Its namespace.
            target: The copy.

        Raises:
            UnderWayError: It is being made, or waits until others are.
            BackendError: It has failed; what there was of it is removed.
            CephError: The mgr does not answer, or refuses it.
        """
        found = await status(ceph, target)
        if found is None:
            self.forget(cluster, target)
            self._most[cluster] = most = await _most(ceph)
            if (others := self._others(cluster)) >= most:
                self._waiting[cluster, target] = current_time()
                raise _waits(target, others)
            return False
        if found.state in ENDED:
            self.forget(cluster, target)
            await ceph.mgr("fs subvolume rm", **arguments(target), force=True)
            raise BackendError(f"subvolume {target} was not copied: {found}; it is begun again")
        if found.state == COMPLETE:
            self.forget(cluster, target)
            return True
        self._seen[cluster, target] = current_time()
        raise UnderWayError(f"subvolume {target} is being copied: {found}")

    async def begin(self, ceph: Cluster, cluster: str, snapshot: Snapshot, target: Subvolume, pool: str) -> None:
        """Begins a copy; `pool`: where its data goes, empty: where the source's is.

        Raises:
            UnderWayError: It has begun, or waits until others are made.
            CephError: The mgr does not answer, or refuses it.
        """
        layout = {"pool_layout": pool} if pool else {}
        self._seen[cluster, target] = current_time()
        self._waiting.pop((cluster, target), None)
        try:
            await ceph.mgr(
                "fs subvolume snapshot clone",
                **arguments(snapshot.subvolume),
                snap_name=snapshot.name,
                target_sub_name=target.name,
                target_group_name=target.group,
                **layout,
            )
        except CephError as error:
            if error.errno != errno.EEXIST:  # which an earlier call made that was not answered in time
                self.forget(cluster, target)
                if error.errno == errno.EAGAIN:
                    self._waiting[cluster, target] = now = current_time()
                    self._busy[cluster] = now + _ASK_AGAIN
                    raise UnderWayError(f"subvolume {target} waits to be copied: {error.message}") from error
                raise
        raise UnderWayError(f"subvolume {target} is being copied from {snapshot}")

    def forget(self, cluster: str, target: Subvolume) -> None:
        """A copy is not being made any more, and waits for none."""
        self._seen.pop((cluster, target), None)
        self._waiting.pop((cluster, target), None)

    def _others(self, cluster: str) -> int:
        now = current_time()
        self._seen = {key: seen for key, seen in self._seen.items() if now - seen < _FORGOTTEN}
        return sum(where == cluster for where, _ in self._seen)


def _waits(target: Subvolume, others: int) -> UnderWayError:
    return UnderWayError(f"subvolume {target} waits for one of {others} that are copied now ({_MOST})")


async def _most(ceph: Cluster) -> int:
    """How many copies the mgr works on at a time; Ceph's default where it does not tell."""
    try:
        return int(str(await ceph.mon("config get", who="mgr", key=f"mgr/volumes/{_MOST}")))
    except ValueError:
        return _DEFAULT_MOST


def _progress(report: Any) -> str:
    """How much is copied, as newer releases tell it."""
    if not isinstance(report, dict):
        return ""
    return ", ".join(str(report[name]) for name in ("percentage cloned", "amount cloned") if report.get(name))


def _failure(failure: Any) -> str:
    return str(failure.get("error_msg") or failure.get("errstr") or "") if isinstance(failure, dict) else ""
