"""The cluster's health as Ceph reports it, made into the status in a way that a cluster at rest changes nothing.

Values that move all the time (used bytes, seconds in messages, the time of the look) do not count as changes by
themselves: a status that changed each minute would cost a write each minute, for everybody who watches it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from controller.apis.ceph.status import Capacity, CephDaemonsVersions, CephHealthMessage, CephStatus
from controller.framework.text import brief, some

if TYPE_CHECKING:
    from collections.abc import Mapping

HEALTH_ERR = "HEALTH_ERR"

HARMLESS = frozenset(
    {
        "AUTH_INSECURE_SERVICE_KEY_TYPE",
        "AUTH_INSECURE_ROTATING_SERVICE_KEY_TYPE",
        "AUTH_INSECURE_SERVICE_TICKETS",
        "MDS_ALL_DOWN",
        "MGR_MODULE_ERROR",
    }
)
"""Errors that say nothing of data, OSDs or mons: restarts and changes of pools go on beside them, as upstream's do.

A cluster from before Ceph 19.2.6 or 20.2.4 has those of keys from the moment on in which its first mon runs the new
release.
"""

SMALLEST_CHANGE = 0.01
"""Part of the total capacity by which used or available bytes must differ from those shown to be shown anew."""

MAX_CHECKS, MAX_CODES = 50, 10
"""Health checks that a status shows, and codes of others that it names; each message is cut as `brief` does it."""
MORE = "MORE"
"""In place of a code, for what is said of checks that are not shown."""

_SECONDS = re.compile(r"\d+(\.\d+)?(?= ?s(ec(onds?)?)?\b)")


def obstacles(status: CephStatus) -> tuple[str, ...]:
    """The errors beside which no pool is made and no data moved, by what a CephCluster shows; empty: none."""
    if status.health != HEALTH_ERR:
        return ()
    errors = [code for code, check in status.details.items() if check.severity == HEALTH_ERR]
    return tuple(code for code in errors or [HEALTH_ERR] if code not in HARMLESS)


@dataclass(frozen=True, slots=True)
class Health:
    """What Ceph says of the cluster's health."""

    fsid: str
    status: str
    checks: Mapping[str, CephHealthMessage] = field(default_factory=dict)
    capacity: Capacity = field(default_factory=Capacity)
    versions: CephDaemonsVersions = field(default_factory=CephDaemonsVersions)
    muted: frozenset[str] = frozenset()
    pgs: Mapping[str, int] = field(default_factory=dict)
    """Placement groups by state."""

    @property
    def errors(self) -> tuple[str, ...]:
        """The codes of the checks that make the cluster HEALTH_ERR; those that an administrator muted do not."""
        return tuple(
            code for code, check in self.checks.items() if check.severity == HEALTH_ERR and code not in self.muted
        )

    @property
    def obstacles(self) -> tuple[str, ...]:
        """The errors beside which nothing is restarted and no pool is changed; empty: nothing stands in the way."""
        if self.status != HEALTH_ERR:
            return ()
        return tuple(code for code in self.errors or (HEALTH_ERR,) if code not in HARMLESS)

    @classmethod
    def parse(cls, status: Mapping[str, Any], versions: Mapping[str, Any]) -> Health:
        """From the answers to `status` and `versions`."""
        health, pgs = status["health"], status.get("pgmap", {})
        checks = {
            code: CephHealthMessage(severity=check["severity"], message=check["summary"]["message"])
            for code, check in sorted(health.get("checks", {}).items())
        }
        capacity = Capacity(
            bytes_total=pgs.get("bytes_total", 0),
            bytes_used=pgs.get("bytes_used", 0),
            bytes_available=pgs.get("bytes_avail", 0),
        )
        return cls(
            fsid=status.get("fsid", ""),
            status=health["status"],
            checks=checks,
            capacity=capacity,
            versions=msgspec.convert(versions, CephDaemonsVersions),
            pgs={state["state_name"]: state["count"] for state in pgs.get("pgs_by_state", ())},
            muted=frozenset(code for code, check in health.get("checks", {}).items() if check.get("muted")),
        )


def ceph_status(health: Health | None, previous: CephStatus, fsid: str, now: str) -> CephStatus:
    """The status that shows `health`, equal to `previous` where nothing changed that is worth a write.

    Args:
        health: What Ceph says; None when it did not answer: then the last known state stays.
        previous: What is shown.
        fsid: The cluster's identity.
        now: RFC 3339 time.
    """
    if health is None:
        return msgspec.structs.replace(previous, fsid=fsid or previous.fsid)
    changed = health.status != previous.health
    shown = msgspec.structs.replace(
        previous,
        fsid=fsid or health.fsid,
        health=health.status,
        previous_health=previous.health if changed and previous.health else previous.previous_health,
        last_changed=now if changed else previous.last_changed,
        details={code: _steady(check, previous.details.get(code)) for code, check in _shown(health.checks).items()},
        capacity=_capacity(health.capacity, previous.capacity, now),
        versions=health.versions,
    )
    return previous if shown == previous else msgspec.structs.replace(shown, last_checked=now)


def _shown(checks: Mapping[str, CephHealthMessage]) -> dict[str, CephHealthMessage]:
    """What a status shows of the checks: no more than `MAX_CHECKS`, errors first, and their messages cut."""
    order = sorted(checks, key=lambda code: (checks[code].severity != HEALTH_ERR, code))
    kept, left = sorted(order[:MAX_CHECKS]), order[MAX_CHECKS:]
    found = {code: msgspec.structs.replace(checks[code], message=brief(checks[code].message)) for code in kept}
    if left:
        found[MORE] = CephHealthMessage(
            severity=checks[left[0]].severity, message=f"{len(left)} more checks are not shown: {some(left, MAX_CODES)}"
        )
    return found


def _steady(check: CephHealthMessage, previous: CephHealthMessage | None) -> CephHealthMessage:
    if previous is None or check.severity != previous.severity:
        return check
    same = _SECONDS.sub("#", check.message) == _SECONDS.sub("#", previous.message)
    return previous if same else check


def _capacity(found: Capacity, previous: Capacity, now: str) -> Capacity:
    step = SMALLEST_CHANGE * found.bytes_total
    close = (
        found.bytes_total == previous.bytes_total
        and abs(found.bytes_used - previous.bytes_used) <= step
        and abs(found.bytes_available - previous.bytes_available) <= step
    )
    return previous if close else msgspec.structs.replace(found, last_updated=now)
