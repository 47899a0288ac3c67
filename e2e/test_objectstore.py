"""Object stores: S3 by HTTPS while gateways come, go and die, and one of two stores that is deleted."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from e2e import environment as env
from e2e import objectstores
from e2e.api import Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

NAME, OTHER = "e2e-store", "e2e-other"
ENDPOINT = f"https://{objectstores.host(NAME)}:443"
BUCKET = "load"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scenarios' CA is."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def store(environment: Environment, directory: Path) -> Iterator[str]:
    """A store that speaks HTTP and HTTPS, and a pod that is its client."""
    secret = objectstores.make_certificate(environment, directory, NAME)
    objectstores.make(environment, NAME, objectstores.spec_of(securePort=443, sslCertificateRef=secret))
    objectstores.start_client(environment, secret)
    yield NAME
    objectstores.stop_client(environment)
    objectstores.remove(environment, NAME)
    environment.api.delete("Secret", secret, env.NAMESPACE)


@pytest.fixture
def load(environment: Environment, store: str) -> Iterator[str]:
    """Clients that put and read objects by HTTPS; in the end, none of them may have failed."""
    objectstores.start_load(environment, ENDPOINT, objectstores.keys(environment, store), BUCKET)
    yield BUCKET
    objectstores.stop_load(environment, BUCKET)


def shown(environment: Environment, name: str = NAME) -> Manifest:
    return environment.api.get("CephObjectStore", name, env.NAMESPACE)


def gateways(environment: Environment, name: str = NAME) -> list[Manifest]:
    """The pods of gateways that are ready."""
    labels = f"app=rook-ceph-rgw,rook_object_store={name}"
    return env.running(environment.api.list("Pod", env.NAMESPACE, labels=labels))


def wait_for_gateways(environment: Environment, count: int) -> None:
    """Wait until there are as many gateways, all ready, and no other pod of one."""

    def look() -> None:
        labels = f"app=rook-ceph-rgw,rook_object_store={NAME}"
        there = environment.api.list("Pod", env.NAMESPACE, labels=labels)
        if (len(there), len(gateways(environment))) != (count, count):
            raise NotYetError(f"{len(there)} gateways, {len(gateways(environment))} ready")

    eventually(f"{count} gateways", look, deadline=120)
    env.wait_for_phase(environment, "CephObjectStore", NAME)


def scale(environment: Environment, count: int) -> None:
    """As `kubectl scale` and autoscalers do it."""
    environment.run("kubectl", "--namespace", env.NAMESPACE, "scale", "cephobjectstore", NAME, f"--replicas={count}")
    wait_for_gateways(environment, count)


def radosgw_admin(environment: Environment, *command: str) -> Any:
    """What `radosgw-admin` answers; without the names of a zone it would make one."""
    flags = (f"--rgw-realm={NAME}", f"--rgw-zonegroup={NAME}", f"--rgw-zone={NAME}")
    return json.loads(env.in_toolbox(environment, "radosgw-admin", *command, *flags))


def period(environment: Environment) -> dict[str, Any]:
    """The id and epoch of the store's period."""
    found = radosgw_admin(environment, "period", "get")
    return {key: found[key] for key in ("id", "epoch")}


def users(environment: Environment) -> set[str]:
    """The cephx users of gateways."""
    entities = {found["entity"] for found in env.ceph(environment, "auth", "ls")["auth_dump"]}
    return {entity for entity in entities if entity.startswith("client.rgw.")}


def test_objects_by_https_with_a_certificate_that_is_checked(environment: Environment, store: str) -> None:
    pair = objectstores.keys(environment, store)
    program = 'client.create_bucket(Bucket="first"); client.put_object(Bucket="first", Key="a/b", Body=b"content")\n'
    program += 'print(client.get_object(Bucket="first", Key="a/b")["Body"].read().decode())'

    assert objectstores.client(environment, ENDPOINT, pair, program).strip() == "content"
    status = shown(environment)["status"]
    assert status["info"]["secureEndpoint"] == ENDPOINT
    assert condition(shown(environment), "S3Available")["status"] == "True"
    plain = f"http://{objectstores.host(NAME)}:80"
    listing = 'print(*[b["Name"] for b in client.list_buckets()["Buckets"]])'
    assert "first" in objectstores.client(environment, plain, pair, listing).split()


