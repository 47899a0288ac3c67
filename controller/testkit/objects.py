"""The objects of an API server in memory: its rules for reads and writes, and garbage collection.

It does these as a real server does (`tests/integration/test_testkit.py` compares them): versions, uids, generations,
conflicts, namespaces, the status subresource, deletion, selectors, server-side apply. It does not validate, default or
prune fields, checks no permissions, converts no objects between versions of a kind, and runs none of Kubernetes'
controllers but the garbage collector and the namespace controller.
"""

from __future__ import annotations

import itertools
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson

from controller.runtime import kube
from controller.testkit.apply import Owner, applied, updated
from controller.testkit.clock import wall_clock
from controller.testkit.ending import TIME, is_over, marked
from controller.testkit.garbage import next_change
from controller.testkit.patches import merge_patch, strategic_merge_patch
from controller.testkit.relations import NAMESPACES
from controller.testkit.rules import check_metadata, conflict, invalid, key_of, typed, update, without_empty
from controller.testkit.selection import Selection
from controller.testkit.served import RETURNED, Served
from controller.testkit.storage import Storage
from controller.testkit.topology import JsonSchema, built_in
from informers import ApiError, Resource
from informers.errors import Cause
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from informers import JsonObject, Key

STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

DEFAULT_MANAGER = "testkit"
"""Owner of fields of writes that name no field manager."""


