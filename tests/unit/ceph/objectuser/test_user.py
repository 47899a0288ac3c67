"""CephObjectStoreUsers: plans by table, requests, keys and their rotation, the Secret, and the status."""

from __future__ import annotations

import base64
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CephObjectStoreUser
from controller.apis.ceph.secrets import SecretVersion
from controller.ceph.objectuser import act
from controller.ceph.objectuser.act import (
    USERS,
    CreateUser,
    MakeKey,
    ModifyUser,
    RemoveKeys,
    RemoveUser,
    SetCaps,
    SetKeys,
    SetQuota,
    WriteSecret,
)
from controller.ceph.objectuser.analyze import AT_REST, SOON, analyze, kept
from controller.ceph.objectuser.kind import ACCOUNTS, FINALIZER, STORES, of_store, register
from controller.ceph.objectuser.objects import key_secret
from controller.ceph.objectuser.observe import UserObservation, observe
from controller.ceph.objectuser.spec import GRACE, MAX_BUCKETS, ROTATE, digest, made_access_key, problems, wanted
from controller.ceph.objectuser.status import show
from controller.ceph.rgw.admin import AdminError
from controller.ceph.rgw.credentials import Place, key_data
from controller.ceph.rgw.users import Key, Quota, User, caps_text, find, operations_text, write_keys
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.owned_secrets import SecretState
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime.kube import SECRET, Secret
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import OneStore, a_store

if TYPE_CHECKING:
    from informers import Client, JsonObject

NOW = "2027-01-15T08:00:00Z"
AT = 1800000000.0
UID = "3f9b1c2e-aaaa-bbbb-cccc-0123456789ab"
KEY, OTHER = Key("AK1", "s1"), Key("AK2", "s2")
PLACE = Place("http://rook-ceph-rgw-my-store.rook-ceph.svc:80")
REFS = [{"accessKeyRef": {"name": "mine", "key": "a"}, "secretKeyRef": {"name": "mine", "key": "s"}}]
OURS = [{"apiVersion": "ceph.rook.io/v1", "kind": "CephObjectStoreUser", "name": "app", "uid": UID, "controller": True}]


def a_user(
    spec: JsonObject | None = None,
    *,
    name: str = "app",
    namespace: str = "rook-ceph",
    deleting: bool = False,
    annotations: dict[str, str] | None = None,
    status: JsonObject | None = None,
) -> CephObjectStoreUser:
    meta: JsonObject = {"name": name, "namespace": namespace, "uid": UID, "generation": 2}
    meta |= {"annotations": annotations or {}}
    if deleting:
        meta["deletionTimestamp"] = NOW
    return msgspec.convert(
        {"metadata": meta, "spec": {"store": "my-store", **(spec or {})}, "status": status or {}}, CephObjectStoreUser
    )


def live(**fields: Any) -> User:
    """A user that is as its spec has it, but for these."""
    whole: dict[str, Any] = {"uid": "app", "display_name": "app", "max_buckets": MAX_BUCKETS, "keys": (KEY,)}
    return User(**whole | fields)


def seen(user: User | None = None, **fields: Any) -> UserObservation:
    """A user that is as it should be, but for these."""
    whole: dict[str, Any] = {
        "now": AT,
        "user": user or live(),
        "kept": KEY,
        "place": PLACE,
        "secret": SecretState.CURRENT,
    }
    return UserObservation(**whole | fields)


def actions(user: CephObjectStoreUser, found: UserObservation) -> list[object]:
    return [step.action for step in analyze(user, found).steps if step.held_by is None]


def waits(user: CephObjectStoreUser, found: UserObservation) -> list[str]:
    return [step.waits_for for step in analyze(user, found).steps]


def shown(user: CephObjectStoreUser, found: UserObservation) -> Any:
    look = Look(obj=user, spec={}, mode=APPLY, now=AT)
    return show(look, found, preview(analyze(user, found)))


ABSENT = seen(kept=None, secret=SecretState.ABSENT)


