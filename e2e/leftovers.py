"""What is there of volumes, on nodes, in the API server and in Ceph: the same after a scenario as before it."""

from e2e import environment as env
from e2e import host
from e2e.api import ApiError
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

GONE_SECONDS = 120.0

_ON_NODE = r"""
grep -oE ' /var/lib/kubelet/[^ ]*kubernetes[.]io[~/]csi/[^ ]*' /proc/self/mountinfo
pgrep -a -x 'qemu-storage-da|ceph-fuse'
ls -d /var/lib/rook/agent/*/*.json /var/lib/rook/mounter/*/*.json 2>/dev/null
losetup --list --noheadings --output NAME,BACK-FILE | grep /run/rook/
true
"""
"""Mounts of the kubelet, processes of the mounters, records of agent and mounters, and loop devices on images."""


def found(environment: Environment) -> set[str]:
    """Everything there is."""
    api = environment.api
    things = {f"VolumeAttachment {a['metadata']['name']}" for a in api.list("VolumeAttachment")}
    for volume in api.list("PersistentVolume"):
        if volume["spec"].get("csi", {}).get("driver", "").endswith(".csi.ceph.com"):
            things.add(f"PersistentVolume {volume['metadata']['name']}")
    try:
        things |= {f"VolumeSnapshotContent {c['metadata']['name']}" for c in api.list("VolumeSnapshotContent")}
    except ApiError as error:  # no scenario has installed the kinds yet
        if error.status != 404:
            raise
    for node in environment.workers:
        clients = api.get("NodeReport", node, env.NAMESPACE).get("clients", [])
        things |= {f"{node} reports {client['volumeHandle']}" for client in clients}
        lines = host.run_on(node, "sh", "-c", _ON_NODE).splitlines()
        things |= {f"{node}: {line.strip()}" for line in lines}
    things |= {f"image {name}" for name in env.in_toolbox(environment, "rbd", "ls", env.POOL).split()}
    trash = env.in_toolbox(environment, "rbd", "trash", "ls", "--all", "--pool", env.POOL).splitlines()
    things |= {f"{line} in the trash" for line in trash}
    for filesystem in env.ceph(environment, "fs", "ls"):
        name = filesystem["name"]
        for volume in env.ceph(environment, "fs", "subvolume", "ls", name, "csi"):
            things.add(f"subvolume {name}/csi/{volume['name']}")
    return things


def gone(environment: Environment, before: set[str]) -> None:
    """Wait until nothing is there that was not before."""

    def look() -> None:
        if more := found(environment) - before:
            raise NotYetError(f"{len(more)} left: {', '.join(sorted(more)[:8])}")

    eventually("nothing to be left behind", look, deadline=GONE_SECONDS)
