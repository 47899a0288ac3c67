"""NFS servers: clients write on while a server is killed, nobody gets their locks, and no server goes unasked."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import environment as env
from e2e import filesystems, pods
from e2e.api import Manifest, condition, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

pytestmark = pytest.mark.meanwhile

NAME = "my-nfs"
PROGRAM = Path(__file__).with_name("nfs4.py").read_text(encoding="utf-8")
"""A client of NFSv4.1: the nodes' kernel has none."""
PROGRESS = "/etc/ceph/nfs-"
ROWS = "/files/rows"
LABELS = f"app=rook-ceph-nfs,ceph_nfs={NAME}"


@pytest.fixture(scope="module")
def servers(environment: Environment) -> Iterator[str]:
    """The example's two servers with an export of a whole file system, in a pool of its own; nothing is left."""
    filesystems.make(environment, group=False)
    manifests = {manifest["kind"]: manifest for manifest in load(env.EXAMPLES / "nfs.yaml")}
    manifests["CephNFS"]["spec"]["server"]["resources"] = {"requests": {"cpu": "20m", "memory": "64Mi"}}
    for kind in ("CephBlockPool", "CephNFS"):
        environment.api.apply(manifests[kind])
    env.wait_for_phase(environment, "CephNFS", NAME, deadline=240)
    env.in_toolbox(
        environment, "ceph", "nfs", "export", "create", "cephfs", NAME, "/files", filesystems.NAME, "--path", "/"
    )
    yield NAME
    force = {"metadata": {"annotations": {"rook.io/force-deletion": "true"}}}
    for kind, name in (("CephNFS", NAME), ("CephBlockPool", manifests["CephBlockPool"]["metadata"]["name"])):
        if environment.api.find(kind, name, env.NAMESPACE) is not None:
            environment.api.patch(kind, name, env.NAMESPACE, force)
            environment.api.delete(kind, name, env.NAMESPACE)
            env.gone(environment, kind, name, env.NAMESPACE, deadline=120)
    filesystems.remove(environment)


def at(server: str) -> str:
    """Where a server answers."""
    return f"rook-ceph-nfs-{NAME}-{server}.{env.NAMESPACE}.svc:2049"


def client(environment: Environment, what: str, server: str, path: str) -> str:
    """What the client says of a file at a server."""
    return env.in_toolbox(environment, "python3", "-c", PROGRAM, what, at(server), path)


def start_writer(environment: Environment, server: str, path: str) -> None:
    """Have a client write rows into a file, which it locks, by a server."""
    start = 'rm -f "$4" "$4.stop"; nohup python3 -c "$0" "$@" > "$4.log" 2>&1 &'
    progress = f"{PROGRESS}{server}"
    env.in_toolbox(environment, "sh", "-c", start, PROGRAM, "write", at(server), path, progress)
    wait_for_rows(environment, server)


def written(environment: Environment, server: str) -> int:
    """The last row that the server has taken."""
    return int(env.in_toolbox(environment, "sh", "-c", f"cat {PROGRESS}{server} 2>/dev/null || echo 0"))


def wait_for_rows(environment: Environment, server: str, more: int = 20) -> None:
    """Wait until so many more rows are in the file."""
    wanted = written(environment, server) + more

    def look() -> None:
        if (number := written(environment, server)) < wanted:
            log = env.in_toolbox(environment, "sh", "-c", f"tail -n 3 {PROGRESS}{server}.log")
            raise NotYetError(f"{number} of {wanted} rows; {log.strip()}")

    eventually(f"rows by server {server}", look, deadline=120)


def stop_writer(environment: Environment, server: str) -> None:
    """Have the client close its file and say farewell to its server."""
    env.in_toolbox(environment, "touch", f"{PROGRESS}{server}.stop")


def grace(environment: Environment) -> Manifest:
    """The database of grace periods, as the status has it."""
    found: Manifest = environment.api.get("CephNFS", NAME, env.NAMESPACE)["status"].get("grace", {})
    return found


def pod_of(environment: Environment, server: str) -> Manifest:
    """A server's pod, once there is one that is ready."""

    def look() -> Manifest:
        found = env.running(environment.api.list("Pod", env.NAMESPACE, labels=f"{LABELS},instance={server}"))
        if not found:
            raise NotYetError("a pod that is ready")
        return found[0]

    return eventually(f"server {server}", look, deadline=120)


def wait_for_the_end_of_grace(environment: Environment) -> None:
    """Wait until no grace period is in effect."""

    def look() -> None:
        found = environment.api.get("CephNFS", NAME, env.NAMESPACE)
        if (
            found["status"].get("grace", {}).get("recovering")
            or condition(found, "GracePeriod").get("status") != "False"
        ):
            raise NotYetError(str(found["status"].get("grace")))

    eventually("the grace period to end", look, deadline=180)


def test_servers_start_at_the_first_try(environment: Environment, servers: str) -> None:
    """Each was in the database of grace periods before its pod started."""
    for server in "ab":
        pod = pod_of(environment, server)
        assert [status["restartCount"] for status in pod["status"]["containerStatuses"]] == [0]
    assert [member["id"] for member in grace(environment)["members"]] == [f"{servers}.a", f"{servers}.b"]
    start_writer(environment, "a", ROWS)
    assert client(environment, "lock", "b", ROWS).strip() == "denied"


