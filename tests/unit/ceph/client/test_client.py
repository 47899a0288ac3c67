"""CephClients: plans by table, commands, the Secret, and the status."""

from __future__ import annotations

import base64
import errno
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CephClient
from controller.ceph.access.identity import AES, AES256K, generate_key
from controller.ceph.access.rados import CephError, Connections
from controller.ceph.client import act
from controller.ceph.client.act import CLIENTS, EnsureUser, RemoveUser, RotateKey, WriteSecret
from controller.ceph.client.analyze import analyze, kept
from controller.ceph.client.kind import CLUSTERS, FINALIZER, register
from controller.ceph.client.objects import key_data, key_secret
from controller.ceph.client.observe import ClientObservation, observe
from controller.ceph.client.spec import problems, unserved
from controller.ceph.client.status import show
from controller.framework.children import Delete
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.owned_secrets import SecretState
from controller.framework.plan import APPLY, Outcome, StepResult, StepState, preview
from controller.framework.settings import Settings
from controller.runtime.kube import SECRET, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.answers import FakeCeph

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client, JsonObject

NOW = "2027-01-15T08:00:00Z"
CAPS = {"mon": "profile rbd", "osd": "profile rbd pool=volumes"}
KEY = generate_key(AES)
ANSWER = [{"entity": "client.glance", "key": KEY, "caps": CAPS}]
NOTED = {"cephx": {"keyGeneration": 1}}
OURS = [{"apiVersion": "ceph.rook.io/v1", "kind": "CephClient", "name": "glance", "uid": "u1", "controller": True}]


def a_client(
    spec: JsonObject | None = None,
    *,
    name: str = "glance",
    deleting: bool = False,
    status: JsonObject | None = None,
) -> CephClient:
    meta: JsonObject = {"name": name, "namespace": "rook-ceph", "uid": "u1", "generation": 2}
    if deleting:
        meta["deletionTimestamp"] = NOW
    obj = {"metadata": meta, "spec": {"caps": CAPS, **(spec or {})}, "status": NOTED if status is None else status}
    return msgspec.convert(obj, CephClient)


def rotating(generation: int, **more: Any) -> JsonObject:
    return {"security": {"cephx": {"keyRotationPolicy": "KeyGeneration", "keyGeneration": generation, **more}}}


def seen(**fields: Any) -> ClientObservation:
    """A user that is as it should be, but for these."""
    whole: dict[str, Any] = {
        "caps": CAPS,
        "key_type": AES,
        "secret": SecretState.CURRENT,
        "secret_uid": "s1",
        "version": "20.2.4-0",
    }
    return ClientObservation(**whole | fields)


def a_secret(key: str = KEY, *, owners: list[JsonObject] | None = None) -> Secret:
    data = {name: base64.b64encode(value.encode()).decode() for name, value in key_data("glance", key).items()}
    meta = {"name": "rook-ceph-client-glance", "namespace": "rook-ceph", "uid": "s1"}
    return msgspec.json.decode(
        msgspec.json.encode(
            {"metadata": {**meta, "ownerReferences": OURS if owners is None else owners}, "data": data}
        ),
        type=Secret,
    )


def actions(client: CephClient, found: ClientObservation) -> list[object]:
    return [step.action for step in analyze(client, found).steps if step.held_by is None]


def waits(client: CephClient, found: ClientObservation) -> list[str]:
    return [step.waits_for for step in analyze(client, found).steps]


ENSURE, WRITE = EnsureUser("client.glance", CAPS), WriteSecret("client.glance")
DROP = Delete(SECRET, "rook-ceph", "rook-ceph-client-glance", "s1")


