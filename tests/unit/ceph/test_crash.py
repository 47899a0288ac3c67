"""What is told of a daemon that crashed, by what the kubelet has of it."""

from __future__ import annotations

import msgspec

from controller.ceph.crash import trouble
from controller.runtime.kube import Pod

CRASHED = """\
  -2/-2 (syslog threshold)
  99/99 (stderr threshold)
--- pthread ID / name mapping for recent threads ---
  7f43a529c140 / notif-worker0, radosgw, notif-worker0, radosgw
  max_recent     10000
  max_new         1000
  log_file /var/lib/ceph/crash/2026-11-30T19:28:55.644828Z_3d9a5120-77c8-405b-9254-2ecb0f8227cd/log
--- end dump of recent events ---
reraise_fatal: default handler for signal 6 didn't terminate the process?
"""
"""Of radosgw 18.2.7, where a node does not let it have so many threads."""


def a_pod(message: str) -> Pod:
    ended = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    statuses = [{"name": "rgw", "ready": False, "state": waiting, "lastState": ended}]
    return msgspec.convert(
        {"metadata": {"name": "rook-ceph-rgw-s-a-1"}, "status": {"containerStatuses": statuses}}, Pod
    )


def test_a_crash_is_told_with_where_its_cause_is() -> None:
    told = trouble((a_pod(CRASHED),))
    assert told == (
        "pod rook-ceph-rgw-s-a-1: container rgw ended with code 1: it crashed with signal 6, and says why "
        'above the first "Caught signal" in its log (kubectl logs --previous)'
    )


def test_what_a_daemon_says_last_is_told_as_it_is() -> None:
    told = trouble((a_pod("starting\nfailed to fetch mon config\n"),))
    assert told == "pod rook-ceph-rgw-s-a-1: container rgw ended with code 1: failed to fetch mon config"