class TestSpec:
    def test_what_is_not_said_is_upstreams_default(self) -> None:
        assert wanted(a_user(), "") == live(keys=())

    def test_every_field(self) -> None:
        spec = {
            "displayName": "An app",
            "capabilities": {"user": "read", "users": "write", "bucket": "*", "userInfoWithoutKeys": "read, write"},
            "quotas": {"maxBuckets": 0, "maxSize": "1Ki", "maxObjects": 5},
            "opMask": ["read"],
        }
        both = frozenset({"read", "write"})
        assert wanted(a_user(spec), "RGW1") == User(
            uid="app",
            display_name="An app",
            max_buckets=0,
            operations=frozenset({"read"}),
            caps={"users": both, "buckets": both, "user-info-without-keys": both},
            quota=Quota(1024, 5),
            account="RGW1",
        )

    @pytest.mark.parametrize(
        ("spec", "field", "value"),
        [
            ({"quotas": {"maxBuckets": -7}}, "max_buckets", -1),
            ({"quotas": {"maxBuckets": None}}, "max_buckets", 1000),
            ({"quotas": {"maxSize": "0"}}, "quota", Quota(0, -1)),
            ({"quotas": {"maxObjects": 0}}, "quota", Quota(-1, 0)),
            ({"opMask": []}, "operations", frozenset()),
            ({"capabilities": None, "quotas": None}, "caps", {}),
        ],
    )
    def test_zeros_and_nulls(self, spec: JsonObject, field: str, value: object) -> None:
        assert getattr(wanted(a_user(spec), ""), field) == value

    @pytest.mark.parametrize(
        ("user", "told"),
        [
            (a_user(name="rgw-admin-ops-user"), "metadata.name is rgw-admin-ops-user"),
            (a_user(name="obc-ns-claim"), "metadata.name is obc-ns-claim"),
            (a_user({"store": ""}), "store is empty"),
            (a_user({"quotas": {"maxSize": "ten"}}), "quotas.maxSize is 'ten': expected a quantity"),
            (a_user({"quotas": {"maxSize": "-1"}}), "quotas.maxSize is '-1': expected a quantity"),
            (a_user({"keys": [{"accessKeyRef": {"name": "a", "key": "k"}}]}), "keys[0].secretKeyRef is not set"),
        ],
    )
    def test_what_means_nothing(self, user: CephObjectStoreUser, told: str) -> None:
        (found,) = problems(user)
        assert told in found
        assert actions(user, ABSENT) == []
        assert told in shown(user, ABSENT).conditions[1].message

    def test_texts_for_the_gateways(self) -> None:
        caps = {"users": frozenset({"read", "write"}), "usage": frozenset({"read"}), "zone": frozenset[str]()}
        assert caps_text(caps) == "usage=read;users=*"
        assert [operations_text(given) for given in ((), ("delete", "read"))] == ["<none>", "read, delete"]