class TestPlan:
    def test_is_made_with_its_secret(self) -> None:
        assert actions(a_client(), ClientObservation()) == [ENSURE, WRITE]
        of_type = {"security": {"cephx": {"keyType": "aes256k"}}}
        assert actions(a_client(of_type), ClientObservation())[0] == EnsureUser("client.glance", CAPS, "aes256k")

    def test_at_rest_nothing_is_done(self) -> None:
        assert actions(a_client(), seen()) == []
        assert actions(a_client({"removeSecret": True}), seen(secret=SecretState.ABSENT)) == []

    def test_other_capabilities(self) -> None:
        assert actions(a_client(), seen(caps={"mon": "allow r"})) == [ENSURE]

    @pytest.mark.parametrize("state", [SecretState.ABSENT, SecretState.OUTDATED])
    def test_a_secret_that_does_not_have_the_key(self, state: SecretState) -> None:
        assert actions(a_client(), seen(secret=state)) == [WRITE]

    def test_a_secret_that_is_not_wanted(self) -> None:
        assert actions(a_client({"removeSecret": True}), seen()) == [DROP]
        assert actions(a_client({"removeSecret": True}), seen(secret=SecretState.ANOTHERS)) == []

    def test_a_secret_of_somebody_else_stays_and_nothing_is_done_before_it_is_gone(self) -> None:
        client = a_client({"secretName": "rook-ceph-mon"})
        assert actions(client, seen(caps=None, secret=SecretState.ANOTHERS)) == []
        assert waits(client, seen(secret=SecretState.ANOTHERS)) == [
            "it to be deleted, or for a CephClient with another secretName"
        ]

    @pytest.mark.parametrize(
        ("spec", "noted", "rotates"),
        [
            (rotating(2), 1, True),
            (rotating(2), 2, False),
            (rotating(1), 1, False),
            (rotating(5), 0, False),  # what is noted of no key says nothing of its age
            ({"security": {"cephx": {"keyGeneration": 2}}}, 1, False),
        ],
    )
    def test_rotation(self, spec: JsonObject, noted: int, rotates: bool) -> None:
        client = a_client(spec, status={"cephx": {"keyGeneration": noted}})
        assert actions(client, seen()) == ([RotateKey("client.glance"), WRITE] if rotates else [])

    def test_without_a_secret_a_key_is_rotated_too(self) -> None:
        client = a_client({"removeSecret": True, **rotating(2, keyType="aes256k")})
        assert actions(client, seen(secret=SecretState.ABSENT)) == [RotateKey("client.glance", "aes256k")]

    def test_waits_for_its_cluster(self) -> None:
        found = ClientObservation(waits_for="CephCluster c to answer")
        assert waits(a_client(), found) == waits(a_client(deleting=True), found) == ["CephCluster c to answer"]

    def test_deletion(self) -> None:
        gone = a_client(deleting=True)
        assert actions(gone, seen()) == [DROP, RemoveUser("client.glance"), LetGo()]
        assert actions(gone, seen(secret=SecretState.ANOTHERS)) == [RemoveUser("client.glance"), LetGo()]
        assert actions(gone, ClientObservation()) == [LetGo()]
        assert actions(gone, ClientObservation(waits_for="a CephCluster", cluster_gone=True)) == [LetGo()]
        # A spec that went wrong later keeps no user.
        assert RemoveUser("client.glance") in actions(a_client({"caps": {}}, deleting=True), seen())

    @pytest.mark.parametrize(
        "name",
        [
            "admin",
            "rgw.store.a",
            "osd.3",
            "bootstrap-osd",
            "rbd-mirror",
            "crash",
            "csi-rbd-node",
            "csi-cephfs-node.2",
            "nfs-ganesha.a.b",
        ],
    )
    def test_users_of_ceph_and_of_the_operator_are_neither_made_nor_removed(self, name: str) -> None:
        assert actions(a_client(name=name), ClientObservation()) == actions(a_client(name=name), seen()) == []
        assert actions(a_client(name=name, deleting=True), seen()) == [LetGo()]

    @pytest.mark.parametrize("name", ["glance", "csi-rbd-node-tenant", "administrator", "crashes", "osd.x"])
    def test_other_names_are_free(self, name: str) -> None:
        assert problems(a_client(name=name)) == ()

    @pytest.mark.parametrize(
        ("caps", "expected"),
        [
            ({}, "caps is empty: expected what the user may do, by mds, mgr, mon, osd"),
            ({"rgw": "allow *"}, "caps has 'rgw': expected mds, mgr, mon, osd"),
            ({"mon": " "}, 'caps.mon is empty: expected a capability, such as "allow r", or that it is left out'),
        ],
    )
    def test_capabilities_that_mean_nothing(self, caps: JsonObject, expected: str) -> None:
        assert problems(a_client({"caps": caps})) == (expected,)
        assert actions(a_client({"caps": caps}), seen()) == []

    def test_a_key_of_another_type_is_told(self) -> None:
        client = a_client({"security": {"cephx": {"keyType": "aes256k"}}})
        (told,) = kept(client, seen())
        assert told.startswith("security.cephx.keyType: the key is of type aes, not aes256k: ")
        assert kept(client, seen(key_type=AES256K)) == kept(a_client(), seen()) == ()

    def test_a_name_that_is_not_the_objects_is_named(self) -> None:
        assert unserved({"name": "other", "caps": CAPS}, "glance") == ("name",)
        assert unserved({"name": "glance", "caps": CAPS}, "glance") == ()


