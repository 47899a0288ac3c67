"""CephObjectStoreAccounts: plans by table, the root user, and the life of one."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.apis.ceph import CephObjectStoreAccount
from controller.ceph.objectaccount import act
from controller.ceph.objectaccount.act import (
    ACCOUNTS,
    CreateAccount,
    CreateRootUser,
    ModifyRootUser,
    PurgeBucket,
    RemoveAccount,
    RemoveMember,
    RemoveRootUser,
    RenameAccount,
    RestoreKey,
    WriteSecret,
)
from controller.ceph.objectaccount.analyze import SOON, analyze
from controller.ceph.objectaccount.kind import FINALIZER, STORES, of_store, register
from controller.ceph.objectaccount.observe import AccountObservation, Contents, Member
from controller.ceph.objectaccount.spec import account_id, root_user
from controller.ceph.objectaccount.status import show
from controller.ceph.objectuser import kind as objectuser
from controller.ceph.objectuser.act import USERS
from controller.ceph.rgw.credentials import Place
from controller.ceph.rgw.users import Key, User
from controller.ceph.rgw.work import Work
from controller.framework.children import Delete
from controller.framework.consent import NoConsentError
from controller.framework.kind import LetGo, Look
from controller.framework.owned_secrets import SecretState
from controller.framework.plan import APPLY, preview
from controller.framework.settings import Settings
from controller.runtime.kube import SECRET
from controller.testkit import ApiServer, new_manager, running, until, virtual_time
from tests.unit.ceph.gateways import Gateways
from tests.unit.ceph.stores import Inline, OneStore, a_store

if TYPE_CHECKING:
    from informers import Client, JsonObject

NOW = "2027-01-15T08:00:00Z"
UID = "3f9b1c2e-aaaa-bbbb-cccc-0123456789ab"
ID = f"RGW{int('0123456789ab3f', 16):017d}"
KEY = Key("AK1", "s1")
SECRET_NAME = "rook-ceph-object-root-user-team"


def an_account(
    spec: JsonObject | None = None,
    *,
    deleting: bool = False,
    noted: bool = True,
    annotations: dict[str, str] | None = None,
) -> CephObjectStoreAccount:
    meta: JsonObject = {"name": "team", "namespace": "rook-ceph", "uid": UID, "annotations": annotations or {}}
    if deleting:
        meta["deletionTimestamp"] = NOW
    status = {"accountID": ID} if noted else {}
    obj = {"metadata": meta, "spec": {"store": "my-store", **(spec or {})}, "status": status}
    return msgspec.convert(obj, CephObjectStoreAccount)


def seen(**fields: Any) -> AccountObservation:
    """An account that is as it should be, but for these."""
    whole: dict[str, Any] = {
        "name": "team",
        "root": User(uid=UID, display_name="root-team", account=ID, keys=(KEY,)),
        "kept": KEY,
        "place": Place("http://store"),
        "secret": SecretState.CURRENT,
        "secret_uid": "s1",
    }
    return AccountObservation(**whole | fields)


def actions(account: CephObjectStoreAccount, found: AccountObservation) -> list[object]:
    return [step.action for step in analyze(account, found).steps if step.held_by is None]


def waits(account: CephObjectStoreAccount, found: AccountObservation) -> list[str]:
    return [step.waits_for for step in analyze(account, found).steps]


def shown(account: CephObjectStoreAccount, found: AccountObservation) -> Any:
    return show(Look(obj=account, spec={}, mode=APPLY, now=0.0), found, preview(analyze(account, found)))


INSIDE = Contents((Member("ann", "Ann"),), ("data",))
FORCED = {"rook.io/force-deletion": "true"}
ABSENT = AccountObservation(place=Place("http://store"))
DROP = Delete(SECRET, "rook-ceph", SECRET_NAME, "s1")


class TestPlan:
    def test_the_id_is_upstreams(self) -> None:
        assert account_id(an_account(noted=False)) == ID
        assert len(ID) == 20
        given = "RGW00000000000000001"
        assert account_id(an_account({"accountID": given}, noted=False)) == given

    def test_the_id_is_noted_before_the_account_is_made(self) -> None:
        new = an_account(noted=False)
        assert (actions(new, ABSENT), analyze(new, ABSENT).look_again) == ([], SOON)
        assert shown(new, ABSENT).account_id == ID
        assert actions(an_account(), ABSENT) == [CreateAccount(ID, "team"), CreateRootUser(UID), WriteSecret(UID)]

    def test_at_rest_nothing_is_done(self) -> None:
        assert analyze(an_account(), seen()).steps == ()
        status = shown(an_account(), seen())
        assert (status.phase, status.account_id, status.root_account_secret_name) == ("Ready", ID, SECRET_NAME)

    @pytest.mark.parametrize(
        ("spec", "found", "expected"),
        [
            ({"name": "team b"}, seen(), [RenameAccount(ID, "team b")]),
            ({"rootUser": {"displayName": "boss"}}, seen(), [ModifyRootUser(UID)]),
            ({}, seen(root=None), [CreateRootUser(UID)]),
            ({}, seen(root=User(uid=UID, display_name="root-team")), [RestoreKey(UID)]),
            ({}, seen(secret=SecretState.ABSENT), [WriteSecret(UID)]),
            ({"rootUser": {"skipCreate": True}}, seen(), [RemoveRootUser(UID), DROP]),
            ({"rootUser": {"skipCreate": True}}, seen(root=None, secret=SecretState.ANOTHERS), []),
        ],
    )
    def test_what_differs_is_put_right(self, spec: JsonObject, found: AccountObservation, expected: list[Any]) -> None:
        assert actions(an_account(spec), found) == expected

    def test_an_account_of_somebody_else_is_neither_changed_nor_removed(self) -> None:
        foreign = an_account(noted=False)
        assert waits(foreign, seen()) == [f"accountID: account {ID} is there, and was not made for this object"]
        assert shown(foreign, seen()).account_id == ""
        assert actions(an_account(noted=False, deleting=True), seen()) == [LetGo()]

    def test_a_release_without_accounts(self) -> None:
        unknown = AccountObservation(unknown=True)
        (told,) = waits(an_account(noted=False), unknown)
        assert told == "store: CephObjectStore my-store has no accounts: they are there from Ceph 19 (Squid) on"
        assert shown(an_account(noted=False), unknown).phase == "Failure"
        assert actions(an_account(deleting=True), unknown) == [LetGo()]

    def test_long_names_for_people_are_cut(self) -> None:
        account = msgspec.structs.replace(
            an_account(), metadata=msgspec.structs.replace(an_account().metadata, name="t" * 100)
        )
        assert len(root_user(account).display_name) == 64

    def test_deletion(self) -> None:
        gone = an_account(deleting=True)
        assert actions(gone, seen()) == [RemoveRootUser(UID), DROP, RemoveAccount(ID), LetGo()]
        assert actions(gone, AccountObservation(gone=True, dependents=("CephObjectStoreUser a",))) == [LetGo()]
        assert waits(gone, seen(waits_for="the store")) == ["the store"]

    def test_what_is_in_it_is_named(self) -> None:
        gone, held = an_account(deleting=True), seen(inside=INSIDE)
        (told,) = waits(gone, held)
        consent = 'or for annotation rook.io/force-deletion: "true", with which all of it goes'
        assert told == f"what is in it to be deleted: user Ann, bucket data; {consent}"
        declared = seen(dependents=("CephObjectStoreUser ann",), inside=INSIDE)
        assert waits(gone, declared) == ["what is in it to be deleted: CephObjectStoreUser ann"]
        blocked = {c.type: c for c in shown(gone, held).conditions}["DeletionIsBlocked"]
        assert blocked.message == "it has user Ann, bucket data"

    def test_by_force_all_of_it_goes_and_the_root_user_after_it(self) -> None:
        gone, held = an_account(deleting=True, annotations=FORCED), seen(inside=INSIDE)
        assert actions(gone, held) == [PurgeBucket("data", UID), RemoveMember("ann")]
        assert actions(gone, seen()) == [RemoveRootUser(UID), DROP, RemoveAccount(ID), LetGo()]
        declared = seen(dependents=("CephObjectStoreUser ann",), inside=INSIDE)
        assert actions(gone, declared) == []
        assert waits(gone, declared) == ["what is in it to be deleted: CephObjectStoreUser ann"]
        # An account that is not to go is not emptied, whatever its annotations say.
        assert actions(an_account(annotations=FORCED), held) == []

    def test_nothing_that_is_shown_has_a_key(self) -> None:
        told = repr(seen()) + repr(analyze(an_account(), seen(root=None))) + repr(shown(an_account(), seen()))
        assert "AK1" not in told


@virtual_time
async def test_an_account_from_its_making_to_its_removal() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (USERS, STORES, ACCOUNTS):
        server.serve(resource)
    gateways = Gateways()
    stores = OneStore(gateways, a_store())
    manager = new_manager(server)
    settings = Settings(operator_namespace="rook-ceph")
    objectuser.register(manager, settings, stores)
    register(manager, settings, stores, dependents=(objectuser.of_account(manager.informers),))
    dependent = of_store(manager.informers)
    key, ann = ("rook-ceph", "team"), ("rook-ceph", "ann")

    def status() -> JsonObject:
        found: JsonObject = server.get(ACCOUNTS, *key).get("status", {})
        return found

    def kept_key() -> str:
        found = server.find(SECRET, "rook-ceph", SECRET_NAME)
        return base64.b64decode(found["data"]["AccessKey"]).decode() if found is not None else ""

    def keys(uid: str) -> list[str]:
        return [found["access_key"] for found in gateways.users.get(uid, {}).get("keys", ())]

    async with running(manager):
        gateways.knows_accounts = False
        server.create(ACCOUNTS, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": {"store": "my-store"}})
        await until(lambda: status().get("phase") == "Failure")
        gateways.knows_accounts = True
        await until(lambda: status().get("phase") == "Ready")
        uid, identity = server.get(ACCOUNTS, *key)["metadata"]["uid"], status()["accountID"]
        assert server.get(ACCOUNTS, *key)["metadata"]["finalizers"] == [FINALIZER]
        assert [kept_key()] == keys(uid)
        first = kept_key()
        assert gateways.accounts == {identity: {"id": identity, "name": "team"}}
        assert (gateways.users[uid]["type"], gateways.users[uid]["account_id"]) == ("root", identity)

        # What is lost comes back, with the same key.
        del gateways.users[uid]
        await until(lambda: keys(uid) == [first])
        server.delete(SECRET, "rook-ceph", SECRET_NAME)
        await until(lambda: kept_key() == first)

        # A user in it, whose account is for life.
        spec = {"store": "my-store", "accountRef": {"name": "team"}}
        server.create(USERS, {"metadata": {"namespace": ann[0], "name": ann[1]}, "spec": spec})
        await until(lambda: server.get(USERS, *ann).get("status", {}).get("phase") == "Ready")
        assert gateways.users["ann"]["account_id"] == identity
        store = stores.store
        assert store is not None
        assert list(dependent.known(store)) == list(await dependent.asked(manager.client, store)) == ["team"]

        server.delete(ACCOUNTS, *key)
        await until(lambda: "CephObjectStoreUser ann" in str(status()["plan"]))
        server.delete(USERS, *ann)
        gateways.add_bucket("data", identity)
        await until(lambda: "bucket data" in str(status()["plan"]))
        gateways.users["by-hand"] = {
            **gateways.users[uid],
            "user_id": "by-hand",
            "display_name": "by-hand",
            "type": "rgw",
            "keys": [],
        }
        await until(lambda: "user by-hand" in str(status()["plan"]))
        del gateways.users["by-hand"]
        gateways.buckets.clear()
        await until(lambda: server.find(ACCOUNTS, *key) is None)
        assert (gateways.accounts, gateways.users) == ({}, {})


class TestConsent:
    """What is in an account goes with consent alone, which is asked for again at each act."""

    @pytest.mark.parametrize(
        ("meta", "using", "words"),
        [
            ({"annotations": FORCED}, (), "is not being deleted"),
            ({"deletionTimestamp": NOW}, (), "not to be deleted by force any more"),
            ({"deletionTimestamp": NOW, "annotations": FORCED, "uid": "u2"}, (), "it is another"),
            ({"deletionTimestamp": NOW, "annotations": FORCED}, ("CephObjectStoreUser ann",), "used by CephObject"),
        ],
    )
    async def test_without_it_nothing_goes(self, meta: JsonObject, using: tuple[str, ...], words: str) -> None:
        gateways = self.gateways()
        acts = self.acts(gateways, {"name": "team", "namespace": "rook-ceph", "uid": UID, **meta}, using)
        for action in (PurgeBucket("data", UID), RemoveMember("ann")):
            with pytest.raises(NoConsentError, match=words):
                await acts[type(action)](action)
        assert gateways.buckets["data"].objects
        assert "ann" in gateways.users

    async def test_what_went_to_somebody_else_meanwhile_stays(self) -> None:
        gateways = self.gateways()
        meta = {"name": "team", "namespace": "rook-ceph", "uid": UID, "deletionTimestamp": NOW, "annotations": FORCED}
        acts = self.acts(gateways, meta)
        gateways.buckets["data"].owner = "somebody"
        with pytest.raises(NoConsentError, match="is of somebody by now"):
            await acts[PurgeBucket](PurgeBucket("data", UID))
        gateways.users["ann"]["account_id"] = ""
        with pytest.raises(NoConsentError, match="is not in account"):
            await acts[RemoveMember](RemoveMember("ann"))
        assert gateways.buckets["data"].objects

        # What is gone already is no error.
        await acts[PurgeBucket](PurgeBucket("nowhere", UID))
        await acts[RemoveMember](RemoveMember("nobody"))

    def gateways(self) -> Gateways:
        gateways = Gateways()
        gateways.accounts[ID] = {"id": ID, "name": "team"}
        gateways.add_user(UID, account_id=ID, type="root")
        gateways.add_user("ann", account_id=ID)
        gateways.add_bucket("data", ID).objects["k"] = b"v"
        return gateways

    def acts(self, gateways: Gateways, meta: JsonObject, using: tuple[str, ...] = ()) -> dict[type, Any]:
        client = cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": meta})))
        stores = OneStore(gateways, a_store())
        work = Work(stores, Inline(), stores.reach("rook-ceph", "my-store"))
        asking = AsyncMock(return_value=using)
        applier = cast("Any", SimpleNamespace())
        return act.handlers(an_account(deleting=True), seen(), client, applier, work, asking)


@virtual_time
async def test_by_force_what_is_in_an_account_goes_and_nothing_else() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (USERS, STORES, ACCOUNTS):
        server.serve(resource)
    gateways = Gateways()
    gateways.add_user("bob")
    gateways.add_bucket("bobs", "bob").objects["k"] = b"v"
    manager = new_manager(server)
    settings, stores = Settings(operator_namespace="rook-ceph"), OneStore(gateways, a_store())
    register(manager, settings, stores, threads=Inline())
    key = ("rook-ceph", "team")

    async with running(manager):
        server.create(ACCOUNTS, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": {"store": "my-store"}})
        await until(lambda: server.get(ACCOUNTS, *key).get("status", {}).get("phase") == "Ready")
        identity = server.get(ACCOUNTS, *key)["status"]["accountID"]
        gateways.add_user("ann", account_id=identity)
        for name in ("data", "more"):
            gateways.add_bucket(name, identity).objects.update({f"k{n}": b"v" for n in range(3)})
        gateways.buckets["more"].locked.append("k1")
        server.delete(ACCOUNTS, *key)
        await until(lambda: "bucket data, bucket more" in str(server.get(ACCOUNTS, *key)["status"]["plan"]))
        assert len(gateways.buckets["data"].objects) == 3

        server.patch(ACCOUNTS, *key, {"metadata": {"annotations": FORCED}})
        # An object that is locked holds its bucket, and says so; the others go.
        await until(lambda: "objects cannot be deleted" in str(server.get(ACCOUNTS, *key)["status"]["plan"]))
        await until(lambda: "data" not in gateways.buckets)
        gateways.buckets["more"].locked.clear()
        await until(lambda: server.find(ACCOUNTS, *key) is None)
        assert (gateways.accounts, list(gateways.users), list(gateways.buckets)) == ({}, ["bob"], ["bobs"])
        assert gateways.buckets["bobs"].objects == {"k": b"v"}


@virtual_time
async def test_without_a_root_user() -> None:
    server = ApiServer(namespaces=("rook-ceph",))
    for resource in (STORES, ACCOUNTS):
        server.serve(resource)
    gateways = Gateways()
    manager = new_manager(server)
    register(manager, Settings(operator_namespace="rook-ceph"), OneStore(gateways, a_store()))
    key = ("rook-ceph", "team")

    async with running(manager):
        server.create(ACCOUNTS, {"metadata": {"namespace": key[0], "name": key[1]}, "spec": {"store": "my-store"}})
        await until(lambda: server.get(ACCOUNTS, *key).get("status", {}).get("phase") == "Ready")
        server.patch(ACCOUNTS, *key, {"spec": {"rootUser": {"skipCreate": True}, "name": "other"}})
        await until(lambda: not gateways.users and server.find(SECRET, "rook-ceph", SECRET_NAME) is None)
        await until(lambda: server.get(ACCOUNTS, *key)["status"]["phase"] == "Ready")
        assert [found["name"] for found in gateways.accounts.values()] == ["other"]
        assert server.get(ACCOUNTS, *key)["status"].get("rootAccountSecretName", "") == ""