class TestPlan:
    def test_is_made_with_its_quota_and_its_secret(self) -> None:
        nobody = UserObservation(place=PLACE, now=AT)
        assert actions(a_user(), nobody) == [CreateUser("app"), WriteSecret("app")]
        limited = a_user({"quotas": {"maxObjects": 5}})
        assert actions(limited, nobody) == [CreateUser("app"), SetQuota("app"), WriteSecret("app")]

    def test_at_rest_nothing_is_done(self) -> None:
        assert analyze(a_user(), seen()).steps == ()
        assert analyze(a_user(), seen()).look_again == AT_REST

    @pytest.mark.parametrize(
        ("spec", "found", "action"),
        [
            ({}, live(display_name="x"), ModifyUser("app")),
            ({}, live(max_buckets=5), ModifyUser("app")),
            ({"opMask": []}, live(), ModifyUser("app")),
            ({"capabilities": {"usage": "read"}}, live(), SetCaps("app")),
            ({}, live(caps={"usage": frozenset({"read"})}), SetCaps("app")),
            ({"quotas": {"maxSize": "1Gi"}}, live(), SetQuota("app")),
            ({}, live(quota=Quota(5, 5)), SetQuota("app")),
        ],
    )
    def test_what_differs_is_put_right(self, spec: JsonObject, found: User, action: object) -> None:
        assert actions(a_user(spec), seen(found)) == [action]

    def test_keys_of_the_spec(self) -> None:
        user = a_user({"keys": REFS})
        assert actions(user, seen(keys=(OTHER,), secret=SecretState.OUTDATED)) == [SetKeys("app"), WriteSecret("app")]
        assert actions(user, seen(live(keys=(OTHER,)), keys=(OTHER,), kept=OTHER)) == []
        assert waits(user, seen(keys=(OTHER,), lacking=("keys[0].accessKeyRef: there is no Secret mine",))) == [
            "keys[0].accessKeyRef: there is no Secret mine"
        ]

    def test_without_keys_in_the_spec_none_that_there_are_is_removed(self) -> None:
        assert actions(a_user(), seen(live(keys=(OTHER, KEY)))) == []

    def test_a_user_without_a_key_gets_one(self) -> None:
        made = made_access_key(a_user().metadata, "")
        keyless = seen(live(keys=()), kept=None, secret=SecretState.ABSENT)
        assert actions(a_user(), keyless) == [MakeKey("app", made), WriteSecret("app")]
        assert actions(a_user(), seen(live(keys=()), secret=SecretState.OUTDATED)) == [
            SetKeys("app"),
            WriteSecret("app"),
        ]

    @pytest.mark.parametrize("state", [SecretState.ABSENT, SecretState.OUTDATED])
    def test_a_secret_that_does_not_have_the_key(self, state: SecretState) -> None:
        assert actions(a_user(), seen(secret=state)) == [WriteSecret("app")]

    def test_a_secret_of_somebody_else_stays_and_nothing_is_done_before_it_is_gone(self) -> None:
        assert actions(a_user({"displayName": "x"}), seen(secret=SecretState.ANOTHERS)) == []
        assert waits(a_user(), seen(secret=SecretState.ANOTHERS)) == ["it to be deleted"]

    @pytest.mark.parametrize(
        "found", [UserObservation(waits_for="the store"), seen(account_wait="the store"), seen(waits_for="the store")]
    )
    def test_waits(self, found: UserObservation) -> None:
        assert waits(a_user(), found) == ["the store"]

    def test_an_account_is_for_life(self) -> None:
        (told,) = kept(seen(live(), account="RGW1"))
        assert told.startswith("accountRef: the user was made in no account, and stays there")
        assert kept(seen(live(account="RGW1"), account="RGW1")) == ()


class TestRotation:
    def test_the_key_before_is_noted_then_another_made_and_the_secret_written(self) -> None:
        user = a_user(annotations={ROTATE: "1"}, status={"info": {"secretName": "s"}})
        made = made_access_key(user.metadata, "1")
        assert (actions(user, seen()), analyze(user, seen()).look_again) == ([], SOON)
        noted = shown(user, seen()).key_rotation
        assert (noted.requested, noted.replaced) == ("", (digest("AK1"),))

        user = a_user(annotations={ROTATE: "1"}, status={"keyRotation": {"replaced": [digest("AK1")]}})
        assert actions(user, seen()) == [MakeKey("app", made), WriteSecret("app")]
        new = Key(made, "s")
        both = live(keys=(KEY, new))
        assert actions(user, seen(both, secret=SecretState.OUTDATED)) == [WriteSecret("app")]
        noted = shown(user, seen(both, kept=new)).key_rotation
        assert (noted.requested, noted.rotated_at, noted.replaced) == ("1", "2027-01-15T08:00:00Z", (digest("AK1"),))

    @pytest.mark.parametrize(("since", "removed"), [("2027-01-14T08:00:01Z", False), ("2027-01-14T08:00:00Z", True)])
    def test_the_key_before_goes_when_programs_had_time(self, since: str, removed: bool) -> None:
        status = {"keyRotation": {"requested": "1", "rotatedAt": since, "replaced": [digest("AK1")]}}
        user = a_user(annotations={ROTATE: "1"}, status=status)
        new = Key(made_access_key(user.metadata, "1"), "s")
        found = seen(live(keys=(KEY, new, OTHER)), kept=new)
        # A key that is neither's stays.
        assert actions(user, found) == ([RemoveKeys("app", ("AK1",))] if removed else [])
        assert shown(user, seen(live(keys=(new, OTHER)), kept=new)).key_rotation.replaced == ()

    def test_how_long_is_the_users_to_say(self) -> None:
        status = {"keyRotation": {"requested": "1", "rotatedAt": NOW, "replaced": [digest("AK1")]}}
        user = a_user(annotations={ROTATE: "1", GRACE: "0s"}, status=status)
        new = Key(made_access_key(user.metadata, "1"), "s")
        assert actions(user, seen(live(keys=(KEY, new)), kept=new)) == [RemoveKeys("app", ("AK1",))]
        wrong = a_user(annotations={GRACE: "soon"})
        honoured = {c.type: c for c in shown(wrong, seen()).conditions}["FieldsHonoured"]
        assert "'soon' is not a duration" in honoured.message

    def test_a_user_that_is_made_now_is_not_rotated(self) -> None:
        user = a_user(annotations={ROTATE: "1"})
        assert shown(user, UserObservation(place=PLACE)).key_rotation.requested == "1"

    def test_keys_of_the_spec_are_rotated_by_the_spec(self) -> None:
        user = a_user({"keys": REFS}, annotations={ROTATE: "1"})
        assert actions(user, seen(keys=(KEY,))) == []
        honoured = {c.type: c for c in shown(user, seen(keys=(KEY,))).conditions}["FieldsHonoured"]
        assert honoured.status == "False"