class TestStatus:
    def shown(self, client: CephClient, found: ClientObservation, outcome: Outcome | None = None) -> Any:
        outcome = outcome if outcome is not None else preview(analyze(client, found))
        return show(Look(obj=client, spec={}, mode=APPLY, now=0.0), found, outcome)

    def done(self, client: CephClient, found: ClientObservation) -> Any:
        steps = analyze(client, found).steps
        outcome = Outcome(results=tuple(StepResult(step=step, state=StepState.DONE) for step in steps))
        return self.shown(client, found, outcome)

    def test_ready_with_where_the_key_is(self) -> None:
        status = self.shown(a_client(), seen())
        assert (status.phase, status.info) == ("Ready", {"secretName": "rook-ceph-client-glance"})
        assert self.shown(a_client({"secretName": "s"}), seen()).info == {"secretName": "s"}
        assert self.shown(a_client({"removeSecret": True}), seen()).info == {}

    def test_a_spec_that_cannot_be_carried_out(self) -> None:
        status = self.shown(a_client(name="admin"), seen())
        assert status.phase == "Failure"
        assert "metadata.name is admin" in {c.type: c for c in status.conditions}["Ready"].message

    def test_the_generation_of_a_key_is_noted_when_it_is_first_seen(self) -> None:
        new = a_client(rotating(3), status={})
        assert self.shown(new, ClientObservation()).cephx.key_generation == 0
        cephx = self.shown(new, seen()).cephx
        assert (cephx.key_generation, cephx.key_type, cephx.key_ceph_version) == (3, "aes", "20.2.4-0")
        assert self.shown(a_client(status={}), seen()).cephx.key_generation == 1

    def test_the_generation_of_a_key_is_noted_when_it_was_rotated(self) -> None:
        client = a_client(rotating(2))
        assert self.shown(client, seen()).cephx.key_generation == 1
        assert self.done(client, seen()).cephx.key_generation == 2