def test_a_client_writes_on_and_keeps_its_lock_while_its_server_is_killed(
    environment: Environment, servers: str
) -> None:
    victim = pod_of(environment, "a")["metadata"]["name"]
    environment.api.delete("Pod", victim, env.NAMESPACE, grace_seconds=0)
    before = written(environment, "a")
    said: list[str] = []

    def look() -> None:
        try:
            said.append(client(environment, "lock", "b", ROWS).strip())
        except RuntimeError as error:  # who has the file open at a server that is down keeps others waiting
            said.append(str(error).strip().splitlines()[-1])
        if written(environment, "a") <= before + 1:
            raise NotYetError(f"row {before}; a lock at the other server: {said[-1]}")

    eventually("the client to go on", look, deadline=240)
    assert "granted" not in said
    assert pod_of(environment, "a")["metadata"]["name"] != victim
    wait_for_the_end_of_grace(environment)
    assert client(environment, "lock", "b", ROWS).strip() == "denied"
    wait_for_rows(environment, "a")
    last = written(environment, "a")
    rows = client(environment, "read", "b", ROWS).split()[:last]
    assert rows == [str(number) for number in itertools.islice(itertools.count(1), last)]


def test_a_claim_has_an_export_as_long_as_it_is_there(environment: Environment, servers: str, namespace: str) -> None:
    (storage_class,) = load(env.EXAMPLES / "nfs-storageclass.yaml")
    environment.api.apply(storage_class)
    name = storage_class["metadata"]["name"]
    pods.claim(environment, namespace, "shared", storage_class=name, size="64Mi", access="ReadWriteMany")
    pods.pod(environment, namespace, "user", "shared")
    volume = pods.volume_of(environment, namespace, "shared")
    share = volume["spec"]["csi"]["volumeAttributes"]["share"]
    assert share in env.ceph(environment, "nfs", "export", "ls", servers)
    start_writer(environment, "b", f"{share}/rows")
    if "nfs4" in Path("/proc/filesystems").read_text().split():
        pods.wait(environment, namespace, "user")
        assert pods.shell(environment, namespace, "user", f"head -n 1 {pods.PATH}/rows") == "1"
    else:

        def refused() -> None:
            events = environment.api.list("Event", namespace, fields="involvedObject.name=user,type=Warning")
            if not any("the kernel has no nfs4 file system" in event["message"] for event in events):
                raise NotYetError(events[-1]["message"] if events else "an event that says why it is not mounted")

        eventually("the node to say that it has no client", refused, deadline=120)
    stop_writer(environment, "b")
    pods.delete(environment, namespace, "user")
    environment.api.delete("PersistentVolumeClaim", "shared", namespace)
    env.gone(environment, "PersistentVolume", volume["metadata"]["name"], deadline=120)
    assert env.ceph(environment, "nfs", "export", "ls", servers) == ["/files"]
    assert filesystems.subvolumes(environment) == []
    environment.api.delete("StorageClass", name)


def test_a_server_with_clients_stays_and_goes_without_them(environment: Environment, servers: str) -> None:
    start_writer(environment, "b", "/files/others")
    fewer: Manifest = {"spec": {"server": {"active": 1}}}
    environment.api.patch("CephNFS", NAME, env.NAMESPACE, fewer)

    def held() -> None:
        found = environment.api.get("CephNFS", NAME, env.NAMESPACE)
        if "rook.io/disconnect-nfs-clients" not in condition(found, "Ready").get("message", ""):
            raise NotYetError(env.progress(found))

    eventually("server b to be kept by its client", held, deadline=60)
    wait_for_rows(environment, "b")
    stop_writer(environment, "b")
    env.wait_for_phase(environment, "CephNFS", NAME, deadline=180)
    assert [d["metadata"]["name"] for d in environment.api.list("Deployment", env.NAMESPACE, labels=LABELS)] == [
        f"rook-ceph-nfs-{NAME}-a"
    ]
    assert environment.api.find("Service", f"rook-ceph-nfs-{NAME}-b", env.NAMESPACE) is None
    wait_for_the_end_of_grace(environment)
    assert [member["id"] for member in grace(environment)["members"]] == [f"{servers}.a"]
    wait_for_rows(environment, "a")


def test_servers_go_when_their_clients_have_left(environment: Environment, servers: str) -> None:
    environment.api.delete("CephNFS", NAME, env.NAMESPACE)
    env.wait_until_blocked(environment, "CephNFS", NAME, by="clients have state at it")
    wait_for_rows(environment, "a")
    stop_writer(environment, "a")
    env.gone(environment, "CephNFS", NAME, env.NAMESPACE, deadline=120)
    assert environment.api.list("Deployment", env.NAMESPACE, labels=LABELS) == []
    users = [entry["entity"] for entry in env.ceph(environment, "auth", "ls")["auth_dump"]]
    assert not [user for user in users if user.startswith(f"client.nfs-ganesha.{servers}")]
    assert env.ceph(environment, "nfs", "export", "ls", NAME) == ["/files"]  # what was exported is kept
