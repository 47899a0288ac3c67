"""Two zones of a realm in one Ceph cluster: what is put into one is in the other, and each can be the master."""

import json
from collections.abc import Iterator

import pytest

from e2e import environment as env
from e2e import objectstores, s3
from e2e.api import Manifest, load
from e2e.environment import Environment
from e2e.eventually import NotYetError, eventually

PROMOTE = "rook.io/promote-over"
pytestmark = pytest.mark.long
SYNC_SECONDS = 90
"""A gateway looks for changes every 20 seconds, and several follow each other for one object."""
USER, CLIENT = "multisite", "multisite-client"
ZONES = {"zone-a": "multisite-store", "zone-b": "zone-b-multisite-store"}
"""The stores of the examples by their zones."""
POOL = {"failureDomain": "host", "replicated": {"size": 2}, "parameters": {"pg_num": "1", "pg_num_min": "1"}}


def manifests() -> Iterator[Manifest]:
    """What the examples have of both zones, small enough for a test machine, and in one cluster."""
    first, second = (load(env.EXAMPLES / f"object-multisite{name}.yaml") for name in ("", "-pull-realm"))
    for manifest in (*first, *(each for each in second if each["kind"] in ("CephObjectZone", "CephObjectStore"))):
        spec = manifest.get("spec") or {}
        if manifest["kind"] == "CephObjectZone":
            spec.pop("customEndpoints", None)
            spec |= {"metadataPool": POOL, "dataPool": POOL, "preservePoolsOnDelete": False}
        if manifest["kind"] == "CephObjectStore":
            spec["gateway"] |= objectstores.SMALL
        yield manifest


@pytest.fixture(scope="module")
def zones(environment: Environment) -> Iterator[dict[str, s3.User]]:
    """Both zones with their gateways, and a user of the realm at each of them, by the zone."""
    made = list(manifests())
    for manifest in made:
        environment.api.apply(manifest)
    for manifest in made:
        env.wait_for_phase(environment, manifest["kind"], manifest["metadata"]["name"], deadline=240)
    user = {
        "apiVersion": "ceph.rook.io/v1",
        "kind": "CephObjectStoreUser",
        "metadata": {"name": USER, "namespace": env.NAMESPACE},
        "spec": {"store": ZONES["zone-a"], "displayName": "of the scenarios"},
    }
    environment.api.apply(user)
    env.wait_for_phase(environment, "CephObjectStoreUser", USER)
    secret = f"rook-ceph-object-user-{ZONES['zone-a']}-{USER}"
    s3.start(environment, env.NAMESPACE, CLIENT)
    keys = s3.secret_values(environment, env.NAMESPACE, secret, "AccessKey", "SecretKey")
    logins = {zone: s3.Login(f"http://{objectstores.host(store)}:80", *keys) for zone, store in ZONES.items()}
    users = {zone: s3.User(environment, env.NAMESPACE, CLIENT, login, attempts=2) for zone, login in logins.items()}
    yield users
    for bucket in users["zone-a"].ask("[found['Name'] for found in s3.list_buckets()['Buckets']]"):
        empty(users["zone-a"], bucket)
    remove(environment, made)
    environment.api.delete("Pod", CLIENT, env.NAMESPACE)


def empty(user: s3.User, bucket: str) -> None:
    """Delete a bucket with its few objects."""
    for key in user.ask(f"[found['Key'] for found in s3.list_objects_v2(Bucket={bucket!r}).get('Contents', [])]"):
        assert user.ask(f"s3.delete_object(Bucket={bucket!r}, Key={key!r})" + s3.STATUS) == 204
    assert user.ask(f"s3.delete_bucket(Bucket={bucket!r})" + s3.STATUS) == 204


def remove(environment: Environment, made: list[Manifest]) -> None:
    """Delete all of it, with what is in it: what is used goes after what uses it, and zone-a after zone-b."""
    environment.api.delete("CephObjectStoreUser", USER, env.NAMESPACE)
    env.gone(environment, "CephObjectStoreUser", USER, env.NAMESPACE)
    order = ("CephObjectStore", "CephObjectZone", "CephObjectZoneGroup", "CephObjectRealm")
    names = [(m["kind"], m["metadata"]["name"]) for kind in order for m in reversed(made) if m["kind"] == kind]
    for kind, name in names:
        environment.api.patch(kind, name, env.NAMESPACE, objectstores.FORCE)
        environment.api.delete(kind, name, env.NAMESPACE)
        env.gone(environment, kind, name, env.NAMESPACE, deadline=150)
    left = [pool for pool in env.ceph(environment, "osd", "pool", "ls") if pool.startswith(tuple(ZONES))]
    assert left == []


def status(environment: Environment, zone: str) -> Manifest:
    found: Manifest = environment.api.get("CephObjectZone", zone, env.NAMESPACE).get("status", {})
    return found


