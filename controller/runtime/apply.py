"""Server-side apply of desired objects, and only where something differs; pruning of what is no longer wanted.

An applied object carries a digest of what was asked for in an annotation, `Program.digest_annotation`. An apply is
skipped when the digest is the same and the live object has every field as asked. So a reconcile that finds nothing to
do writes nothing, drift is seen and reverted, and a field that is dropped from the desired object is unset in the live
one by the next apply. `altered` deals with what does not become as it is applied.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import orjson
import structlog

from controller.runtime.altered import REMEMBERED, Alterations, Held
from controller.runtime.difference import covers
from controller.runtime.kube import BUILT_IN
from controller.runtime.needed import applied_digest, as_stored, digest_of, left_of, why_needed, with_digest
from informers import ApiError
from informers.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from controller.runtime.kube import HasMetadata
    from controller.runtime.program import Program
    from informers import Client, Informer, InformerFactory, JsonObject, Resource

log = structlog.get_logger(__name__)

APPLY = "application/apply-patch+yaml"

CONFLICTS = 5
"""Times that a status is applied anew because the object has changed; more would be a fight with somebody else."""

_IMMUTABLE = re.compile(
    r"immutable|may not change|cannot change|can not be (un)?set|updates to .* are forbidden", re.IGNORECASE
)
_FIELD_IN_MESSAGE = re.compile(r"(?:invalid: |^)([\w.\[\]]+): (?:Invalid value|Forbidden)")


class ImmutableFieldError(Exception):
    """An apply would change fields that the API server lets nobody change.

    Whoever manages the object has to decide between keeping the fields and deleting the object to make it anew.

    Attributes:
        fields: Their paths, "spec.clusterIP".
    """

    def __init__(self, resource: Resource, namespace: str, name: str, fields: tuple[str, ...], change: str) -> None:
        where = f"{namespace}/{name}" if namespace else name
        super().__init__(
            f"{resource.kind} {where}: {', '.join(fields)} cannot be changed once it is set ({change}); "
            f"delete the {resource.kind} so that it is made anew, or keep the old value"
        )
        self.fields = fields


@dataclass(slots=True)
class ApplyStats:
    """What was applied, what needed no apply, and what was pruned."""

    applied: int = 0
    skipped: int = 0
    pruned: int = 0


class _Status(NamedTuple):
    """What the server made of a status: the digest of what was applied, and one of the status if it is otherwise."""

    digest: str
    left: str | None


class Applier:
    """Applies objects.

    Args:
        client: Sends the writes.
        factory: Its caches show the live objects; a kind that none of them holds is read from the API server each time.
        program: Owns the fields that are applied, and marks objects by its annotation.

    Attributes:
        stats: What it has counted.
    """

    def __init__(self, client: Client, factory: InformerFactory, program: Program) -> None:
        self.stats = ApplyStats()
        self._client = client
        self._factory = factory
        self._program = program
        self._altered = Alterations()
        self._statuses: OrderedDict[tuple[str, ...], _Status] = OrderedDict()
        self._turns = Turns()

    async def apply(self, obj: JsonObject, *, informer: Informer[Any] | None = None, version: str = "") -> bool:
        """Gives the object in the cluster every field of `obj`; creates the object if there is none.

        Args:
            obj: apiVersion, kind, metadata with name (and namespace), and the fields wanted. Fields that an earlier
                apply set and this one does not are unset. `stringData` of a Secret is taken as `data`.
            informer: Of the object's kind; needed for a custom kind that no cache of the factory holds.
            version: Write only over this resourceVersion of the object; ApiError 409 for another one.

        Returns:
            Whether something was written: False when nothing differs.

        Raises:
            ImmutableFieldError: A field that differs cannot be changed.
            ApiError, TransportError: The write failed.
            ValueError: `obj` has a status, or is of a kind that is not known.
        """
        if "status" in obj:
            raise ValueError(f"{_named(obj)}: an apply cannot set status; use apply_status")
        resource = informer.resource if informer is not None else self._resource(obj)
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        await self._turns.checkpoint()
        wanted = as_stored(obj)
        digest, key = digest_of(wanted), self._program.digest_annotation
        live = await self._live(resource, namespace, name)
        change = "it is missing"
        if live is not None:
            known = live
            live = self.held(resource, namespace, name, lambda: known) or live
            change = why_needed(wanted, digest, live, key) or ""
        if not change:
            self.stats.skipped += 1
            return False
        try:
            body = with_digest(wanted, digest, key)
            if version:
                body["metadata"]["resourceVersion"] = version
            made = await self._patch(resource, namespace, name, body, self._program.name)
        except ApiError as error:
            fields = immutable_fields(error)
            if fields:
                raise ImmutableFieldError(resource, namespace, name, fields, change) from error
            raise
        log.info("Applied", object=_named(obj), change=change)
        left = left_of(wanted, digest, made, key)
        if left is not None:
            change = why_needed(wanted, digest, made, key) or change
            log.warning("The API server stores an applied field otherwise than asked", object=_named(obj), field=change)
        self._altered.note(
            (str(resource), namespace, name),
            digest,
            left=left,
            change=change,
            again=live is not None and applied_digest(live, key) == digest,
            now=anyio.current_time(),
            most=self._held(),
        )
        self.stats.applied += 1
        return True

    def held(self, resource: Resource, namespace: str, name: str, decode: Callable[[], JsonObject]) -> Held | None:
        """The object as `Held`, in which `pending` finds nothing to do, while it must not be applied again; else None.

        Args:
            resource: Its kind.
            namespace: Its namespace.
            name: Its name.
            decode: Decodes the object; called only if an earlier apply did not take effect.
        """
        return self._altered.held((str(resource), namespace, name), decode, anyio.current_time())

    async def apply_status(
        self, resource: Resource, namespace: str, name: str, status: JsonObject, *, uid: str
    ) -> bool:
        """Gives the object's status every field of `status`; other fields that an earlier call set are unset.

        The status is written only to the object with that uid, never to a later object of the same name. API servers do
        not check `metadata.uid` when they apply the status of a custom kind, so the status is applied to one version of
        the object. If that is not the latest version, the object is read from the API server and the apply is repeated.

        Args:
            resource: The object's kind.
            namespace: Its namespace.
            name: Its name.
            status: Every field that is wanted. Empty maps in it count as not there.
            uid: Its uid when `status` was computed.

        Returns:
            Whether something was written: False when nothing differs, or the object is gone.

        Raises:
            ApiError: The write failed. A conflict: the object changed each of the `CONFLICTS` times that it was read.
            TransportError: The write failed.
        """
        # Of a map that loses all that was in it, API servers make null, which they then refuse: it is to be left out.
        status = _without_empty_maps(status)
        manager, digest = self._program.status_manager, digest_of(status)
        key = (str(resource), namespace, name, "status", uid)
        conflicts = 0
        live = await self._live(resource, namespace, name)
        while live is not None and live["metadata"]["uid"] == uid:
            if self._has_status(live, status, key, digest):
                self.stats.skipped += 1
                return False
            body: JsonObject = {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {
                    "name": name,
                    **({"namespace": namespace} if namespace else {}),
                    "resourceVersion": live["metadata"]["resourceVersion"],
                },
                "status": status,
            }
            try:
                made = await self._patch(resource, namespace, name, body, manager, "status")
            except ApiError as error:
                if error.is_not_found:
                    return False
                if not error.is_conflict or conflicts == CONFLICTS:
                    raise
                conflicts += 1
                live = await self._client.find(resource, namespace, name)
                continue
            present = made.get("status") or {}
            self._remember(key, _Status(digest, None if covers(present, status) else digest_of(present)))
            self.stats.applied += 1
            return True
        return False

    def _has_status(self, live: JsonObject, status: JsonObject, key: tuple[str, ...], digest: str) -> bool:
        """Whether an apply of `status` would change nothing."""
        present = live.get("status") or {}
        known = self._statuses.get(key)
        # After a restart nothing is remembered. Then fields that are there and not wanted may be ours of old, and one
        # apply finds out; the server leaves alone what others own.
        same = known.digest == digest if known is not None else present.keys() <= status.keys()
        left = None if covers(present, status) else digest_of(present)
        return same and (left is None or known == _Status(digest, left))

    async def prune[T: HasMetadata](
        self,
        informer: Informer[T],
        namespace: str,
        *,
        labels: Mapping[str, str],
        owner_uid: str,
        keep: Collection[str],
    ) -> list[str]:
        """Deletes objects that their owner no longer wants.

        Only the version that the cache shows is deleted, so that an object that was recreated or given to another owner
        since stays.

        Args:
            informer: Holds the objects.
            namespace: Where to look.
            labels: Only objects that carry all of them.
            owner_uid: Only objects that have this owner and no other; objects of several owners go with the last one.
            keep: Names of the objects that are wanted.

        Returns:
            The names of the deleted objects.

        Raises:
            ApiError, TransportError: A deletion failed; further ones were not tried. A conflict: the object has
                changed since the cache saw it; reconcile again.
        """
        deleted: list[str] = []
        async for obj in informer.walk(namespace, labels=labels):
            metadata = obj.metadata
            if (
                metadata.name in keep
                or metadata.deletion_timestamp is not None
                or {owner.uid for owner in metadata.owner_references} != {owner_uid}
            ):
                continue
            await self._client.delete(
                informer.resource,
                metadata.namespace,
                metadata.name,
                uid=metadata.uid,
                resource_version=metadata.resource_version,
            )
            log.info("Pruned", object=f"{informer.resource.kind} {metadata.namespace}/{metadata.name}")
            self.stats.pruned += 1
            deleted.append(metadata.name)
        return deleted

    def _resource(self, obj: JsonObject) -> Resource:
        type_ = (obj["apiVersion"], obj["kind"])
        held = (cache.resource for cache, _ in self._factory.caches())
        found = BUILT_IN.get(type_) or next((r for r in held if (r.api_version, r.kind) == type_), None)
        if found is None:
            raise ValueError(f"{_named(obj)}: no cache holds {obj['apiVersion']} {obj['kind']}; pass the informer")
        return found

    async def _live(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        for cache, _ in self._factory.caches():
            if cache.resource != resource or cache.partial or not cache.synced or cache.scope(namespace) is None:
                continue
            entry = cache.entry(namespace, name)
            if entry is not None:
                found: JsonObject = orjson.loads(entry.data)
                return found
            if not cache.selective:
                return None
        return await self._client.find(resource, namespace, name)

    async def _patch(
        self, resource: Resource, namespace: str, name: str, body: JsonObject, field_manager: str, subresource: str = ""
    ) -> JsonObject:
        return await self._client.patch(
            resource,
            namespace,
            name,
            body,
            content_type=APPLY,
            subresource=subresource,
            params={"fieldManager": field_manager, "force": "true"},
        )

    def _remember(self, key: tuple[str, ...], status: _Status) -> None:
        self._statuses[key] = status
        self._statuses.move_to_end(key)
        if len(self._statuses) > max(REMEMBERED, self._held()):
            self._statuses.popitem(last=False)

    def _held(self) -> int:
        """Objects that the caches hold."""
        return sum(len(cache) for cache, _ in self._factory.caches())


def _without_empty_maps(value: JsonObject) -> JsonObject:
    """The map without maps that are empty, or that have nothing but such ones."""
    kept: JsonObject = {}
    for name, part in value.items():
        if isinstance(part, dict):
            if rest := _without_empty_maps(part):
                kept[name] = rest
        elif isinstance(part, list):
            kept[name] = [_without_empty_maps(item) if isinstance(item, dict) else item for item in part]
        else:
            kept[name] = part
    return kept


def immutable_fields(error: ApiError) -> tuple[str, ...]:
    """The fields that the API server refused to change because nobody may; empty if that is not what it says."""
    if not (error.is_invalid or error.reason == "Forbidden") or not _IMMUTABLE.search(error.message):
        return ()
    named = [cause.field for cause in error.causes if cause.field and _IMMUTABLE.search(cause.message)]
    return tuple(dict.fromkeys(named)) or tuple(_FIELD_IN_MESSAGE.findall(error.message)[:1]) or ("a field",)


def _named(obj: JsonObject) -> str:
    metadata = obj.get("metadata", {})
    namespace = metadata.get("namespace", "")
    return f"{obj.get('kind', '?')} {namespace}{'/' if namespace else ''}{metadata.get('name', '?')}"
