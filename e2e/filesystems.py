"""The example's file system in the cluster, small enough for a test machine."""

from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment

NAME = "myfs"
GROUP = "team-a"


def make(environment: Environment, *, group: bool = True, deadline: float = 120.0) -> None:
    """The file system with its group of subvolumes, or without that; wait until they are Ready."""
    manifests = {manifest["kind"]: manifest for manifest in load(env.EXAMPLES / "filesystem.yaml")}
    spec = manifests["CephFilesystem"]["spec"]
    spec["preserveFilesystemOnDelete"] = False
    spec["metadataServer"]["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}}
    for kind, manifest in manifests.items():
        if kind == "CephFilesystem" or group:
            environment.api.apply(manifest)
            env.wait_for_phase(environment, kind, manifest["metadata"]["name"], deadline=deadline)


def remove(environment: Environment) -> None:
    """Delete the file system with all that is in it, if there is one, and wait until it is gone."""
    if environment.api.find("CephFilesystem", NAME, env.NAMESPACE) is None:
        return
    environment.api.delete("CephFilesystemSubVolumeGroup", GROUP, env.NAMESPACE)
    force = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}
    environment.api.patch("CephFilesystem", NAME, env.NAMESPACE, force)
    environment.api.delete("CephFilesystem", NAME, env.NAMESPACE)
    env.gone(environment, "CephFilesystem", NAME, env.NAMESPACE, deadline=120)


def make_class(environment: Environment) -> str:
    """The example's class of its volumes; its name."""
    (storage_class,) = load(env.EXAMPLES / "filesystem-storageclass.yaml")
    environment.api.apply(storage_class)
    name: str = storage_class["metadata"]["name"]
    return name


def subvolumes(environment: Environment) -> list[str]:
    """The subvolumes that are volumes of claims."""
    return [found["name"] for found in env.ceph(environment, "fs", "subvolume", "ls", NAME, "csi")]


def clients_at(environment: Environment, root: str) -> list[str]:
    """The addresses of the clients that have a directory mounted, as the MDS daemon has them."""
    sessions = env.ceph(environment, "tell", f"mds.{NAME}:0", "session", "ls")
    mine = [s["entity"]["addr"] for s in sessions if s.get("client_metadata", {}).get("root") == root]
    return [f"{address['addr']}/{address['nonce']}" for address in mine]