def test_gateways_come_and_go_under_load_and_no_request_is_lost(environment: Environment, load: str) -> None:
    before = period(environment)
    scale(environment, 3)
    objectstores.wait_for_load(environment, load)
    assert {f"client.rgw.e2e.store.{letter}" for letter in "abc"} <= users(environment)
    scale(environment, 1)
    objectstores.wait_for_load(environment, load)

    assert objectstores.failures(environment, load) == ""
    assert "client.rgw.e2e.store.c" not in users(environment)
    assert period(environment) == before, "nothing of the zone was changed"


def test_a_gateway_is_killed_under_load_and_no_request_is_lost(environment: Environment, load: str) -> None:
    scale(environment, 2)
    victim = gateways(environment)[0]["metadata"]["name"]
    environment.api.delete("Pod", victim, env.NAMESPACE, grace_seconds=0)
    objectstores.wait_for_load(environment, load, more=100)
    wait_for_gateways(environment, 2)

    assert objectstores.failures(environment, load) == ""
    scale(environment, 1)


def test_another_certificate_is_taken_without_a_pause(environment: Environment, load: str, directory: Path) -> None:
    before = {pod["metadata"]["uid"] for pod in gateways(environment)}
    objectstores.make_certificate(environment, directory, NAME)

    def look() -> None:
        now = {pod["metadata"]["uid"] for pod in gateways(environment)}
        if not now or now & before:
            raise NotYetError("gateways with the new certificate")

    eventually("a restart of the gateway", look, deadline=120)
    wait_for_gateways(environment, 1)
    objectstores.wait_for_load(environment, load)

    serial = f"""\
import ssl, socket
context = ssl.create_default_context(cafile="{objectstores.TRUSTED}")
context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the CA is an administrator's one-liner
with socket.create_connection(("{objectstores.host(NAME)}", 443)) as plain:
    with context.wrap_socket(plain, server_hostname="{objectstores.host(NAME)}") as secured:
        print(secured.getpeercert()["serialNumber"])
"""
    shown_serial = environment.execute(objectstores.CLIENT, "python3", "-c", serial, namespace=env.NAMESPACE).strip()
    assert int(shown_serial, 16) == serial_of(directory / f"{NAME}.crt")
    assert objectstores.failures(environment, load) == ""


def serial_of(file: Path) -> int:
    """The serial number of a certificate."""
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def test_a_store_is_deleted_beside_another_which_serves_on(environment: Environment, load: str) -> None:
    before, pools = period(environment), set(env.ceph(environment, "osd", "pool", "ls"))
    try:
        objectstores.make(environment, OTHER, objectstores.spec_of())
        endpoint, pair = f"http://{objectstores.host(OTHER)}:80", objectstores.keys(environment, OTHER)
        objectstores.client(environment, endpoint, pair, 'client.create_bucket(Bucket="photos")')
        environment.api.delete("CephObjectStore", OTHER, env.NAMESPACE)
        env.wait_until_blocked(environment, "CephObjectStore", OTHER, by="bucket photos")
        assert len(gateways(environment, OTHER)) == 1, "it serves as long as it is not let go"
        objectstores.client(environment, endpoint, pair, 'client.delete_bucket(Bucket="photos")')
        env.gone(environment, "CephObjectStore", OTHER, env.NAMESPACE, deadline=180)
    finally:
        objectstores.remove(environment, OTHER)
    objectstores.wait_for_load(environment, load)

    assert objectstores.failures(environment, load) == ""
    assert period(environment) == before
    assert set(env.ceph(environment, "osd", "pool", "ls")) == pools
    assert not [user for user in users(environment) if user.startswith("client.rgw.e2e.other")]
    realms = radosgw_admin(environment, "realm", "list")["realms"]
    assert (NAME in realms, OTHER in realms) == (True, False)
