"""The test kit's API server beside a real one: the same requests, the same answers and events."""

import asyncio
import re
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

import controller.testkit
from controller.runtime import kube
from controller.runtime.kube import CONFIG_MAP, DEPLOYMENT, NAMESPACE, NODE, SERVICE
from controller.testkit import ApiServer
from controller.testkit.objects import APPLY_PATCH, STRATEGIC_MERGE_PATCH
from e2e.apiserver import ApiServer as RealServer
from informers import ApiError, Client, JsonObject, Resource
from informers.media import JSON, MERGE_PATCH, METADATA
from tests.integration.topology import published, table, text

GADGET = Resource("testkit.rook.io", "v1", "Gadget", "gadgets")

_TEXT = {"type": "string"}
_PART = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": _TEXT, "size": {"type": "integer"}, "tags": {"type": "array", "items": _TEXT}},
}
CRD: JsonObject = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{GADGET.plural}.{GADGET.group}"},
    "spec": {
        "group": GADGET.group,
        "scope": "Namespaced",
        "names": {"kind": GADGET.kind, "plural": GADGET.plural},
        "versions": [
            {
                "name": GADGET.version,
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "color": _TEXT,
                                    "size": {"type": "integer"},
                                    "parts": {
                                        "type": "array",
                                        "items": _PART,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                    },
                                    "tags": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
                                    "steps": {"type": "array", "items": _TEXT},
                                    "limits": {"type": "object", "additionalProperties": _TEXT},
                                    "whole": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "additionalProperties": _TEXT,
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "phase": _TEXT,
                                    "conditions": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["type"],
                                            "properties": {"type": _TEXT, "status": _TEXT},
                                        },
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}
CRDS = Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)


