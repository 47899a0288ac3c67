"""The Job that removes a cluster's data from a node once its CephCluster is deleted with consent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.pods import Daemon, image_fields, pod_template
from controller.framework.names import label_value, object_name
from controller.framework.placement import HOSTNAME_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from controller.apis.ceph import CephCluster
    from controller.apis.rook.node_report import BlockDevice
    from controller.ceph.pods import Context
    from informers import JsonObject

TYPE = "cleanup"
APP = "rook-ceph-cleanup"

QUICK = 3600.0
"""Seconds that a cleanup Job may take for what is quick: mon stores, and the places where devices have their labels."""

SLOWEST = 20e6
"""Bytes a second at which a whole device is overwritten at least."""

UNSEEN = 7 * 24 * 3600.0
"""Seconds that whole devices may take of which nobody knows the size."""

MAX_RETRIES = 3
"""Times that Kubernetes tries a Job again by itself."""

REMOVE_DATA = """\
set -eu
for store in /data/mon-*; do
    if [ "$(cat "$store/data/rook-fsid" 2>/dev/null)" = "$FSID" ]; then rm -rf "$store"; fi
done
ours() { ceph-bluestore-tool show-label --dev "$1" 2>/dev/null | grep -q "\\"ceph_fsid\\": \\"$FSID\\""; }
sanitize() {
    if [ "$METHOD" = complete ]; then
        pass=0
        while [ "$pass" -lt "$ITERATIONS" ]; do
            pass=$((pass + 1))
            if [ "$SOURCE" = random ]; then shred -n 1 "$1" || return 1; else shred -n 0 -z "$1" || return 1; fi
        done
    else
        # The places where BlueStore keeps its label, as far as the device reaches.
        for gib in 0 1 10 100 1000; do
            dd "if=/dev/$( [ "$SOURCE" = random ] && echo urandom || echo zero )" "of=$1" bs=1M count=10 \\
                "seek=$((gib * 1024))" conv=fsync,nocreat,notrunc 2>/dev/null || [ "$gib" != 0 ] || return 1
        done
    fi
    wipefs --all "$1" >/dev/null || return 1
    if ours "$1"; then echo "$1 still has the label of an OSD of this cluster" >&2; return 1; fi
}
failed=
for entry in /sys/class/block/*; do
    device=/dev/$(basename "$entry" | tr '!' /)
    # A path of a multipath device has its label, too: what was made of it is overwritten, once.
    if [ -n "$(ls "$entry/holders" 2>/dev/null)" ] || [ ! -b "$device" ] || ! ours "$device"; then continue; fi
    echo "removing the content of $device"
    sanitize "$device" || failed="$failed $device"
done
if [ -n "$failed" ]; then echo "content that cannot be removed is on$failed" >&2; exit 1; fi
"""
"""Removes mon stores and OSDs by the fsid written in them, so that nothing of another cluster is touched.

A device that fails leaves the others to be done.
"""


def job_name(node: str) -> str:
    """The name of a node's cleanup Job."""
    return object_name(f"cluster-cleanup-job-{node}")


def deadline(cluster: CephCluster, devices: Iterable[BlockDevice] | None) -> float:
    """Seconds that the cleanup of a node may take: what hangs is told, and what just takes long is not cut off.

    Args:
        cluster: The cluster.
        devices: The node's; None: not known.
    """
    policy = cluster.spec.cleanup_policy.sanitize_disks
    if policy.method != "complete":
        return QUICK
    times = policy.iteration or 1
    if devices is None:
        return QUICK + times * UNSEEN
    return QUICK + times * sum(device.size for device in devices if not device.parent) / SLOWEST


def cleanup_job(cluster: CephCluster, context: Context, node: str, hostname: str, seconds: float) -> JsonObject:
    """The Job that removes this cluster's mon stores and the content of its OSDs' devices from a node.

    `seconds`: how long that may take.
    """
    policy, own = cluster.spec.cleanup_policy.sanitize_disks, Daemon(type=TYPE, id=label_value(hostname))
    volumes = {"dev": "/dev", "data": context.data_dir or "/var/lib/rook"}
    container: JsonObject = {
        "name": "cleanup",
        **image_fields(context),
        "command": ["sh", "-c", REMOVE_DATA],
        "env": [
            {"name": "FSID", "value": context.fsid},
            {"name": "METHOD", "value": policy.method or "quick"},
            {"name": "SOURCE", "value": policy.data_source or "zero"},
            {"name": "ITERATIONS", "value": str(policy.iteration or 1)},
        ],
        "volumeMounts": [{"name": "dev", "mountPath": "/dev"}, {"name": "data", "mountPath": "/data"}],
        "securityContext": {"runAsUser": 0, "privileged": True},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **context.pods.container_resources("cleanup"),
    }
    pod: JsonObject = {
        # Pods that have failed stay, and what they say with them.
        "restartPolicy": "Never",
        # The data is on this node and nowhere else, whatever keeps other pods off it.
        "tolerations": [{"operator": "Exists"}],
        "nodeSelector": {HOSTNAME_LABEL: hostname},
        "containers": [container],
        "volumes": [{"name": name, "hostPath": {"path": path}} for name, path in volumes.items()],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": context.owner.metadata(job_name(node), own.labels(context.owner)),
        "spec": {
            "backoffLimit": MAX_RETRIES,
            "activeDeadlineSeconds": int(seconds),
            "template": pod_template(context, own, pod),
        },
    }