@dataclass(eq=False)
class Objects:
    """The objects. At first it serves the built-in kinds of `controller.runtime.kube`, and has some namespaces.

    Its methods act at once, and raise the `ApiError` that a client would get. They return copies, which the caller may
    change.

    Args:
        namespaces: Names of the first namespaces.
        now: The wall clock.
        collects: Whether it does the work of the garbage collector and the namespace controller.

    Attributes:
        storage: The objects, and their history.
    """

    namespaces: Iterable[str] = ("default", "kube-system")
    now: Callable[[], datetime] = wall_clock
    collects: bool = True
    storage: Storage = field(default_factory=Storage)

    def __post_init__(self) -> None:
        self._served: dict[tuple[str, str, str], Served] = {}
        self._kinds: dict[str, Resource] = {}
        self._names = itertools.count(1)
        for resource in kube.BUILT_IN.values():
            self.serve(resource)
        for name in self.namespaces:
            self.create(kube.NAMESPACE, {"metadata": {"name": name}})

    # Served kinds.

    def serve(self, resource: Resource, schema: JsonObject | None = None, *, has_status: bool = True) -> None:
        """Serve a kind.

        Args:
            resource: The kind.
            schema: Structural schema of a custom kind, which says how its lists are merged.
            has_status: Whether the status of a custom kind is a subresource.
        """
        topology = built_in(f"{resource.api_version}/{resource.kind}")
        custom = topology is None
        if topology is None:
            topology = JsonSchema(schema or {}, root=True)
        else:
            has_status = topology.declares("status")
        key = (resource.group, resource.version, resource.plural)
        self._served[key] = Served(resource, topology, custom, has_status)
        self._kinds[f"{resource.api_version}/{resource.kind}"] = resource
        self.storage.relations.look_everywhere()

    def install(self, crd: JsonObject) -> None:
        """Serve the versions of a CustomResourceDefinition."""
        spec = crd["spec"]
        for version in spec["versions"]:
            if version["served"]:
                resource = Resource(
                    spec["group"],
                    version["name"],
                    spec["names"]["kind"],
                    spec["names"]["plural"],
                    namespaced=spec["scope"] == "Namespaced",
                )
                has_status = "status" in version.get("subresources", {})
                self.serve(resource, version["schema"]["openAPIV3Schema"], has_status=has_status)

    def withdraw(self, resource: Resource) -> None:
        """Stop serving a kind: its objects are removed, and its watches end."""
        served = self._served.pop((resource.group, resource.version, resource.plural))
        del self._kinds[f"{resource.api_version}/{resource.kind}"]
        for key in list(self.storage.objects(served.collection)):
            self.storage.remove(served.collection, key)

    def served(self, group: str, version: str, plural: str) -> Served:
        """The kind of a path.

        Raises:
            ApiError: 404, the kind is not served.
        """
        try:
            return self._served[group, version, plural]
        except KeyError:
            raise ApiError(404, "", "404 page not found") from None

    # Objects.

    def get(self, resource: Resource, namespace: str, name: str) -> JsonObject:
        """The object. Raises ApiError 404."""
        return _copy(self._present(self._of(resource), (namespace, name)))

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """The object, None if there is none."""
        found = self.storage.objects(self._of(resource).collection).get((namespace, name))
        return None if found is None else _copy(found)

    def matching(self, served: Served, selection: Selection, version: int | None = None) -> list[JsonObject]:
        """The stored objects that match, at a version or now, sorted by namespace and name."""
        storage = self.storage
        found = (
            storage.objects(served.collection) if version is None else storage.objects_at(version, served.collection)
        )
        objects = sorted(found.items())
        return [obj for key, obj in objects if selection.matches(key, obj)]

    def list(
        self, resource: Resource, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> list[JsonObject]:
        """The objects of a namespace, or of all namespaces, sorted by namespace and name."""
        found = self.matching(self._of(resource), Selection(namespace, label_selector, field_selector))
        return [_copy(obj) for obj in found]

    def create(
        self, resource: Resource, obj: JsonObject, *, manager: str = DEFAULT_MANAGER, dry_run: bool = False
    ) -> JsonObject:
        """Create an object; `metadata.generateName` gives it a new name. Raises ApiError 404, 409, 422."""
        served = self._of(resource)
        new = typed(served, _copy(obj))
        metadata = new["metadata"]
        if metadata.get("resourceVersion"):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = f"{metadata['generateName']}{next(self._names):05x}"
        if not metadata.get("name"):
            raise invalid(served, "", "metadata.name", "Required value: name or generateName is required")
        key = key_of(served, new)
        if key in self.storage.objects(served.collection):
            raise ApiError(409, "AlreadyExists", f'{served.resource} "{key[1]}" already exists')
        if served.has_status:
            new.pop("status", None)
        return self._create(served, key, new, self._owner(served, manager), dry_run=dry_run)

    def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        subresource: str = "",
        manager: str = DEFAULT_MANAGER,
        dry_run: bool = False,
    ) -> JsonObject:
        """Replace an object, or its status. Raises ApiError 404, 409, 422."""
        served = self._of(resource, subresource)
        new = typed(served, _copy(obj))
        live = self._present(served, key_of(served, new))
        uid, given = live["metadata"]["uid"], new["metadata"].get("uid")
        if given not in (None, "", uid):
            found = f"UID in precondition: {given}, UID in object meta: {uid}"
            raise conflict(served, live["metadata"]["name"], f"Precondition failed: {found}")
        if served.custom and not new["metadata"].get("resourceVersion"):
            name = live["metadata"]["name"]
            raise invalid(served, name, "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")
        new = update(served, live, new, subresource)
        new = updated(live, new, self._owner(served, manager, subresource=subresource), served.topology)
        return self._store(served, live, new, dry_run=dry_run)

    def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: JsonObject,
        *,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
        manager: str = DEFAULT_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> JsonObject:
        """Patch an object, or its status, by merge patch, strategic merge patch (built-in kinds) or server-side apply.

        Raises ApiError 404, 409, 415, 422.
        """
        served = self._of(resource, subresource)
        key, patch = (namespace, name), _copy(patch)
        if content_type == APPLY_PATCH:
            owner = self._owner(served, manager, "Apply", subresource)
            return self._apply(served, key, patch, owner, force=force, dry_run=dry_run)
        live = self._present(served, key)
        if content_type == MERGE_PATCH:
            new = merge_patch(live, patch)
        elif content_type == STRATEGIC_MERGE_PATCH and not served.custom:
            new = strategic_merge_patch(live, patch, served.topology)
        else:
            raise ApiError(415, "UnsupportedMediaType", f"{served.resource}: no patch of type {content_type}")
        new = update(served, live, new, subresource)
        new = updated(live, new, self._owner(served, manager, subresource=subresource), served.topology)
        return self._store(served, live, new, dry_run=dry_run)

    def put(self, resource: Resource, obj: JsonObject) -> JsonObject:
        """Store the object with its status, whether or not it exists. For a test's first state, or another writer."""
        served = self._of(resource)
        new = typed(served, _copy(obj))
        key = key_of(served, new)
        live = self.storage.objects(served.collection).get(key)
        owner = self._owner(served, DEFAULT_MANAGER)
        if live is None:
            return self._create(served, key, new, owner, dry_run=False)
        new["metadata"].pop("resourceVersion", None)
        new = {**update(served, live, new, ""), **{name: new[name] for name in ("status",) if name in new}}
        return self._store(served, live, updated(live, new, owner, served.topology), dry_run=False)

    def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        propagation: str = "Background",
        grace: int | None = None,
        dry_run: bool = False,
    ) -> JsonObject:
        """Delete an object. With finalizers, or a grace period, it is only marked as being deleted.

        Args:
            resource: The kind.
            namespace: Its namespace.
            name: Its name.
            uid: Precondition: the object has this uid.
            resource_version: Precondition: the object has this version.
            propagation: "Background", "Foreground", "Orphan"; "": the policy that its finalizers say.
            grace: Grace period in seconds of a Pod on a node; None: its own. The kit has no kubelet that ends the Pod.
            dry_run: Change nothing.

        Returns:
            The last state of the object, or a Status, depending on the kind, as the real server does.

        Raises:
            ApiError: 404, 409.
        """
        served = self._of(resource)
        key = (namespace, name)
        live = self._present(served, key)
        metadata = live["metadata"]
        for field_name, wanted in (("uid", uid), ("resourceVersion", resource_version)):
            if wanted and wanted != metadata[field_name]:
                found = f"{field_name} in precondition: {wanted}, {field_name} in object meta: {metadata[field_name]}"
                raise conflict(served, name, f"Precondition failed: {found}")
        left, gone = self._delete(served, key, propagation, grace, dry_run=dry_run)
        if not dry_run:
            self._collect()
        if not gone or (not served.custom and resource.kind in RETURNED):
            return _copy(left)
        details = {"name": name, "group": resource.group, "kind": resource.plural, "uid": metadata["uid"]}
        details = {name: value for name, value in details.items() if value}
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    # Implementation.

    def _of(self, resource: Resource, subresource: str = "") -> Served:
        served = self.served(resource.group, resource.version, resource.plural)
        if subresource and not (subresource == "status" and served.has_status):
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return served

    def _present(self, served: Served, key: Key) -> JsonObject:
        try:
            return self.storage.objects(served.collection)[key]
        except KeyError:
            raise ApiError(404, "NotFound", f'{served.resource} "{key[1]}" not found') from None

    def _owner(self, served: Served, manager: str, operation: str = "Update", subresource: str = "") -> Owner:
        return Owner(manager, operation, subresource, served.resource.api_version, self._time())

    def _time(self) -> str:
        return self.now().strftime(TIME)

    def _apply(
        self, served: Served, key: Key, wanted: JsonObject, owner: Owner, *, force: bool, dry_run: bool
    ) -> JsonObject:
        wanted = typed(served, {**wanted, "metadata": {**wanted.get("metadata", {}), "name": key[1]}})
        if key[0]:
            wanted["metadata"].setdefault("namespace", key[0])
        live = self.storage.objects(served.collection).get(key)
        if live is None:
            if owner.subresource:
                self._present(served, key)
            uid = wanted["metadata"].get("uid")
            if uid:
                raise conflict(served, key[1], f"the object has the uid {uid}, and no existing object was found")
            if served.has_status:
                wanted.pop("status", None)
            new = applied({}, wanted, owner, served.topology, force=force)
            return self._create(served, key, new, None, dry_run=dry_run)
        part = {name: value for name, value in wanted.items() if owner.subresource or name != "status"}
        if owner.subresource:
            part = {name: part[name] for name in ("apiVersion", "kind", "status") if name in part}
            part["metadata"] = {
                name: value
                for name, value in wanted["metadata"].items()
                if name in {"name", "namespace", "uid", "resourceVersion"}
            }
        new = applied(live, part, owner, served.topology, force=force)
        managed = new["metadata"].get("managedFields")
        new = update(served, live, new, owner.subresource)
        new["metadata"] = {name: value for name, value in new["metadata"].items() if name != "managedFields"}
        if managed:
            new["metadata"]["managedFields"] = managed
        return self._store(served, live, new, dry_run=dry_run)

    def _create(self, served: Served, key: Key, new: JsonObject, owner: Owner | None, *, dry_run: bool) -> JsonObject:
        namespace, name = key
        if namespace:
            found = self.storage.objects(NAMESPACES).get(("", namespace))
            if found is None:
                raise ApiError(404, "NotFound", f'namespaces "{namespace}" not found')
            if "deletionTimestamp" in found["metadata"]:
                message = f'{served.resource} "{name}" is forbidden: namespace {namespace} is being terminated'
                cause = Cause(
                    "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
                )
                raise ApiError(403, "Forbidden", message, causes=(cause,))
        check_metadata(served, name, new["metadata"])
        metadata = {
            **new["metadata"],
            "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, str(next(self._names)))),
            "creationTimestamp": self._time(),
        }
        for given in ("deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
            metadata.pop(given, None)
        if served.has_generation:
            metadata["generation"] = 1
        new = {**new, "metadata": without_empty(metadata)}
        if served.collection == NAMESPACES:
            new |= {"spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
        if owner is not None:
            metadata.pop("managedFields", None)
            new = updated({}, new, owner, served.topology)
        if dry_run:
            return _copy(new)
        stored = self.storage.put(served.collection, key, new)
        self._collect()
        return _copy(stored)

    def _store(self, served: Served, live: JsonObject, new: JsonObject, *, dry_run: bool) -> JsonObject:
        """Store the object if it differs. One that is being deleted is removed with its last finalizer."""
        if dry_run or new == live:
            return _copy(new)
        key = key_of(served, live)
        stored = self._removed(served, key, new) if is_over(new) else self.storage.put(served.collection, key, new)
        self._collect()
        return _copy(stored)

    def _delete(
        self, served: Served, key: Key, propagation: str, grace: int | None = None, *, dry_run: bool = False
    ) -> tuple[JsonObject, bool]:
        """Delete the object, or mark it. Returns its last or new state, and whether it is gone."""
        live = self.storage.objects(served.collection)[key]
        new = marked(live, propagation, grace, self.now())
        if served.collection == NAMESPACES:
            new["status"] = {"phase": "Terminating"}
        gone = is_over(new)
        if dry_run or new == live:
            return new, gone
        if gone and served.resource.kind != "Pod":
            return self._removed(served, key, new), gone
        new = self.storage.put(served.collection, key, new)
        return (self._removed(served, key, new) if gone else new), gone

    def _removed(self, served: Served, key: Key, obj: JsonObject) -> JsonObject:
        """Remove an object. Returns its last state with the version of the removal."""
        version = self.storage.remove(served.collection, key)["metadata"]["resourceVersion"]
        return {**obj, "metadata": {**obj["metadata"], "resourceVersion": version}}

    def _collect(self) -> None:
        """Do the work of the garbage collector and the namespace controller, until none is left."""
        while self.collects and (change := next_change(self.storage, self._kinds)) is not None:
            served = next(found for found in self._served.values() if found.collection == change.collection)
            if change.object is None:
                self._delete(served, change.key, change.propagation)
            elif is_over(change.object):
                self.storage.remove(change.collection, change.key)
            else:
                self.storage.put(change.collection, change.key, change.object)


def _copy(obj: JsonObject) -> JsonObject:
    found: JsonObject = orjson.loads(orjson.dumps(obj))
    return found