class Run:
    """One server under the requests of a scenario, and what it answered, without what differs by chance.

    `compact` drops its history. `aged` makes of a continue token one of a version that was compacted: a real server
    serves newer ones from a cache.
    """

    def __init__(
        self, client: Client, namespace: str, compact: Callable[[], object], aged: Callable[[str], str] = str
    ) -> None:
        self.client = client
        self.namespace = namespace
        self.compact = compact
        self.aged = aged
        self.answers: list[Any] = []
        self.versions: list[str] = []
        self.uids: list[str] = []

    def gadget(self, name: str = "g", **fields: Any) -> JsonObject:
        metadata = {"namespace": self.namespace, "name": name, **fields.pop("metadata", {})}
        return {"apiVersion": GADGET.api_version, "kind": GADGET.kind, "metadata": metadata, **fields}

    def config_map(self, name: str = "c", data: dict[str, str] | None = None, **metadata: Any) -> JsonObject:
        about = {"namespace": self.namespace, "name": name, **metadata}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, **({"data": data} if data else {})}

    async def do(self, request: Awaitable[Any]) -> JsonObject:
        """Note the answer, or the error, and return it."""
        try:
            answer = await request
        except ApiError as error:
            causes = sorted((cause.reason, cause.field) for cause in error.causes)
            self.answers.append((error.status, error.reason, causes if error.is_conflict else []))
            return {}
        self.answers.append(self.plain(answer))
        if isinstance(answer, dict) and "uid" in answer.get("metadata", {}):
            self.versions.append(answer["metadata"]["resourceVersion"])
            self.uids.append(answer["metadata"]["uid"])
        return answer if isinstance(answer, dict) else {}

    async def apply(
        self, resource: Resource, obj: JsonObject, manager: str, *, force: bool = False, subresource: str = ""
    ) -> JsonObject:
        metadata = obj["metadata"]
        return await self.do(
            self.client.patch(
                resource,
                metadata.get("namespace", ""),
                metadata["name"],
                obj,
                content_type=APPLY_PATCH,
                subresource=subresource,
                params={"fieldManager": manager, "force": str(force).lower()},
            )
        )

    async def patch(
        self,
        resource: Resource,
        name: str,
        patch: JsonObject,
        *,
        subresource: str = "",
        content_type: str = MERGE_PATCH,
        **params: str,
    ) -> JsonObject:
        request = self.client.patch(
            resource,
            self.namespace,
            name,
            patch,
            content_type=content_type,
            subresource=subresource,
            params=params,
        )
        return await self.do(request)

    async def get(self, resource: Resource, name: str) -> JsonObject:
        return await self.do(self.client.get(resource, self.namespace, name))

    async def list(self, resource: Resource, *, label_selector: str = "", field_selector: str = "") -> None:
        found = await self.client.list(
            resource, self.namespace, label_selector=label_selector, field_selector=field_selector
        )
        self.answers.append([obj["metadata"]["name"] for obj in found])

    async def events(
        self, resource: Resource, since: str, count: int, *, accept: str = JSON, **params: str
    ) -> Sequence[JsonObject]:
        """Note the events of a watch until so many have come, or it ends, and return their objects."""
        found: list[tuple[str, JsonObject]] = []
        rest = b""
        asked = {"watch": "true", **({"resourceVersion": since} if since else {}), **params}
        path = resource.path(self.namespace)
        try:
            with anyio.fail_after(60):
                async with self.client.stream(path, params=asked, accept=accept, idle=30.0) as stream:
                    while len(found) < count and (data := await stream.read()):
                        rest = rest + data
                        *lines, rest = rest.split(b"\n")
                        found += [(event["type"], event["object"]) for event in map(orjson.loads, lines)]
        except ApiError as error:
            self.answers.append((error.status, error.reason))
            return []
        self.answers.append([(kind, self.plain(obj)) for kind, obj in found])
        return [obj for _, obj in found]

    async def send(
        self,
        method: str,
        resource: Resource,
        name: str = "",
        body: JsonObject | bytes | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        token: str = "",
        **params: str,
    ) -> JsonObject:
        """Note the answer to a request, or the error, and return it."""
        path = resource.path(self.namespace, name)
        params |= {"continue": token} if token else {}

        async def decoded() -> Any:
            answer = await self.client.request(
                method, path, params=params, body=body, content_type=content_type, accept=accept
            )
            return orjson.loads(answer)

        return await self.do(decoded())

    async def delete(self, resource: Resource, name: str, **options: Any) -> JsonObject:
        """Note what a deletion answers."""
        return await self.send("DELETE", resource, name, {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    def plain(self, value: Any) -> Any:
        """Without versions, uids, times, and the namespace's name."""
        if isinstance(value, list):
            return [self.plain(item) for item in value]
        if not isinstance(value, dict):
            return value.replace(self.namespace, "NAMESPACE") if isinstance(value, str) else value
        if value.get("kind") == "Status":
            return {name: value.get(name) for name in ("kind", "status", "reason", "code") if value.get(name)} | {
                "details": sorted(value.get("details", {}).keys() & {"name", "uid"})
            }
        plain = {name: self.plain(part) for name, part in value.items() if name != "managedFields"}
        for name in ("uid", "resourceVersion", "continue", "creationTimestamp", "deletionTimestamp", "time"):
            if isinstance(value.get(name), str):
                plain[name] = bool(value[name])
        if "managedFields" in value:
            known = orjson.dumps(value["managedFields"])
            for uid in self.uids:
                known = known.replace(uid.encode(), b"UID")
            owners = [_owner(entry) for entry in orjson.loads(known)]
            plain["managedFields"] = sorted((owner for owner in owners if owner[-1]), key=repr)
        return plain


def _owner(entry: JsonObject) -> Any:
    """Of writes that are no applies a real server notes also the objects that a Go type begins with."""
    fields = entry["fieldsV1"]
    if entry["operation"] == "Update":
        fields = _without_objects(fields)
    return entry["manager"], entry["operation"], entry.get("subresource"), entry["apiVersion"], fields


def _without_objects(fields: JsonObject) -> JsonObject:
    return {name: _without_objects(below) for name, below in fields.items() if name != "." and below != {".": {}}}


type Scenario = Callable[[Run], Awaitable[None]]


async def creating(run: Run) -> None:
    """Names, conflicts, missing namespaces, what a client cannot set."""
    client = run.client
    await run.do(client.create(CONFIG_MAP, run.config_map(data={"a": "1"}, labels={"x": "y"})))
    await run.do(client.create(CONFIG_MAP, run.config_map(data={"a": "2"})))
    await run.do(client.create(CONFIG_MAP, run.config_map(resourceVersion="7", name="v")))
    await run.do(client.create(CONFIG_MAP, {**run.config_map(), "metadata": {"namespace": "nowhere", "name": "c"}}))
    await run.get(CONFIG_MAP, "missing")
    made = await client.create(CONFIG_MAP, {"metadata": {"namespace": run.namespace, "generateName": "gen-"}})
    run.answers.append(bool(re.fullmatch("gen-[a-z0-9]{5}", made["metadata"]["name"])))
    await run.do(client.create(CONFIG_MAP, {"metadata": {"namespace": run.namespace}}))
    gadget = run.gadget(spec={"size": 1}, status={"phase": "Ready"}, metadata={"generation": 7, "uid": "mine"})
    await run.do(client.create(GADGET, gadget))
    await run.do(client.request("POST", GADGET.path(run.namespace), body=run.config_map()))
    await run.do(client.get(Resource("testkit.rook.io", "v1", "Nothing", "nothings"), run.namespace, "x"))
    path = CONFIG_MAP.path(run.namespace)
    dry = await client.request("POST", path, params={"dryRun": "All"}, body=run.config_map("dry"))
    run.answers.append(orjson.loads(dry)["metadata"]["name"])
    await run.get(CONFIG_MAP, "dry")


async def replacing(run: Run) -> None:
    """Versions, uids, generations, status apart from the rest."""
    client = run.client
    made = await run.do(client.create(GADGET, run.gadget(spec={"size": 1})))
    changed = {**made, "spec": {"size": 2}, "status": {"phase": "ignored"}}
    await run.do(client.replace(GADGET, changed))
    await run.do(client.replace(GADGET, changed))
    await run.do(client.replace(GADGET, run.gadget(spec={"size": 3})))
    now = await run.get(GADGET, "g")
    status = {**now, "spec": {"size": 99}, "status": {"phase": "Ready"}}
    status["metadata"] = {**now["metadata"], "annotations": {"note": "by status"}}
    now = await run.do(client.replace(GADGET, status, subresource="status"))
    now["metadata"]["labels"] = {"a": "b"}
    now = await run.do(client.replace(GADGET, now))
    before = run.versions[-1]
    now = await run.do(client.replace(GADGET, now))
    run.answers.append(run.versions[-1] == before)
    now["metadata"]["uid"] = "another"
    await run.do(client.replace(GADGET, now))
    await run.do(client.replace(GADGET, now, subresource="status"))
    await run.do(client.replace(GADGET, run.gadget("missing", metadata={"resourceVersion": "1"})))
    await run.do(client.create(CONFIG_MAP, run.config_map(data={"a": "1"})))
    await run.do(client.replace(CONFIG_MAP, run.config_map(data={"b": "2"})))
    await run.do(client.replace(CONFIG_MAP, run.config_map(data={"b": "3"}), subresource="status"))


async def patching(run: Run) -> None:
    """Merge patches, with and without a version, and strategic ones."""
    await run.do(run.client.create(GADGET, run.gadget(spec={"size": 1, "limits": {"a": "1", "b": "2"}})))
    await run.patch(GADGET, "g", {"spec": {"limits": {"a": None, "c": "3"}, "steps": ["x"]}}, fieldManager="other")
    await run.patch(GADGET, "g", {"metadata": {"resourceVersion": "1"}, "spec": {"size": 5}})
    await run.patch(GADGET, "g", {"metadata": {"uid": "another"}, "spec": {"size": 5}})
    before = run.versions[-1]
    await run.patch(GADGET, "g", {"spec": {"steps": ["x"]}})
    run.answers.append(run.versions[-1] == before)
    await run.patch(GADGET, "g", {"status": {"phase": "Ready"}, "spec": {"size": 9}}, subresource="status")
    old = {"metadata": {"resourceVersion": "1"}, "status": {"phase": "Old"}}
    await run.patch(GADGET, "g", old, subresource="status")
    await run.patch(GADGET, "g", {"metadata": {"uid": "another"}, "status": {"phase": "Other"}}, subresource="status")
    await run.patch(GADGET, "g", {"metadata": {"labels": {"a": "b"}}}, fieldManager="labeller")
    await run.patch(GADGET, "missing", {"spec": {}})
    await run.patch(GADGET, "g", {"spec": {"size": 4}}, content_type=STRATEGIC_MERGE_PATCH)
    await run.patch(GADGET, "g", {"spec": {"size": 8}}, dryRun="All")
    await run.get(GADGET, "g")
    await run.client.create(SERVICE, service(run.namespace))
    conditions = [{"type": "One", **CONDITION}, {"type": "Two", **CONDITION}]
    first = {"status": {"conditions": conditions}}
    await run.client.patch(SERVICE, run.namespace, "s", first, content_type=MERGE_PATCH, subresource="status")
    more = {"status": {"conditions": [{**conditions[0], "status": "False"}, {"type": "Three", **CONDITION}]}}
    found = await run.client.patch(
        SERVICE, run.namespace, "s", more, content_type=STRATEGIC_MERGE_PATCH, subresource="status"
    )
    run.answers.append(sorted((c["type"], c["status"]) for c in found["status"]["conditions"]))


CONDITION = {"status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def service(namespace: str) -> JsonObject:
    """A Service with every field that a server would fill in, but for the address."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "s"},
        "spec": {
            "clusterIP": "None",
            "clusterIPs": ["None"],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "a", "port": 80, "protocol": "TCP", "targetPort": 80}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }


async def applying(run: Run) -> None:
    """Two managers, conflicts, force, fields that are given up."""
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "1", "b": "2"}), "one")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "1", "c": "3"}), "two")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "other", "b": "other"}), "two")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "other"}), "two", force=True)
    await run.apply(CONFIG_MAP, run.config_map(data={"b": "2"}), "one")
    before = run.versions[-1]
    await run.apply(CONFIG_MAP, run.config_map(data={"b": "2"}), "one")
    run.answers.append(run.versions[-1] == before)
    await run.patch(CONFIG_MAP, "c", {"data": {"a": "patched", "d": "4"}}, fieldManager="two")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "again"}), "two")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "again"}, labels={"x": "y"}), "one", force=True)
    await run.apply(CONFIG_MAP, run.config_map(labels={"x": "y"}), "one")
    await run.apply(CONFIG_MAP, run.config_map(), "one")
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "x"}, resourceVersion="1"), "one", force=True)
    await run.apply(CONFIG_MAP, run.config_map(data={"a": "x"}, uid="another"), "one", force=True)
    await run.apply(CONFIG_MAP, run.config_map("missing", data={"a": "x"}, uid="another"), "one", force=True)
    await run.do(run.client.create(CONFIG_MAP, run.config_map("plain", data={"a": "1"})))
    await run.apply(CONFIG_MAP, run.config_map("plain", data={"a": "2"}), "one")
    await run.apply(CONFIG_MAP, run.config_map("plain", data={"a": "2"}), "one", force=True)


async def applying_lists(run: Run) -> None:
    """Lists by key, sets, lists and objects that are wholes."""

    async def apply(manager: str, *, force: bool = False, **spec: Any) -> None:
        await run.apply(GADGET, run.gadget(spec=spec), manager, force=force)

    def part(name: str, **fields: Any) -> JsonObject:
        return {"name": name, **fields}

    await apply("one", parts=[part("a", size=1), part("b", size=2)], tags=["x", "y"], steps=["1"], whole={"a": "1"})
    await apply("two", parts=[part("c", size=3), part("a", tags=["t"])], tags=["y", "z"], limits={"cpu": "1"})
    await apply("two", parts=[part("a", size=9)])
    await apply("one", parts=[part("b", size=2)], tags=["x"], steps=["1"], whole={"a": "1"})
    await apply("two", parts=[part("d"), part("b"), part("c", size=4)], tags=["z"], steps=["2"], force=True)
    await apply("two", whole={"b": "2"})
    await apply("two", whole={"b": "2"}, force=True)
    await apply("one", limits={"cpu": "1"})
    await run.patch(GADGET, "g", {"spec": {"parts": [part("b", size=7), part("e")]}}, fieldManager="three")
    await apply("one", limits={})
    await apply("one", limits={"cpu": "1"})
    await apply("one", parts=[part("e", size=1), part("f")])
    await apply("one", size=3)
    await apply("two")
    await run.apply(GADGET, run.gadget(), "one")


async def applying_status(run: Run) -> None:
    """Status by a manager of its own."""
    await run.apply(GADGET, run.gadget(status={"phase": "X"}), "status", subresource="status")
    await run.apply(GADGET, run.gadget(spec={"size": 1}, status={"phase": "ignored"}), "one")

    async def apply(manager: str, *, force: bool = False, **status: Any) -> None:
        await run.apply(GADGET, run.gadget(status=status), manager, force=force, subresource="status")

    await apply("status", phase="Ready", conditions=[{"type": "A", "status": "True"}])
    await apply("other", conditions=[{"type": "B", "status": "True"}, {"type": "A", "status": "False"}])
    await apply("other", conditions=[{"type": "B", "status": "True"}])
    await apply("status", phase="Ready")
    await apply("status")
    await run.apply(GADGET, run.gadget(spec={"size": 2}), "one")
    await run.apply(
        GADGET, run.gadget(status={"phase": "x"}, metadata={"uid": "other"}), "status", subresource="status"
    )


async def identities(run: Run) -> None:
    """What a uid and a version in a patch protect: not the status of a custom kind from a wrong uid."""
    await run.do(run.client.create(GADGET, run.gadget(spec={"size": 1})))
    made = await run.client.create(SERVICE, service(run.namespace))
    right = await run.client.get(GADGET, run.namespace, "g")
    wrong = {"uid": "11111111-2222-3333-4444-555555555555"}
    old = {"resourceVersion": "1"}
    conditions = {"conditions": [{"type": "One", **CONDITION}]}
    for resource, obj, status in ((GADGET, right, {"phase": "A"}), (SERVICE, made, conditions)):
        name, own = obj["metadata"]["name"], {key: obj["metadata"][key] for key in ("uid", "resourceVersion")}
        types = [MERGE_PATCH, APPLY_PATCH, *([STRATEGIC_MERGE_PATCH] if resource == SERVICE else [])]
        for metadata in (wrong, old, wrong | old, own, own | wrong):
            about = {"namespace": run.namespace, "name": name, **metadata}
            typed = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": about}
            for content_type in types:
                for subresource, body in (
                    ("", {**typed, "metadata": {**about, "labels": {"a": "b"}}}),
                    ("status", {**typed, "status": status}),
                ):
                    try:
                        await run.client.patch(
                            resource,
                            run.namespace,
                            name,
                            body,
                            content_type=content_type,
                            subresource=subresource,
                            params={"dryRun": "All"} | ({"fieldManager": "m"} if content_type == APPLY_PATCH else {}),
                        )
                        status_code = 200
                    except ApiError as error:
                        status_code = error.status
                    run.answers.append((resource.kind, metadata.keys(), content_type, subresource, status_code))


async def applying_what_nobody_owns(run: Run) -> None:
    """Objects that were made without a field, and changed, before they are applied."""
    for resource, made in ((GADGET, run.gadget()), (CONFIG_MAP, run.config_map())):
        await run.do(run.client.create(resource, made))
        name, namespace = made["metadata"]["name"], run.namespace
        for labels in ({"a": "1"}, {"b": "2"}):
            await run.patch(resource, name, {"metadata": {"labels": labels}})
        about = {"namespace": namespace, "name": name}
        wanted = {**made, "metadata": {**about, "labels": {"a": "3", "c": "4"}}}
        await run.apply(resource, wanted, "one")
        await run.apply(resource, wanted, "one", force=True)
        await run.patch(resource, name, {"metadata": {"labels": {"b": "5"}}})
        await run.apply(resource, {**made, "metadata": about}, "one")


async def applying_built_in_lists(run: Run) -> None:
    """Containers, variables and ports of a Deployment; only of what was applied, since a server fills in the rest."""

    def deployment(containers: list[JsonObject], **spec: Any) -> JsonObject:
        labels = {"app": "d"}
        pod = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
        return {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"namespace": run.namespace, "name": "d"},
            "spec": {"selector": {"matchLabels": labels}, "template": pod, **spec},
        }

    async def apply(manager: str, containers: list[JsonObject], *, force: bool = False, **spec: Any) -> None:
        try:
            found = await run.client.patch(
                DEPLOYMENT,
                run.namespace,
                "d",
                deployment(containers, **spec),
                content_type=APPLY_PATCH,
                params={"fieldManager": manager, "force": str(force).lower()},
            )
        except ApiError as error:
            run.answers.append((error.status, error.reason, sorted(cause.field for cause in error.causes)))
            return
        pod = found["spec"]["template"]["spec"]["containers"]
        shown = [{name: c.get(name) for name in ("name", "image", "env")} for c in pod]
        ports = [[{"protocol": "TCP"} | port for port in c.get("ports", ())] for c in pod]  # a server fills that in
        owners = [_owner(entry) for entry in found["metadata"]["managedFields"]]
        run.answers.append((shown, ports, owners, found["metadata"]["generation"]))

    port = {"containerPort": 80, "protocol": "TCP"}
    main = {"name": "main", "image": "a:1"}
    await apply("one", [{**main, "env": [{"name": "A", "value": "1"}], "ports": [port]}], replicas=1)
    await apply("two", [{**main, "env": [{"name": "B", "value": "2"}]}, {"name": "side", "image": "b:1"}])
    await apply("two", [{"name": "main", "image": "a:2", "ports": [{**port, "protocol": "UDP"}]}], replicas=2)
    await apply("two", [{"name": "main", "image": "a:2", "ports": [{**port, "protocol": "UDP"}]}], force=True)
    await apply("one", [{"name": "main", "ports": [{"containerPort": 80}]}])


async def deleting(run: Run) -> None:
    """Finalizers, preconditions, what is left of what ends."""
    client, namespace = run.client, run.namespace
    made = await run.do(client.create(GADGET, run.gadget(spec={"size": 1}, metadata={"finalizers": ["a.io/x"]})))

    async def delete(name: str, **options: Any) -> None:
        path = GADGET.path(namespace, name)
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": options}
        request = client.request("DELETE", path, body=body)

        async def answer() -> Any:
            return orjson.loads(await request)

        await run.do(answer())

    await delete("g", uid="another")
    await delete("g", resourceVersion="1")
    await delete("g", uid=made["metadata"]["uid"])
    before = (await run.get(GADGET, "g"))["metadata"]["resourceVersion"]
    await delete("g")
    run.answers.append((await run.get(GADGET, "g"))["metadata"]["resourceVersion"] == before)
    await run.patch(GADGET, "g", {"metadata": {"finalizers": ["a.io/x", "a.io/y"]}})
    await run.patch(GADGET, "g", {"metadata": {"labels": {"still": "here"}}})
    await run.patch(GADGET, "g", {"metadata": {"deletionTimestamp": None}})
    await run.patch(GADGET, "g", {"metadata": {"finalizers": None}})
    await run.get(GADGET, "g")
    await delete("g")
    await run.do(client.create(CONFIG_MAP, run.config_map()))
    await run.do(client.delete(CONFIG_MAP, namespace, "c"))
    await run.do(client.delete(CONFIG_MAP, namespace, "c"))
    again = await run.do(client.create(CONFIG_MAP, run.config_map()))
    run.answers.append(again["metadata"]["uid"] not in run.uids[:-1])


async def watching(run: Run) -> None:
    """Events of everything that happens, and of what a selector sees."""
    client, namespace = run.client, run.namespace
    first = await client.create(GADGET, run.gadget("first", spec={"color": "red"}))
    since = first["metadata"]["resourceVersion"]
    await client.create(GADGET, run.gadget("g", spec={"color": "red"}, metadata={"labels": {"app": "x"}}))

    async def patch(name: str, change: JsonObject, subresource: str = "") -> None:
        await client.patch(GADGET, namespace, name, change, content_type=MERGE_PATCH, subresource=subresource)

    await patch("g", {"spec": {"color": "blue"}})
    await patch("g", {"spec": {"color": "blue"}})
    await patch("g", {"metadata": {"labels": {"app": "y"}}})
    await patch("g", {"metadata": {"labels": {"app": "x"}}})
    await patch("g", {"status": {"phase": "Ready"}}, "status")
    await patch("first", {"metadata": {"finalizers": ["a.io/x"]}})
    await client.delete(GADGET, namespace, "first")
    await patch("first", {"metadata": {"finalizers": []}})
    await client.delete(GADGET, namespace, "g")
    await client.create(GADGET, run.gadget("g", spec={"color": "red"}))
    await run.events(GADGET, since, 10)
    await run.events(GADGET, since, 6, labelSelector="app=x")
    await run.events(GADGET, since, 2, labelSelector="app=y")
    await run.events(GADGET, since, 5, fieldSelector="spec.color=blue")
    await run.events(GADGET, since, 7, fieldSelector="metadata.name=g")
    initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    await run.events(GADGET, "", 2, **initial)
    await run.events(GADGET, "0", 1)


async def listing(run: Run) -> None:
    """Pages, selectors, metadata alone."""
    client, namespace = run.client, run.namespace
    for number, name in enumerate(("e", "d", "c", "b", "a")):
        gadget = run.gadget(
            name, spec={"color": ("red", "blue")[number % 2]}, metadata={"labels": {"n": str(number), "all": ""}}
        )
        await client.create(GADGET, gadget)
    for selector in ("n=1", "n!=1", "n in (1,2)", "n notin (1, 2)", "n", "!n", "all", "all=,n=3", "x", "n==4"):
        await run.list(GADGET, label_selector=selector)
    for selector in ("metadata.name=a", "metadata.name!=a", f"metadata.namespace={namespace}", "spec.color=red"):
        await run.list(GADGET, field_selector=selector)
    await run.list(GADGET, field_selector="spec.color!=red,metadata.name=b", label_selector="n")
    token = ""
    for _ in range(3):
        params = {"limit": "2", **({"continue": token} if token else {})}
        page = orjson.loads(await client.request("GET", GADGET.path(namespace), params=params))
        token = page["metadata"].get("continue", "")
        names = [item["metadata"]["name"] for item in page["items"]]
        run.answers.append((names, bool(token), page["metadata"].get("remainingItemCount"), page["kind"]))
        await client.create(GADGET, run.gadget(f"aa{uuid.uuid4().hex[:6]}"))
    partial = orjson.loads(
        await client.request("GET", GADGET.path(namespace), params={"labelSelector": "n=0"}, accept=METADATA.list)
    )
    run.answers.append([(item["kind"], item["apiVersion"], sorted(item)) for item in partial["items"]])
    await run.do(client.request("GET", GADGET.path(namespace), params={"labelSelector": "a=b=c"}))


async def namespaces(run: Run) -> None:
    """A namespace that ends takes no new objects."""
    name = f"ending-{uuid.uuid4().hex[:8]}"
    await run.client.create(NAMESPACE, {"metadata": {"name": name}})
    await run.client.create(CONFIG_MAP, {"metadata": {"namespace": name, "name": "c", "finalizers": ["a.io/x"]}})
    await run.client.delete(NAMESPACE, "", name)
    found = await run.client.get(NAMESPACE, "", name)
    run.answers.append((found["status"]["phase"], found["spec"], "deletionTimestamp" in found["metadata"]))
    await run.do(run.client.create(CONFIG_MAP, {"metadata": {"namespace": name, "name": "late"}}))


async def generations(run: Run) -> None:
    """Which built-in kinds count changes, and what a deletion answers."""
    meta = {"namespace": run.namespace, "name": "x"}
    template: JsonObject = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    selector = {"matchLabels": {"a": "b"}}
    job = {**template["spec"], "restartPolicy": "Never"}
    claim: JsonObject = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    volume: JsonObject = {**claim, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
    volume.pop("resources")
    name = f"x-{uuid.uuid4().hex[:8]}"
    attachment = {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    made: list[tuple[Resource, JsonObject]] = [
        (kube.POD, {"metadata": meta, "spec": template["spec"]}),
        (kube.SERVICE, {"metadata": meta, "spec": {"ports": [{"port": 1}]}}),
        (kube.SERVICE_ACCOUNT, {"metadata": meta}),
        (kube.SECRET, {"metadata": meta}),
        (kube.PVC, {"metadata": meta, "spec": claim}),
        (kube.PV, {"metadata": {"name": name}, "spec": volume}),
        (kube.DEPLOYMENT, {"metadata": meta, "spec": {"selector": selector, "template": template}}),
        (kube.DAEMONSET, {"metadata": meta, "spec": {"selector": selector, "template": template}}),
        (kube.STATEFULSET, {"metadata": meta, "spec": {"selector": selector, "template": template}}),
        (kube.JOB, {"metadata": meta, "spec": {"template": {"spec": job}}}),
        (kube.PDB, {"metadata": meta, "spec": {"minAvailable": 1, "selector": selector}}),
        (kube.LEASE, {"metadata": meta, "spec": {}}),
        (NODE, {"metadata": {"name": name}, "spec": {}}),
        (kube.STORAGE_CLASS, {"metadata": {"name": name}, "provisioner": "p"}),
        (kube.VOLUME_ATTACHMENT, {"metadata": {"name": name}, "spec": attachment}),
        (kube.CSI_DRIVER, {"metadata": {"name": name}, "spec": {}}),
        (kube.CSI_NODE, {"metadata": {"name": name}, "spec": {"drivers": []}}),
        (kube.CSI_STORAGE_CAPACITY, {"metadata": meta, "storageClassName": "c"}),
    ]
    for resource, obj in made:
        found = await run.client.create(resource, obj)
        patch: JsonObject = {"status": {}}
        path = resource.path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"], "status")
        try:
            await run.client.request("PATCH", path, body=patch, content_type=MERGE_PATCH)
            has_status = True
        except ApiError as error:
            has_status = not error.is_not_found
        path = resource.path(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        free: JsonObject = {"metadata": {"finalizers": None}}  # admission protects claims and volumes by one
        await run.client.request("PATCH", path, body=free, content_type=MERGE_PATCH)
        ended = orjson.loads(await run.client.request("DELETE", path))
        run.answers.append((resource.kind, found["metadata"].get("generation"), has_status, ended["kind"]))
        run.answers.append(ended["metadata"].get("finalizers"))
    assert {resource for resource, _ in made} == set(kube.BUILT_IN.values()) - {NAMESPACE, CONFIG_MAP, kube.EVENT}


async def expiring(run: Run) -> None:
    """Watches and pages of versions whose history is gone."""
    client = run.client
    for name in "abcde":
        await client.create(GADGET, run.gadget(name))
    page = orjson.loads(await client.request("GET", GADGET.path(run.namespace), params={"limit": "2"}))
    await client.create(CONFIG_MAP, run.config_map("late"))
    await asyncio.to_thread(run.compact)
    # Of a built-in kind, which it has served from the beginning, a real server's cache may still know everything.
    await run.send("GET", GADGET, limit="2", token=run.aged(page["metadata"]["continue"]))
    for accept in (JSON, METADATA.list):
        await run.send("GET", GADGET, accept=accept, resourceVersion="1", resourceVersionMatch="Exact")
    for accept in (JSON, METADATA.watch):
        await run.events(GADGET, "1", 2, accept=accept)
    await run.events(GADGET, "1", 2, allowWatchBookmarks="true", labelSelector="x=y")
    initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    await run.events(GADGET, "1", 6, **initial)
    found = await client.request("GET", GADGET.path(run.namespace), params={"resourceVersion": "1"})
    run.answers.append([item["metadata"]["name"] for item in orjson.loads(found)["items"]])


async def versions_asked_for(run: Run) -> None:
    """What a list or a watch may ask for, versions to come, and one of the past."""
    first = await run.client.create(GADGET, run.gadget("first"))
    await run.client.create(GADGET, run.gadget("second"))
    past = first["metadata"]["resourceVersion"]
    match = {"resourceVersionMatch": "NotOlderThan"}
    exact = {"resourceVersionMatch": "Exact"}
    future = "99999999"
    for params in (
        exact,
        {"resourceVersion": "abc"},
        {"resourceVersion": past, "resourceVersionMatch": "Nonsense"},
        {"resourceVersion": future},
        {"resourceVersion": future, **match},
        {"resourceVersion": future, **exact},
    ):
        await run.send("GET", GADGET, "", None, JSON, JSON, "", **params)
    await run.send("GET", GADGET, token="x!")
    found = orjson.loads(
        await run.client.request("GET", GADGET.path(run.namespace), params={"resourceVersion": past, **exact})
    )
    run.answers.append([item["metadata"]["name"] for item in found["items"]])
    run.answers.append(found["metadata"]["resourceVersion"] == past)
    page = orjson.loads(await run.client.request("GET", GADGET.path(run.namespace), params={"limit": "1"}))
    token = page["metadata"]["continue"]
    await run.send("GET", GADGET, limit="1", resourceVersion=past, token=token)
    await run.send("GET", GADGET, limit="1", token=token, resourceVersionMatch="NotOlderThan")
    await run.events(GADGET, "abc", 1)
    await run.events(GADGET, past, 1, **match)
    await run.events(GADGET, past, 1, sendInitialEvents="true")
    await run.events(GADGET, past, 1, sendInitialEvents="true", **exact)
    await run.events(GADGET, past, 1, sendInitialEvents="false", **match)
    await run.events(GADGET, "", 1, sendInitialEvents="false", timeoutSeconds="1", **match)
    await run.events(GADGET, future, 1, sendInitialEvents="true", allowWatchBookmarks="true", **match)


async def bookmarks(run: Run) -> None:
    """That initial events have ended, where a watch is, and who does not want to know."""
    client = run.client
    await client.create(GADGET, run.gadget("first", metadata={"labels": {"a": "b"}}))
    await client.create(CONFIG_MAP, run.config_map())
    wanted = {"allowWatchBookmarks": "true"}
    initial = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    for resource, selector in ((GADGET, ""), (GADGET, "a=b"), (GADGET, "a=c"), (CONFIG_MAP, "")):
        count = 2 if selector != "a=c" else 1
        found = await run.events(resource, "", count, labelSelector=selector, **initial, **wanted)
        versions = [int(obj["metadata"]["resourceVersion"]) for obj in found]
        run.answers.append(versions == sorted(versions))
    for resource in (GADGET, CONFIG_MAP):
        await run.events(resource, "", 2, accept=METADATA.watch, **initial, **wanted)
    await run.events(GADGET, "", 2, timeoutSeconds="1", **initial)
    for since in ("", "0"):
        await run.events(GADGET, since, 3, timeoutSeconds="1")
        await run.events(GADGET, since, 3, timeoutSeconds="1", **wanted)
        await run.events(GADGET, since, 2, **initial, **wanted)
    now = (await client.get(GADGET, run.namespace, "first"))["metadata"]["resourceVersion"]
    await run.events(GADGET, now, 2, timeoutSeconds="1", **wanted)
    await run.events(GADGET, now, 1, timeoutSeconds="4", **wanted)
    await run.events(GADGET, now, 2, timeoutSeconds="4")


async def encodings(run: Run) -> None:
    """Single objects and lists, whole and their metadata alone, and what cannot be had."""
    for name in ("c", "d"):
        await run.client.create(GADGET, run.gadget(name, metadata={"labels": {"a": "b"}}))
        await run.client.create(CONFIG_MAP, run.config_map(name, {"a": "1"}, annotations={"x": "y"}))
    for resource in (GADGET, CONFIG_MAP):
        for accept in (JSON, METADATA.watch, "text/plain", f"text/plain, {JSON}", "*/*", f"{JSON};as=Nonsense"):
            await run.send("GET", resource, "c", accept=accept)
        await run.send("GET", resource, "missing", accept=METADATA.watch)
        await run.send("GET", resource, limit="1", accept=METADATA.list)
        await run.send("GET", resource, accept=f"text/plain,{METADATA.list}")
        body = run.gadget("new") if resource == GADGET else run.config_map("new")
        await run.send("POST", resource, "", body)
        await run.send("POST", resource, "", body, accept=METADATA.watch)
        await run.send("PUT", resource, "new", body, "text/plain")
        await run.send("POST", resource, "", b"no JSON")
        await run.send("PATCH", resource, "new", {"metadata": {"labels": {"a": "b"}}}, MERGE_PATCH, METADATA.watch)
        await run.send("DELETE", resource, "new")
        await run.send("DELETE", resource, "new")
        await run.events(resource, "0", 1, accept=METADATA.watch)
    await run.send("GET", CONFIG_MAP, limit="1", labelSelector="none=there")


async def ending(run: Run) -> None:
    """Policies of deletion, and what becomes of finalizers and of the time at which an object ends."""
    client = run.client

    async def make(name: str, resource: Resource = GADGET, **metadata: Any) -> JsonObject:
        obj = run.gadget(name, metadata=metadata) if resource == GADGET else run.config_map(name, **metadata)
        return await run.do(client.create(resource, obj))

    for resource in (GADGET, CONFIG_MAP):
        for policy in ("Background", "Foreground", "Orphan", "Nonsense"):
            await make(policy.lower(), resource)
            await run.delete(resource, policy.lower(), propagationPolicy=policy)
            await run.get(resource, policy.lower())
    cases: list[tuple[list[str], JsonObject]] = [
        (["foregroundDeletion"], {"propagationPolicy": "Background"}),
        (["orphan", "a.io/x"], {"propagationPolicy": "Background"}),
        (["orphan", "a.io/x"], {"propagationPolicy": "Foreground"}),
        (["orphan"], {}),
        (["foregroundDeletion"], {}),
        ([], {"orphanDependents": True}),
        ([], {"orphanDependents": False}),
        ([], {"orphanDependents": True, "propagationPolicy": "Orphan"}),
        ([], {"gracePeriodSeconds": 7}),
        (["a.io/x"], {"gracePeriodSeconds": 7}),
        (["a.io/x"], {"dryRun": ["All"]}),
        ([], {"dryRun": ["All"]}),
    ]
    for number, (finalizers, options) in enumerate(cases):
        await make(f"x{number}", finalizers=finalizers)
        await run.delete(GADGET, f"x{number}", **options)
        await run.get(GADGET, f"x{number}")
    await make("again", finalizers=["a.io/x"])
    for policy in ("Foreground", "", "Orphan", "Background"):
        await run.delete(GADGET, "again", **({"propagationPolicy": policy} if policy else {}))
    await make("query")
    await run.send("DELETE", GADGET, "query", dryRun="All")
    await run.send("DELETE", GADGET, "query", {"kind": "DeleteOptions", "apiVersion": "v1"}, dryRun="All")
    await make("query")
    await run.send("DELETE", GADGET, "query", propagationPolicy="Foreground", gracePeriodSeconds="3")
    made = await make("both")
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    for preconditions in ({"uid": uid, "resourceVersion": "1"}, {"uid": "other", "resourceVersion": version}):
        await run.delete(GADGET, "both", preconditions=preconditions)
    for resource in (GADGET, CONFIG_MAP):
        await make("contradicts", resource, finalizers=["orphan", "foregroundDeletion"])
    await make("young", deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=3)
    for change in ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {"deletionGracePeriodSeconds": 5}):
        await run.patch(GADGET, "young", {"metadata": change})
    await run.patch(GADGET, "x9", {"metadata": {"deletionGracePeriodSeconds": 5}})
    await run.patch(GADGET, "x9", {"metadata": {"finalizers": None}}, subresource="status")
    applied = run.gadget("x9", metadata={"finalizers": ["b.io/y"]})
    await run.apply(GADGET, applied, "one")
    await run.patch(GADGET, "x9", {"metadata": {"finalizers": []}})
    await run.get(GADGET, "x9")
    await run.delete(GADGET, "both", preconditions={"uid": uid, "resourceVersion": version})


async def owners(run: Run) -> None:
    """What a reference to an owner has to have; nobody collects garbage here."""
    owner = await run.do(run.client.create(GADGET, run.gadget("owner")))
    reference = {
        "apiVersion": GADGET.api_version,
        "kind": GADGET.kind,
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    for number, references in enumerate(
        [
            [reference],
            [{**reference, "controller": True, "blockOwnerDeletion": True}],
            [{**reference, "controller": True}, {**reference, "uid": "other", "controller": True}],
            *([{**reference, name: ""}] for name in reference),
            *([{name: value for name, value in reference.items() if name != left}] for left in reference),
        ]
    ):
        name = f"d{number}"
        await run.do(run.client.create(GADGET, run.gadget(name, metadata={"ownerReferences": references})))
        await run.do(run.client.create(CONFIG_MAP, run.config_map(name, ownerReferences=references)))
    await run.patch(GADGET, "d0", {"metadata": {"ownerReferences": [{**reference, "uid": ""}]}})
    another = {**reference, "name": "other", "uid": "other"}
    await run.apply(GADGET, run.gadget("d0", metadata={"ownerReferences": [another]}), "one")
    await run.delete(GADGET, "owner", propagationPolicy="Foreground")
    await run.get(GADGET, "d0")


async def pods(run: Run) -> None:
    """Pods on a node have time to stop; there is no kubelet that would end them."""
    client = run.client
    since = (await client.create(kube.POD, pod(run.namespace, "first")))["metadata"]["resourceVersion"]

    async def make(name: str, seconds: int | None = None, *, finalizers: Sequence[str] = ()) -> None:
        obj = pod(run.namespace, name, node="n", seconds=seconds)
        await client.create(kube.POD, {**obj, "metadata": {**obj["metadata"], "finalizers": list(finalizers)}})

    async def delete(name: str, **options: Any) -> None:
        found = await client.request(
            "DELETE",
            kube.POD.path(run.namespace, name),
            body={"kind": "DeleteOptions", "apiVersion": "v1", **options},
        )
        note(orjson.loads(found))
        try:
            note(await client.get(kube.POD, run.namespace, name))
        except ApiError as error:
            run.answers.append(error.status)

    def note(obj: JsonObject) -> None:
        """What of a pod is not filled in."""
        shown = ("finalizers", "deletionGracePeriodSeconds", "generation")
        run.answers.append((obj["kind"], [obj["metadata"].get(name) for name in shown]))

    await delete("first")
    await make("a")
    for options in ({}, {"gracePeriodSeconds": 50}, {"gracePeriodSeconds": 20}, {"gracePeriodSeconds": 0}):
        await delete("a", **options)
    await make("b", 600)
    await delete("b", propagationPolicy="Foreground")
    await delete("b", propagationPolicy="Background")
    await delete("b", gracePeriodSeconds=500, propagationPolicy="Background")
    await make("c", 0)
    await delete("c")
    await make("d", finalizers=["a.io/x"])
    await delete("d")
    await delete("d", gracePeriodSeconds=0)
    await client.patch(kube.POD, run.namespace, "d", {"metadata": {"finalizers": []}}, content_type=MERGE_PATCH)
    await make("e", finalizers=["a.io/x"])
    await delete("e")
    await client.patch(kube.POD, run.namespace, "e", {"metadata": {"finalizers": []}}, content_type=MERGE_PATCH)
    note(await client.get(kube.POD, run.namespace, "e"))
    await make("f")
    done = {"status": {"phase": "Succeeded"}}
    await client.patch(kube.POD, run.namespace, "f", done, content_type=MERGE_PATCH, subresource="status")
    await delete("f")
    await make("g")
    await delete("g", gracePeriodSeconds=-5)
    await run.client.create(kube.POD, pod(run.namespace, "last"))
    events: list[Any] = []
    async with client.stream(
        kube.POD.path(run.namespace), params={"watch": "true", "resourceVersion": since}, idle=10
    ) as stream:
        rest = b""
        while not events or events[-1][1] != "last":
            *lines, rest = (rest + await stream.read()).split(b"\n")
            for event in map(orjson.loads, lines):
                metadata = event["object"]["metadata"]
                events.append((event["type"], metadata["name"], metadata.get("deletionGracePeriodSeconds")))
    run.answers.append(events)


def pod(namespace: str, name: str, *, node: str = "", seconds: int | None = None) -> JsonObject:
    spec = {"containers": [{"name": "c", "image": "i"}], **({"nodeName": node} if node else {})}
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec | ({} if seconds is None else {"terminationGracePeriodSeconds": seconds}),
    }


def older(token: str) -> str:
    """A continue token for the same place in a list of version 1."""
    about = orjson.loads(urlsafe_b64decode(token + "=="))
    return urlsafe_b64encode(orjson.dumps({**about, "rv": 1})).decode().rstrip("=")


@pytest.fixture
async def real(apiserver: RealServer, client: Client, namespace: str) -> Run:
    try:
        await client.create(CRDS, CRD)
    except ApiError as error:
        if not error.is_already_exists:
            raise
    with anyio.fail_after(60):
        while True:
            try:
                await client.list(GADGET, namespace)
                return Run(client, namespace, apiserver.compact, older)
            except ApiError:
                await anyio.sleep(0.1)


@pytest.mark.parametrize(
    "scenario",
    [
        creating,
        replacing,
        patching,
        applying,
        applying_lists,
        applying_status,
        identities,
        applying_what_nobody_owns,
        applying_built_in_lists,
        deleting,
        watching,
        listing,
        namespaces,
        generations,
        expiring,
        versions_asked_for,
        bookmarks,
        encodings,
        ending,
        owners,
        pods,
    ],
)
async def test_answers_as_a_real_server_does(scenario: Scenario, real: Run) -> None:
    server = ApiServer(namespaces=("default", real.namespace), collects=False)
    server.install(CRD)
    kit = Run(server.client(manager="tests"), real.namespace, server.compact)

    await scenario(real)
    await scenario(kit)

    for number, (ours, theirs) in enumerate(zip(kit.answers, real.answers, strict=True)):
        assert ours == theirs, f"answer {number} of {scenario.__name__}"


async def test_how_fields_are_merged_is_what_a_real_server_publishes(client: Client) -> None:
    file = Path(controller.testkit.__file__).with_name("topology.json")
    assert file.read_text() == text(table(await published(client))), "run: python -m tests.integration.topology"