class TestCeph:
    async def test_observation(self) -> None:
        ceph = FakeCeph({"auth get": ANSWER})
        assert await observe(ceph, a_client(), None) == seen(secret=SecretState.ABSENT, secret_uid="", version="")
        assert await observe(ceph, a_client(), a_secret()) == seen(version="")
        other = await observe(ceph, a_client(), a_secret(generate_key()))
        assert other.secret is SecretState.OUTDATED
        for owners in ([], [{**OURS[0], "uid": "u0"}]):
            foreign = await observe(ceph, a_client(), a_secret(owners=owners))
            assert foreign.secret is SecretState.ANOTHERS

    async def test_a_user_that_there_is_not(self) -> None:
        ceph = FakeCeph({"auth get": CephError(errno.ENOENT, "failed to find client.glance in keyring")})
        assert await observe(ceph, a_client(), None) == ClientObservation()
        assert (await observe(ceph, a_client(), a_secret())).secret is SecretState.OUTDATED
        down = FakeCeph({"auth get": CephError(errno.ETIMEDOUT, "no answer")})
        with pytest.raises(CephError):
            await observe(down, a_client(), None)

    async def test_no_observation_and_no_action_shows_a_key(self) -> None:
        found = await observe(FakeCeph({"auth get": ANSWER}), a_client(), a_secret())
        assert KEY not in repr(found) + repr(analyze(a_client(rotating(2)), found))

    async def test_commands(self) -> None:
        ceph, caps = FakeCeph({"auth get-or-create": ANSWER}), ["mon", CAPS["mon"], "osd", CAPS["osd"]]
        ways = act.handlers(a_client(deleting=True), _api(deletionTimestamp=NOW), _applier(), ceph)
        for action in (ENSURE, RotateKey("client.glance", "aes256k"), RemoveUser("client.glance")):
            await ways[type(action)](action)
        user = {"entity": "client.glance"}
        assert ceph.asked == [
            ("auth get-or-create", {**user, "caps": caps}),
            ("auth rotate", {**user, "key_type": "aes256k"}),
            ("auth rm", user),
        ]

    async def test_capabilities_that_ceph_does_not_know_are_told_in_its_words(self) -> None:
        refused = CephError(errno.EINVAL, "mon capability parse failed, stopped at 'alow r'")
        missing = CephError(errno.ENOENT, "couldn't find entry client.glance")
        ceph = FakeCeph({"auth get-or-create": refused, "auth caps": missing})
        with pytest.raises(CephError, match="parse failed"):
            await act.handlers(a_client(), _api(), _applier(), ceph)[EnsureUser](ENSURE)

    async def test_a_release_that_does_not_rotate(self) -> None:
        ceph = FakeCeph({"auth rotate": CephError(errno.EINVAL, "command not known")})
        with pytest.raises(CephError, match="this release of Ceph does not rotate keys"):
            await act.handlers(a_client(), _api(), _applier(), ceph)[RotateKey](RotateKey("client.glance"))

    async def test_one_that_is_not_deleted_by_then_stays(self) -> None:
        ceph = FakeCeph()
        with pytest.raises(NoConsentError, match="is not being deleted"):
            await act.handlers(a_client(deleting=True), _api(), _applier(), ceph)[RemoveUser](
                RemoveUser("client.glance")
            )
        assert ceph.asked == []

    async def test_a_secret_that_is_anothers_by_then_is_not_written(self) -> None:
        applier, ceph = _applier(), FakeCeph({"auth get": ANSWER})
        found = {"metadata": {"name": "rook-ceph-mon", "resourceVersion": "7"}}
        client = cast("Client", SimpleNamespace(find=AsyncMock(return_value=found)))
        with pytest.raises(NoConsentError, match="Secret rook-ceph-mon is not of CephClient glance"):
            await act.handlers(a_client(), client, applier, ceph)[WriteSecret](WRITE)
        applier.apply.assert_not_awaited()

    async def test_the_secret_is_written_over_the_version_that_was_looked_at(self) -> None:
        applier, ceph = _applier(), FakeCeph({"auth get": ANSWER})
        found = {"metadata": {"name": "s", "resourceVersion": "7", "ownerReferences": OURS}}
        client = cast("Client", SimpleNamespace(find=AsyncMock(return_value=found)))
        await act.handlers(a_client(), client, applier, ceph)[WriteSecret](WRITE)
        applier.apply.assert_awaited_once_with(key_secret(a_client(), KEY), version="7")

    def test_the_secret_has_upstreams_keys(self) -> None:
        secret = key_secret(a_client({"secretName": "mine"}), KEY)
        assert (secret["metadata"]["name"], secret["type"]) == ("mine", "kubernetes.io/rook")
        assert secret["metadata"]["ownerReferences"][0]["uid"] == "u1"
        data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        assert data == {
            "glance": KEY,
            "userID": "glance",
            "userKey": KEY,
            "adminID": "glance",
            "adminKey": KEY,
        }


