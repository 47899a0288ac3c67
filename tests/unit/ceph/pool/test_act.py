"""Commands for pools and their memory in the cluster; consent that is asked anew at the moment of the act."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import msgspec
import pytest

from controller.ceph.access.rados import CephError
from controller.ceph.crush import Rule
from controller.ceph.pool import act
from controller.ceph.pool.act import with_consent
from controller.ceph.pool.analyze import analyze
from controller.ceph.pool.observe import BlockPoolObservation, in_trash, valuables
from controller.ceph.pools.act import CreatePool, CreateProfile, CreateRule, DeletePool, SetSize, UseRule
from controller.ceph.pools.observe import PoolObservation, PoolState, observe, read_owned
from controller.framework.consent import NoConsentError
from controller.framework.owned import Owned
from tests.unit.ceph.pools import HOST, NOW, pool, present, replicated, seen

if TYPE_CHECKING:
    from controller.ceph.access.rados import RadosCluster
    from informers import Client


def api_server(**found: Any) -> Client:
    """One that has a pool of this metadata, which is being deleted."""
    meta = {"name": "replicapool", "namespace": "rook-ceph", "uid": "p1", "deletionTimestamp": NOW, **found}
    return cast("Client", SimpleNamespace(get=AsyncMock(return_value={"metadata": meta})))


class TestConsent:
    async def carry_out(
        self, *, forced: bool, image: str | None = None, users: tuple[str, ...] = (), **found: Any
    ) -> list[Any]:
        """What is deleted when the API server has a pool of this metadata by then."""
        delete = AsyncMock()
        action = DeletePool("replicapool", rule="replicapool", profile="", forced=forced)
        contents = AsyncMock(return_value=() if image is None else (f"image {image}",))
        using = AsyncMock(return_value=users)
        await with_consent(api_server(**found), pool(deleting=True), contents, using, delete)(action)
        return [call.args for call in delete.await_args_list]

    async def test_an_image_that_was_made_meanwhile_keeps_the_pool(self) -> None:
        with pytest.raises(NoConsentError, match="has image csi-vol-1 by now: it stays"):
            await self.carry_out(forced=False, image="csi-vol-1")
        sure = {"rook.io/force-deletion": "true"}
        assert len(await self.carry_out(forced=True, image="csi-vol-1", annotations=sure)) == 1

    @pytest.mark.parametrize("forced", [True, False])
    async def test_what_uses_it_by_then_keeps_the_pool_whatever_was_consented_to(self, forced: bool) -> None:
        sure = {"rook.io/force-deletion": "true"}
        with pytest.raises(NoConsentError, match="CephBlockPoolRadosNamespace a uses it by now: it stays"):
            await self.carry_out(forced=forced, users=("CephBlockPoolRadosNamespace a",), annotations=sure)

    async def test_consent_that_was_withdrawn(self) -> None:
        with pytest.raises(NoConsentError, match="the images stay"):
            await self.carry_out(forced=True)

    @pytest.mark.parametrize("forced", [True, False])
    @pytest.mark.parametrize("found", [{"uid": "another"}, {"deletionTimestamp": None}])
    async def test_pool_that_is_another_by_then(self, found: dict[str, Any], forced: bool) -> None:
        with pytest.raises(NoConsentError, match="nothing is destroyed"):
            await self.carry_out(forced=forced, annotations={"rook.io/force-deletion": "true"}, **found)

    async def test_consent_that_stands(self) -> None:
        assert len(await self.carry_out(forced=True, annotations={"rook.io/force-deletion": "true"})) == 1
        assert len(await self.carry_out(forced=False)) == 1


def record(name: str, setting: str) -> str:
    """The record of a setting that was set to "true"."""
    return json.dumps({"who": name, "name": setting, "asked": "true", "stored": "True"})


OTHERS = {"rook/pool/replicapool-2/bulk": record("replicapool-2", "bulk"), "rook/pool/replicapool/x": "no record"}
"""What else is among the config-keys."""


class FakeCeph:
    """The mons, as far as pools go: one pool, its settings, rules and the config-keys."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {"size": 3, "bulk": False}
        self.quotas = {"quota_max_bytes": 0, "quota_max_objects": 0}
        self.keys: dict[str, str] = dict(OTHERS)
        self.rules = [{"rule_id": 0, "rule_name": "replicapool", "steps": []}]
        self.commands: list[tuple[str, dict[str, Any]]] = []

    def detail(self) -> dict[str, Any]:
        return {
            "pool_name": "replicapool",
            "pool_id": 7,
            "crush_rule": 0,
            "erasure_code_profile": "",
            "application_metadata": {"rbd": {}},
            "pg_num_target": 16,
            "pg_placement_num_target": 16,
            **self.quotas,
        }

    async def mon(self, prefix: str, /, **args: Any) -> Any:
        match prefix:
            case "osd pool ls":
                return [self.detail()]
            case "osd pool get" | "osd pool get-quota":
                return {"pool": "replicapool", "pg_num": 8, **(self.quotas if "quota" in prefix else self.values)}
            case "osd crush rule dump":
                return self.rules
            case "osd crush class ls":
                return ["ssd"]
            case "config-key dump":
                return {key: value for key, value in self.keys.items() if key.startswith(args["key"])}
            case "config-key set":
                self.keys[args["key"]] = args["val"]
            case "config-key rm":
                self.keys.pop(args["key"], None)
            case "osd pool set":
                self.values[args["var"]] = {"1G": 1073741824}.get(args["val"], args["val"])
            case "osd pool set-quota":
                self.quotas["quota_" + args["field"]] = int(args["val"])
            case "osd crush rule rm":
                if args["name"] == "replicapool_busy":
                    raise CephError(16, "rule is in use")
        self.commands.append((prefix, args))
        return None

    async def mon_input(self, prefix: str, data: bytes, /, **args: Any) -> Any:
        raise AssertionError(prefix)

    async def mgr(self, prefix: str, /, **args: Any) -> Any:
        raise AssertionError(prefix)

    async def do(self, action: object) -> None:
        client = api_server(annotations={"rook.io/force-deletion": "true"})
        users = AsyncMock(return_value=())
        await act.handlers(pool(deleting=True), client, cast("RadosCluster", self), users)[type(action)](action)


