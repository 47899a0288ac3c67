"""Object stores: S3 by HTTPS while gateways come, go and die, and one of two stores that is deleted."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from e2e import environment as env
from e2e import objectstores, s3, s3_load
from e2e.api import Manifest, condition
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

NAME, OTHER = "e2e-store", "e2e-other"
CLIENT = "objectstore-client"
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
    ca = {"secretName": secret, "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    s3.start(environment, env.NAMESPACE, CLIENT, trusted={"secret": ca})
    yield NAME
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)
    objectstores.remove(environment, NAME)
    environment.api.delete("Secret", secret, env.NAMESPACE)


def owner(environment: Environment, name: str, endpoint: str) -> s3.User:
    """The operator's own user of a store."""
    login = s3.Login(endpoint, *objectstores.keys(environment, name))
    return s3.User(environment, env.NAMESPACE, CLIENT, login, attempts=8)


@pytest.fixture
def load(environment: Environment, store: str) -> Iterator[s3_load.Load]:
    """Clients that put and read objects by HTTPS; in the end, none of them may have failed."""
    load = s3_load.Load(owner(environment, store, ENDPOINT), BUCKET)
    load.start()
    yield load
    load.stop()


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


def period(environment: Environment) -> dict[str, Any]:
    """The id and epoch of the store's period."""
    found = objectstores.asked(environment, NAME, "period", "get")
    return {key: found[key] for key in ("id", "epoch")}


def users(environment: Environment) -> set[str]:
    """The cephx users of gateways."""
    entities = {found["entity"] for found in env.ceph(environment, "auth", "ls")["auth_dump"]}
    return {entity for entity in entities if entity.startswith("client.rgw.")}


def test_objects_by_https_with_a_certificate_that_is_checked(environment: Environment, store: str) -> None:
    user = owner(environment, store, ENDPOINT)

    assert user.ask("s3.create_bucket(Bucket='first')" + s3.STATUS) == 200
    assert user.ask("s3.put_object(Bucket='first', Key='a/b', Body=b'content')" + s3.STATUS) == 200
    assert user.ask("s3.get_object(Bucket='first', Key='a/b')['Body'].read().decode()") == "content"
    status = shown(environment)["status"]
    assert status["info"]["secureEndpoint"] == ENDPOINT
    assert condition(shown(environment), "S3Available")["status"] == "True"
    plain = owner(environment, store, f"http://{objectstores.host(NAME)}:80")
    assert "first" in plain.ask("[found['Name'] for found in s3.list_buckets()['Buckets']]")


def test_gateways_come_and_go_under_load_and_no_request_is_lost(environment: Environment, load: s3_load.Load) -> None:
    before = period(environment)
    scale(environment, 3)
    load.wait()
    assert {f"client.rgw.e2e.store.{letter}" for letter in "abc"} <= users(environment)
    scale(environment, 1)
    load.wait()

    assert load.failures() == ""
    assert "client.rgw.e2e.store.c" not in users(environment)
    assert period(environment) == before, "nothing of the zone was changed"


def test_a_gateway_is_killed_under_load_and_no_request_is_lost(environment: Environment, load: s3_load.Load) -> None:
    scale(environment, 2)
    victim = gateways(environment)[0]["metadata"]["name"]
    environment.api.delete("Pod", victim, env.NAMESPACE, grace_seconds=0)
    load.wait(more=100)
    wait_for_gateways(environment, 2)

    assert load.failures() == ""
    scale(environment, 1)


def test_another_certificate_is_taken_without_a_pause(
    environment: Environment, load: s3_load.Load, directory: Path
) -> None:
    before = {pod["metadata"]["uid"] for pod in gateways(environment)}
    objectstores.make_certificate(environment, directory, NAME)

    def look() -> None:
        now = {pod["metadata"]["uid"] for pod in gateways(environment)}
        if not now or now & before:
            raise NotYetError("gateways with the new certificate")

    eventually("a restart of the gateway", look, deadline=120)
    wait_for_gateways(environment, 1)
    load.wait()

    serial = f"""\
import ssl, socket
context = ssl.create_default_context(cafile="{s3.TRUSTED}")
context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the CA is an administrator's one-liner
with socket.create_connection(("{objectstores.host(NAME)}", 443)) as plain:
    with context.wrap_socket(plain, server_hostname="{objectstores.host(NAME)}") as secured:
        print(secured.getpeercert()["serialNumber"])
"""
    shown_serial = environment.execute(CLIENT, "python3", "-c", serial, namespace=env.NAMESPACE).strip()
    assert int(shown_serial, 16) == serial_of(directory / f"{NAME}.crt")
    assert load.failures() == ""


def serial_of(file: Path) -> int:
    """The serial number of a certificate."""
    return x509.load_pem_x509_certificate(file.read_bytes()).serial_number


def test_a_store_is_deleted_beside_another_which_serves_on(environment: Environment, load: s3_load.Load) -> None:
    before, pools = period(environment), set(env.ceph(environment, "osd", "pool", "ls"))
    try:
        objectstores.make(environment, OTHER, objectstores.spec_of())
        user = owner(environment, OTHER, f"http://{objectstores.host(OTHER)}:80")
        assert user.ask("s3.create_bucket(Bucket='photos')" + s3.STATUS) == 200
        environment.api.delete("CephObjectStore", OTHER, env.NAMESPACE)
        env.wait_until_blocked(environment, "CephObjectStore", OTHER, by="bucket photos")
        assert len(gateways(environment, OTHER)) == 1, "it serves as long as it is not let go"
        assert user.ask("s3.delete_bucket(Bucket='photos')" + s3.STATUS) == 204
        env.gone(environment, "CephObjectStore", OTHER, env.NAMESPACE, deadline=180)
    finally:
        objectstores.remove(environment, OTHER)
    load.wait()

    assert load.failures() == ""
    assert period(environment) == before
    assert set(env.ceph(environment, "osd", "pool", "ls")) == pools
    assert not [user for user in users(environment) if user.startswith("client.rgw.e2e.other")]
    realms = objectstores.asked(environment, NAME, "realm", "list")["realms"]
    assert (NAME in realms, OTHER in realms) == (True, False)