def _api(**found: Any) -> Client:
    return cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": {"uid": "u1", **found}})))


def _applier() -> Any:
    return SimpleNamespace(apply=AsyncMock())


class Mons(FakeCeph):
    """The mons as far as users go: those that there are, with a key that each rotation changes."""

    def __init__(self) -> None:
        super().__init__()
        self.users: dict[str, dict[str, Any]] = {}

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        name, caps = args["entity"], args.get("caps", [])
        given = dict(zip(caps[::2], caps[1::2], strict=True))
        if prefix == "auth get-or-create":
            user = self.users.setdefault(name, {"entity": name, "key": generate_key(), "caps": given})
            if user["caps"] != given:
                raise CephError(errno.EINVAL, "key exists but caps do not match")
        elif name not in self.users and prefix != "auth rm":
            raise CephError(errno.ENOENT, f"failed to find {name} in keyring")
        elif prefix == "auth caps":
            self.users[name]["caps"] = given
        elif prefix == "auth rotate":
            self.users[name]["key"] = generate_key()
        elif prefix == "auth rm":
            self.users.pop(name, None)
        return [self.users[name]] if name in self.users else None


class OneCluster(Connections):
    """A way to the one cluster."""

    def __init__(self, ceph: FakeCeph) -> None:
        super().__init__()
        self.ceph = ceph

    def get(self, namespace: str) -> RadosCluster | None:
        return cast("RadosCluster", self.ceph)


@virtual_time
async def test_a_user_from_its_making_to_its_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (CLIENTS, CLUSTERS):
        server.serve(resource)
    manager, mons = new_manager(server), Mons()
    register(manager, Settings(operator_namespace="rook-ceph"), OneCluster(mons))
    key, secret = ("rook-ceph", "glance"), ("rook-ceph", "rook-ceph-client-glance")

    def status() -> JsonObject:
        found: JsonObject = server.get(CLIENTS, *key).get("status", {})
        return found

    def kept_key() -> str:
        found = server.find(SECRET, *secret)
        return base64.b64decode(found["data"]["userKey"]).decode() if found is not None else ""

    def is_settled() -> bool:
        users = mons.users.get("client.glance", {})
        return status().get("phase") == "Ready" and kept_key() == users.get("key")

    async with running(manager):
        server.create(CLIENTS, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": {"caps": CAPS}})
        await until(lambda: status().get("phase") == "Progressing")
        assert server.get(CLIENTS, *key)["metadata"]["finalizers"] == [FINALIZER]

        cluster = {
            "metadata": {"namespace": key[0], "name": "c"},
            "spec": {},
            "status": {"ceph": {"health": "HEALTH_OK"}},
        }
        server.put(CLUSTERS, cluster)
        await until(is_settled)
        first = kept_key()

        server.patch(CLIENTS, *key, {"spec": {"caps": {"mon": "allow r"}}})
        await until(lambda: mons.users["client.glance"]["caps"] == {"mon": "allow r", "osd": CAPS["osd"]})
        assert kept_key() == first

        server.patch(CLIENTS, *key, {"spec": rotating(2)})
        await until(lambda: kept_key() not in ("", first) and is_settled())
        assert status()["cephx"]["keyGeneration"] == 2

        server.delete(SECRET, *secret)
        await until(is_settled)
        server.patch(CLIENTS, *key, {"spec": {"removeSecret": True}})
        await until(lambda: server.find(SECRET, *secret) is None)

        server.delete(CLIENTS, *key)
        await until(lambda: server.find(CLIENTS, *key) is None)
        assert mons.users == {}