class TestCommands:
    async def test_observation(self) -> None:
        observation = await observe(FakeCeph(), "replicapool", pool().spec)
        assert observation.state == PoolState(
            pool_id=7,
            rule="replicapool",
            applications=frozenset({"rbd"}),
            values={
                "pool": "replicapool",
                "size": 3,
                "bulk": False,
                "pg_num": 16,
                "pgp_num": 16,
                "quota_max_bytes": 0,
                "quota_max_objects": 0,
            },
        )
        assert (observation.device_classes, observation.owned) == (frozenset({"ssd"}), {})

    async def test_pool_that_is_not_there(self) -> None:
        ceph = FakeCeph()
        other = msgspec.structs.replace(pool(), spec=msgspec.convert({"name": ".mgr"}, type(pool().spec)))
        assert (await observe(ceph, ".mgr", other.spec)).state is None

    async def test_what_is_set_is_remembered_and_then_forgotten(self) -> None:
        ceph, spec = FakeCeph(), pool(replicated(parameters={"target_size_bytes": "1G"}, quotas={"maxBytes": 5}))
        for step in analyze(spec, seen(present())).steps:
            await ceph.do(step.action)
        assert {"rook/pool/replicapool/target_size_bytes", "rook/pool/replicapool/quota_max_bytes"} <= ceph.keys.keys()
        assert await read_owned(ceph, "replicapool") == {
            "target_size_bytes": Owned("1G", "1073741824"),
            "quota_max_bytes": Owned("5", "5"),
        }
        observed = await observe(ceph, "replicapool", spec.spec)
        assert analyze(spec, observed_with_rule(observed)).steps == ()
        for step in analyze(pool(), observed_with_rule(observed)).steps:
            await ceph.do(step.action)
        assert list(ceph.keys) == list(OTHERS)
        assert (ceph.values["target_size_bytes"], ceph.quotas["quota_max_bytes"]) == ("0", 0)

    async def test_commands_of_a_creation(self) -> None:
        ceph = FakeCeph()
        await ceph.do(CreateRule("r", Rule("default", "host", "ssd")))
        await ceph.do(CreateRule("r", HOST))
        await ceph.do(CreateProfile("p", {"k": "2", "m": "1"}))
        await ceph.do(CreatePool("a", rule="r", size=1, pg_num="8"))
        await ceph.do(CreatePool("b", profile="p"))
        assert ceph.commands == [
            ("osd crush rule create-replicated", {"name": "r", "root": "default", "type": "host", "class": "ssd"}),
            ("osd crush rule create-replicated", {"name": "r", "root": "default", "type": "host"}),
            (
                "osd erasure-code-profile set",
                {"name": "p", "profile": ["k=2", "m=1"], "force": True, "yes_i_really_mean_it": True},
            ),
            (
                "osd pool create",
                {
                    "pool": "a",
                    "pg_num": 8,
                    "pool_type": "replicated",
                    "rule": "r",
                    "size": 1,
                    "yes_i_really_mean_it": True,
                },
            ),
            ("osd pool create", {"pool": "b", "pool_type": "erasure", "erasure_code_profile": "p"}),
        ]

    async def test_a_name_with_a_dot_before_it_needs_a_word_more(self) -> None:
        # Without it, Ceph makes no pool and reports no error.
        ceph = FakeCeph()
        await ceph.do(CreatePool(".nfs", rule="r", size=3))
        assert ceph.commands[0][1]["yes_i_really_mean_it"] is True

    async def test_one_copy_needs_a_word_more(self) -> None:
        ceph = FakeCeph()
        await ceph.do(SetSize("replicapool", 2))
        await ceph.do(SetSize("replicapool", 1))
        assert [args.get("yes_i_really_mean_it") for _, args in ceph.commands] == [None, True]

    @pytest.mark.parametrize(
        ("before", "removed"), [("replicapool", True), ("theirs", False), ("replicapool_busy", False)]
    )
    async def test_only_the_pools_own_rule_is_removed(self, before: str, removed: bool) -> None:
        ceph = FakeCeph()
        await ceph.do(UseRule("replicapool", "replicapool_zone", before))
        assert (("osd crush rule rm", {"name": before}) in ceph.commands) is removed

    async def test_deletion(self) -> None:
        ceph = FakeCeph()
        ceph.keys["rook/pool/replicapool/bulk"] = record("replicapool", "bulk")
        await ceph.do(DeletePool("replicapool", rule="replicapool", profile="replicapool_ecprofile", forced=True))
        names = [prefix for prefix, _ in ceph.commands]
        assert names == ["osd pool delete", "osd crush rule rm", "osd erasure-code-profile rm", "config-key rm"]
        assert list(ceph.keys) == list(OTHERS)


def observed_with_rule(observation: PoolObservation) -> BlockPoolObservation:
    found = {field.name: getattr(observation, field.name) for field in fields(observation)}
    return BlockPoolObservation(**{**found, "rules": {"replicapool": HOST}})


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([], ()),
        (["rbd_directory", "rbd_info", "csi.volumes.default", "journal.1"], ()),
        (["rbd_info", "rbd_data.7.1.0"], ("data of images that another pool lists",)),
        (["rbd_info", "bucket_index"], ("objects that are not an image's, such as bucket_index",)),
    ],
)
def test_what_is_of_value_without_images(objects: list[str], expected: tuple[str, ...]) -> None:
    """A CephBlockPool may have been given the name of a pool that somebody else made for something else."""
    assert valuables(objects) == expected


def test_an_image_that_is_being_removed_from_the_trash_is_in_the_pool() -> None:
    def listed() -> Iterator[dict[str, str]]:
        yield {"name": "old"}
        raise IndexError("list index out of range")

    assert in_trash(listed(), "team-a/") == [
        "image team-a/old in the trash",
        "images team-a/* in the trash, one of which is being removed",
    ]