def term(environment: Environment, zone: str = "zone-b") -> str:
    """The master's term, as a zone tells it."""
    found: str = status(environment, zone).get("master", {}).get("term", "")
    return found


def in_sync(environment: Environment, zone: str) -> None:
    """Wait until a zone says that it has all that the other has."""

    def look() -> None:
        found = status(environment, zone)
        condition: Manifest = next((c for c in found.get("conditions", []) if c["type"] == "InSync"), {})
        if condition.get("status") != "True":
            told = {name: found.get(name) for name in ("master", "metadataSync", "dataSync")}
            raise NotYetError(f"{condition.get('message', 'nobody says')} {json.dumps(told)}")

    eventually(f"{zone} to be in sync", look, deadline=SYNC_SECONDS * 2)


def promote(environment: Environment, zone: str) -> None:
    """Make a zone the master as a user does, and wait until both zones say that it is."""
    over = term(environment, zone)
    environment.api.patch("CephObjectZone", zone, env.NAMESPACE, {"metadata": {"annotations": {PROMOTE: over}}})

    def look() -> None:
        told = {each: term(environment, each) for each in ZONES}
        if len(set(told.values())) != 1 or not term(environment, zone).startswith(f"{zone}@"):
            progress = env.progress(environment.api.get("CephObjectZone", zone, env.NAMESPACE))
            raise NotYetError(f"{told}; {progress}")

    eventually(f"{zone} to be master in place of {over}", look, deadline=150)


def put(environment: Environment, zones: dict[str, s3.User], bucket: str, *, at: str) -> None:
    """Make a bucket and an object in one zone, and wait until the other has it."""
    other = next(zone for zone in zones if zone != at)
    make = f"s3.create_bucket(Bucket={bucket!r})" + s3.STATUS
    zones[at].eventually(f"bucket {bucket} in {at}", make, deadline=SYNC_SECONDS)
    assert zones[at].ask(f"s3.put_object(Bucket={bucket!r}, Key='greeting', Body='from {at}')" + s3.STATUS) == 200
    read = f"s3.get_object(Bucket={bucket!r}, Key='greeting')['Body'].read().decode()"
    found = zones[other].eventually(f"the object of {at} in {other}", read, deadline=SYNC_SECONDS * 2)
    assert found == f"from {at}"


def test_an_object_comes_to_the_other_zone_and_the_status_says_so(
    environment: Environment, zones: dict[str, s3.User]
) -> None:
    assert term(environment, "zone-a") == term(environment, "zone-b")
    assert term(environment).startswith("zone-a@")
    put(environment, zones, "first", at="zone-a")
    put_answer = "s3.put_object(Bucket='first', Key='answer', Body='from zone-b')" + s3.STATUS
    assert zones["zone-b"].ask(put_answer) == 200
    read = "s3.get_object(Bucket='first', Key='answer')['Body'].read().decode()"
    found = zones["zone-a"].eventually("the object of zone-b in zone-a", read, deadline=SYNC_SECONDS * 2)
    assert found == "from zone-b"
    for zone in ZONES:
        in_sync(environment, zone)


def test_a_zone_at_rest_commits_no_period(environment: Environment, zones: dict[str, s3.User]) -> None:
    def period() -> Manifest:
        names = ("--rgw-realm=realm-a", "--rgw-zonegroup=zonegroup-a", "--rgw-zone=zone-a")
        found: Manifest = json.loads(env.in_toolbox(environment, "radosgw-admin", "period", "get", *names))
        return {name: found[name] for name in ("id", "epoch")}

    before = period()
    # An edit that asks for nothing has the zone looked at.
    nothing = {"metadata": {"annotations": {"e2e": "look"}}}
    environment.api.patch("CephObjectZone", "zone-a", env.NAMESPACE, nothing)
    env.wait_for_phase(environment, "CephObjectZone", "zone-a")
    assert period() == before


def test_the_master_is_replaced_and_comes_back(environment: Environment, zones: dict[str, s3.User]) -> None:
    in_sync(environment, "zone-b")
    first = term(environment)
    promote(environment, "zone-b")
    put(environment, zones, "second", at="zone-b")

    in_sync(environment, "zone-a")
    promote(environment, "zone-a")
    # The consent of zone-b is of a term that is over.
    assert status(environment, "zone-b")["phase"] == "Ready"
    assert term(environment) != first
    assert term(environment).startswith("zone-a@")
    put(environment, zones, "third", at="zone-a")


def test_what_is_used_is_not_deleted(environment: Environment, zones: dict[str, s3.User]) -> None:
    blocked = (
        ("CephObjectRealm", "realm-a", "CephObjectZoneGroup zonegroup-a"),
        ("CephObjectZoneGroup", "zonegroup-a", "CephObjectZone zone-a"),
        ("CephObjectZone", "zone-a", "CephObjectStore multisite-store"),
    )
    for kind, name, user in blocked:
        environment.api.delete(kind, name, env.NAMESPACE)
        env.wait_until_blocked(environment, kind, name, by=user)