class TestDeletion:
    def test_the_user_goes(self) -> None:
        assert actions(a_user(deleting=True), seen()) == [RemoveUser("app"), LetGo()]
        # A spec that went wrong later, or whose Secrets are gone, keeps no user.
        lacking = seen(lacking=("keys[0].accessKeyRef: there is no Secret mine",))
        assert RemoveUser("app") in actions(a_user({"keys": REFS}, deleting=True), lacking)

    @pytest.mark.parametrize(
        "found",
        [
            UserObservation(gone=True, waits_for="CephObjectStore my-store"),
            seen(refusal="CephObjectStoreUser other/app has it"),
            UserObservation(place=PLACE),
        ],
    )
    def test_nothing_to_remove(self, found: UserObservation) -> None:
        assert actions(a_user(deleting=True), found) == [LetGo()]

    def test_buckets_are_named(self) -> None:
        user, found = a_user(deleting=True), seen(buckets=("a", "b"))
        assert actions(user, found) == []
        (told,) = (step.reason for step in analyze(user, found).steps)
        assert told == "the CephObjectStoreUser is being deleted, and it owns bucket a, bucket b"
        blocked = {c.type: c for c in shown(user, found).conditions}["DeletionIsBlocked"]
        assert (blocked.status, blocked.message) == ("True", "it owns bucket a, bucket b")

    def test_what_uses_it_is_named(self) -> None:
        user, found = a_user(deleting=True), seen(dependents=("Bucket cosi-1",))
        assert actions(user, found) == []
        blocked = {c.type: c for c in shown(user, found).conditions}["DeletionIsBlocked"]
        assert (blocked.status, blocked.message) == ("True", "it is used by Bucket cosi-1")
        # Without the store, nothing is left that could be used.
        assert actions(user, seen(dependents=("Bucket cosi-1",), gone=True)) == [LetGo()]

    def test_waits_for_a_store_that_there_is(self) -> None:
        assert waits(a_user(deleting=True), seen(waits_for="CephObjectStore my-store to answer")) == [
            "CephObjectStore my-store to answer"
        ]


def a_secret(data: dict[str, str], *, name: str = "rook-ceph-object-user-my-store-app", owned: bool = True) -> Secret:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    meta = {"name": name, "namespace": "rook-ceph", "uid": "s1", "ownerReferences": OURS if owned else []}
    return msgspec.json.decode(msgspec.json.encode({"metadata": meta, "data": encoded}), type=Secret)


KNOWN = UserObservation(place=PLACE, now=AT)


class TestGateways:
    async def test_a_user_is_made_with_a_key_of_ceph(self) -> None:
        gateways = Gateways()
        spec = {"capabilities": {"usage": "read"}, "opMask": ["read"], "quotas": {"maxBuckets": 2}}
        await self.acts(gateways, a_user(spec))[CreateUser](CreateUser("app"))
        found = await find(gateways, "app")
        assert found == live(
            max_buckets=2,
            operations=frozenset({"read"}),
            caps={"usage": frozenset({"read"})},
            keys=(Key("MADE1", "by-ceph-1"),),
        )

    async def test_a_lost_user_is_made_again_with_the_key_of_its_secret(self) -> None:
        gateways = Gateways()
        seen_before = await observe(gateways, a_user(), a_secret(key_data(KEY, PLACE)), KNOWN)
        await self.acts(gateways, a_user(), seen_before)[CreateUser](CreateUser("app"))
        assert (await find(gateways, "app")) == live()

    async def test_no_key_is_in_a_request_that_gateways_log(self) -> None:
        gateways = Gateways()
        user = a_user({"keys": REFS})
        acts = self.acts(gateways, user, seen(keys=(KEY, OTHER)))
        await acts[CreateUser](CreateUser("app"))
        await acts[MakeKey](MakeKey("app", "AK3"))
        keys = [key["secret_key"] for key in gateways.users["app"]["keys"]]
        assert len(keys) == 3
        assert not [value for _, query in gateways.asked for value in query.values() if value in keys]

    async def test_observation(self) -> None:
        gateways = Gateways()
        assert await observe(gateways, a_user(), None, KNOWN) == KNOWN
        await self.acts(gateways, a_user())[CreateUser](CreateUser("app"))
        made = Key("MADE1", "by-ceph-1")
        secret = a_secret(key_data(made, PLACE))
        assert await observe(gateways, a_user(), secret, KNOWN) == seen(live(keys=(made,)), kept=made)
        moved = a_secret(key_data(made, Place("https://elsewhere")))
        assert (await observe(gateways, a_user(), moved, KNOWN)).secret is SecretState.OUTDATED
        foreign = a_secret(key_data(made, PLACE), owned=False)
        assert (await observe(gateways, a_user(), foreign, KNOWN)).secret is SecretState.ANOTHERS
        for name, owner in (("b", "app"), ("a", "app"), ("c", "other")):
            gateways.add_bucket(name, owner)
        assert (await observe(gateways, a_user(deleting=True), secret, KNOWN)).buckets == ("a", "b")

    async def test_nothing_that_is_shown_has_a_key(self) -> None:
        found = seen(keys=(KEY,), secret=SecretState.OUTDATED)
        for user in (a_user({"keys": REFS}), a_user(annotations={ROTATE: "1"})):
            told = repr(found) + repr(analyze(user, found)) + repr(shown(user, found))
            assert not [text for text in ("AK1", "s1") if repr(text) in told or f" {text} " in told]

    async def test_what_is_there_already_is_another_namespaces_to_have(self) -> None:
        gateways = Gateways()
        await self.acts(gateways, a_user())[CreateUser](CreateUser("app"))
        tenant = a_user({"clusterNamespace": "rook-ceph"}, namespace="tenant")
        found = await observe(gateways, tenant, None, KNOWN)
        assert "was not made for this object" in found.refusal
        assert actions(tenant, found) == []
        assert shown(tenant, found).info == {}
        # Its own it has: by the status, or by the key that it holds.
        noted = a_user({"clusterNamespace": "rook-ceph"}, namespace="tenant", status={"info": {"secretName": "s"}})
        assert (await observe(gateways, noted, None, KNOWN)).refusal == ""
        secret = a_secret(key_data(Key("MADE1", "by-ceph-1"), PLACE))
        assert (await observe(gateways, tenant, secret, KNOWN)).refusal == ""

    async def test_converges(self) -> None:
        gateways = Gateways()
        await self.acts(gateways, a_user({"capabilities": {"usage": "*", "zone": "read"}}))[CreateUser](
            CreateUser("app")
        )
        spec = {
            "displayName": "N",
            "capabilities": {"usage": "read", "users": "write"},
            "quotas": {"maxSize": "1Ki", "maxBuckets": -1},
        }
        acts = self.acts(gateways, a_user(spec))
        for action in (ModifyUser("app"), SetCaps("app"), SetQuota("app")):
            await acts[type(action)](action)
        made = Key("MADE1", "by-ceph-1")
        assert actions(a_user(spec), seen(await find(gateways, "app"), kept=made)) == []
        assert [what for what in gateways.written if "caps" in what] == ["PUT user?caps", "DELETE user?caps"]

    async def test_a_key_of_another_user_is_refused(self) -> None:
        gateways = Gateways()
        for name in ("app", "other"):
            await gateways.put("user", uid=name, **{"display-name": name})
        with pytest.raises(AdminError, match="access key"):
            await write_keys(gateways, "other", [Key("MADE1", "x")])

    async def test_removal_is_asked_for_again_at_the_act(self) -> None:
        gateways = Gateways()
        acts = self.acts(gateways, a_user(deleting=True), deleting=True)
        await acts[CreateUser](CreateUser("app"))
        gateways.add_bucket("late", "app")
        with pytest.raises(NoConsentError, match="owns buckets by now: late"):
            await acts[RemoveUser](RemoveUser("app"))
        gateways.buckets.clear()
        with pytest.raises(NoConsentError, match="is not being deleted"):
            await self.acts(gateways, a_user(deleting=True))[RemoveUser](RemoveUser("app"))
        using = AsyncMock(return_value=("Bucket cosi-1",))
        used = self.acts(gateways, a_user(deleting=True), deleting=True, using=using)
        with pytest.raises(NoConsentError, match="used by now by Bucket cosi-1"):
            await used[RemoveUser](RemoveUser("app"))
        await acts[RemoveUser](RemoveUser("app"))
        await acts[RemoveUser](RemoveUser("app"))
        assert gateways.users == {}

    def test_the_secret_has_upstreams_names_and_keys(self) -> None:
        secret = key_secret(a_user(), KEY, Place("https://s", "cert"))
        data = {name: base64.b64decode(value).decode() for name, value in secret["data"].items()}
        assert data == {"AccessKey": "AK1", "SecretKey": "s1", "Endpoint": "https://s", "SSLCertSecretName": "cert"}
        meta = secret["metadata"]
        assert (meta["name"], secret["type"]) == ("rook-ceph-object-user-my-store-app", "kubernetes.io/rook")
        wanted_labels = {
            "app": "rook-ceph-rgw",
            "user": "app",
            "rook_cluster": "rook-ceph",
            "rook_object_store": "my-store",
        }
        assert wanted_labels.items() <= meta["labels"].items()
        assert meta["ownerReferences"][0]["uid"] == UID

    def acts(
        self,
        gateways: Gateways,
        user: CephObjectStoreUser,
        found: UserObservation | None = None,
        *,
        deleting: bool = False,
        using: AsyncMock | None = None,
    ) -> dict[type, Any]:
        meta = {"uid": UID} | ({"deletionTimestamp": NOW} if deleting else {})
        client = cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": meta})))
        applier = cast("Any", SimpleNamespace(apply=AsyncMock()))
        return act.handlers(user, found or KNOWN, client, applier, gateways, using or AsyncMock(return_value=()))


@virtual_time
async def test_a_user_from_its_making_to_its_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph", "tenant", "stranger"))
    for resource in (USERS, STORES, ACCOUNTS):
        server.serve(resource)
    gateways = Gateways()
    stores = OneStore(gateways, a_store({"allowUsersInNamespaces": ["tenant"]}))
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), stores)
    dependent = of_store(manager.informers)
    key = ("rook-ceph", "app")

    def status(*where: str) -> JsonObject:
        found: JsonObject = server.get(USERS, *(where or key)).get("status", {})
        return found

    def kept_key(namespace: str = "rook-ceph", name: str = "app") -> Key | None:
        found = server.find(SECRET, namespace, f"rook-ceph-object-user-my-store-{name}")
        if found is None:
            return None
        data = {name: base64.b64decode(value).decode() for name, value in found["data"].items()}
        return Key(data["AccessKey"], data["SecretKey"])

    def opens(namespace: str = "rook-ceph", name: str = "app") -> bool:
        keys = gateways.users.get(name, {}).get("keys", ())
        return kept_key(namespace, name) in [Key(k["access_key"], k["secret_key"]) for k in keys]

    def settled(*where: str) -> bool:
        return status(*where).get("phase") == "Ready"

    def is_gone(*where: str) -> bool:
        return server.find(USERS, *where) is None

    def make(namespace: str, name: str, **spec: Any) -> None:
        meta = {"namespace": namespace, "name": name}
        server.create(USERS, {"metadata": meta, "spec": {"store": "my-store", **spec}})

    async with running(manager):
        make(*key)
        await until(lambda: settled() and opens())
        assert server.get(USERS, *key)["metadata"]["finalizers"] == [FINALIZER]
        first = kept_key()

        # The Secret is lost, then the user: each comes back by the other.
        server.delete(SECRET, "rook-ceph", "rook-ceph-object-user-my-store-app")
        await until(opens)
        gateways.users.clear()
        await until(opens)
        assert kept_key() == first

        # Another key by the annotation; the one before goes later.
        server.patch(USERS, *key, {"metadata": {"annotations": {ROTATE: "1", GRACE: "0s"}}})
        await until(lambda: opens() and kept_key() != first)
        await until(lambda: len(gateways.users["app"]["keys"]) == 1)
        await until(lambda: settled() and opens())

        # Keys that the spec gives, in a Secret that comes later.
        refs = [{"accessKeyRef": {"name": "mine", "key": "a"}, "secretKeyRef": {"name": "mine", "key": "s"}}]
        server.patch(USERS, *key, {"spec": {"keys": refs}})
        await until(lambda: status()["phase"] == "Failure")
        mine = {"a": base64.b64encode(b"MINE\n").decode(), "s": base64.b64encode(b"own").decode()}
        server.create(SECRET, {"metadata": {"namespace": "rook-ceph", "name": "mine"}, "data": mine})
        await until(lambda: settled() and opens() and kept_key() == Key("MINE", "own"))
        read = msgspec.convert(status()["keys"], tuple[SecretVersion, ...])
        assert [found.name for found in read] == ["mine"]

        # Other namespaces: one that is allowed, one that is not, and a name that is taken.
        make("tenant", "theirs", clusterNamespace="rook-ceph")
        make("stranger", "not", clusterNamespace="rook-ceph")
        make("tenant", "app", clusterNamespace="rook-ceph")
        await until(lambda: settled("tenant", "theirs") and opens("tenant", "theirs"))
        await until(lambda: status("stranger", "not").get("phase") == "Failure")
        await until(lambda: status("tenant", "app").get("phase") == "Failure")
        assert sorted(gateways.users) == ["app", "theirs"]
        assert kept_key("tenant", "app") is None
        for namespace, name in (("stranger", "not"), ("tenant", "app")):
            server.delete(USERS, namespace, name)
            await until(partial(is_gone, namespace, name))
        assert sorted(gateways.users) == ["app", "theirs"]
        store = stores.store
        assert store is not None
        assert sorted(dependent.known(store)) == sorted(await dependent.asked(manager.client, store))
        assert sorted(dependent.known(store)) == ["app", "tenant/theirs"]

        # One that owns buckets stays until they are gone.
        gateways.add_bucket("data", "app")
        server.delete(USERS, *key)
        await until(lambda: "bucket data" in str(status().get("plan")))
        assert "app" in gateways.users
        gateways.buckets.clear()
        await until(lambda: server.find(USERS, *key) is None)
        assert "app" not in gateways.users

        # Gateways that are away are waited for; without the store, there is nothing to wait for.
        gateways.down = True
        server.delete(USERS, "tenant", "theirs")
        await until(lambda: "to answer" in str(status("tenant", "theirs")))
        stores.store = None
        await until(lambda: server.find(USERS, "tenant", "theirs") is None)


@virtual_time
async def test_at_rest_nothing_is_written() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (USERS, STORES, ACCOUNTS):
        server.serve(resource)
    gateways = Gateways()
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), OneStore(gateways, a_store()))
    spec = {"store": "my-store", "quotas": {"maxSize": "10G"}, "capabilities": {"user": "read, write"}}
    async with running(manager):
        server.create(USERS, {"metadata": {"namespace": "rook-ceph", "name": "app"}, "spec": spec})
        await until(lambda: server.get(USERS, "rook-ceph", "app").get("status", {}).get("phase") == "Ready")
        written, version = list(gateways.written), server.get(USERS, "rook-ceph", "app")["metadata"]["resourceVersion"]
        looked = len(gateways.asked)
        await until(lambda: len(gateways.asked) > looked + 3)
        assert gateways.written == written
        assert server.get(USERS, "rook-ceph", "app")["metadata"]["resourceVersion"] == version
