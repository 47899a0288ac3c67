"""Requests to the API server: objects are read, created, replaced, patched and deleted, each call with a deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self

import orjson

from informers.configuration import discover
from informers.errors import ApiError, RefusedError, TransportError
from informers.http import HttpTransport

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from informers.resource import JsonObject, Resource
    from informers.transport import ClientStats, Stream, Transport

PAGE: Final = 500
"""Objects of one page of a list; client-go's figure."""

type FieldValidation = Literal["Strict", "Warn", "Ignore"]
"""What the API server does about unknown and duplicate fields: refuse, answer with a `Warning` header, drop them."""

RESTARTS: Final = 5
"""Times that a list by pages is begun anew because its history expired."""


class Client:
    """A client of one API server. Enter it as an async context; it must live in one event loop.

    Args:
        transport: The way to the server.

    Attributes:
        transport: The way to the server.
        on_write: Called with (resource, namespace, name) before each create, replace, patch and delete is sent; the
            name is empty where the server generates it. The function that it returns is called with the answer: the
            object, or a Status for a deletion that took effect at once; or with None when certainly nothing was
            written. It is not called when the outcome is unknown. Plain `request` calls do not notify.
    """

    def __init__(self, transport: Transport) -> None:
        self.on_write: Callable[[Resource, str, str], Callable[[JsonObject | None], None]] | None = None
        self.transport = transport

    @classmethod
    def connect(
        cls, *, kubeconfig: str | None = None, context: str | None = None, user_agent: str = "informers"
    ) -> Client:
        """A client with the configuration that `informers.configuration.discover` finds.

        Raises:
            ConfigurationError: There is none.
        """
        return cls(HttpTransport(discover(kubeconfig, context), user_agent=user_agent))

    async def __aenter__(self) -> Self:
        await self.transport.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.transport.__aexit__(kind, error, trace)

    @property
    def host(self) -> str:
        """The server's base URL, for the `host` label of metrics."""
        return self.transport.host

    @property
    def stats(self) -> ClientStats:
        """What it has counted."""
        return self.transport.stats

    @property
    def write_gate(self) -> Callable[[], None] | None:
        """Called before each attempt of a request that is not a GET, and again at the moment of sending.

        If it raises, nothing is sent and the caller gets the exception. The elector stops writes of a process that no
        longer leads by this.
        """
        return self.transport.write_gate

    @write_gate.setter
    def write_gate(self, gate: Callable[[], None] | None) -> None:
        self.transport.write_gate = gate

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | JsonObject | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        deadline: float = 30.0,
    ) -> bytes:
        """Send a request and return the body of the answer.

        The request is retried a few times within the deadline when the server answers 429, since nothing was done then,
        or 503 with Retry-After, unless it is a POST. After 401 it is retried once with fresh credentials.

        Args:
            method: HTTP method.
            path: Path below the server's base URL, as `Resource.path` makes it.
            params: Query parameters.
            body: Bytes, or an object to send as JSON.
            content_type: Of the body. It chooses the kind of a PATCH.
            accept: Encoding wanted.
            deadline: Seconds for the whole call, including the wait for a connection and retries.

        Raises:
            ApiError: The server's answer is an error.
            TransportError: No answer came within the deadline, or the connection failed.
        """
        return await self.transport.request(
            method,
            path,
            params=params,
            body=orjson.dumps(body) if isinstance(body, dict) else body,
            content_type=content_type,
            accept=accept,
            deadline=deadline,
        )

    def stream(
        self, path: str, *, params: Mapping[str, str], accept: str = "application/json", idle: float
    ) -> AbstractAsyncContextManager[Stream]:
        """Open a watch, or a list of any length, on a connection of its own. It is closed with the context.

        Args:
            path: Path of a collection.
            params: Query parameters.
            accept: Encoding wanted.
            idle: Seconds without a byte after which the stream counts as stalled.

        Raises:
            ApiError: The server refused it.
            TransportError: The connection failed.
        """
        return self.transport.stream(path, params=params, accept=accept, idle=idle)

    async def get(self, resource: Resource, namespace: str, name: str, *, deadline: float = 30.0) -> JsonObject:
        """Read one object. Raises like `request`."""
        return _object(await self.request("GET", resource.path(namespace, name), deadline=deadline))

    async def find(self, resource: Resource, namespace: str, name: str, *, deadline: float = 30.0) -> JsonObject | None:
        """Read one object, None if the server has none. Raises like `request`."""
        try:
            return await self.get(resource, namespace, name, deadline=deadline)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def list(
        self,
        resource: Resource,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        deadline: float = 60.0,
    ) -> list[JsonObject]:
        """Read all objects of a namespace, or of all namespaces with "", by pages. Raises like `request`.

        Args:
            resource: Which.
            namespace: Where.
            label_selector: Which by label.
            field_selector: Which by field.
            deadline: Seconds for each page.
        """
        params = {"limit": str(PAGE)} | _selectors(label_selector, field_selector)
        found: list[JsonObject] = []
        left = RESTARTS
        while True:
            try:
                page = _object(await self.request("GET", resource.path(namespace), params=params, deadline=deadline))
            except ApiError as error:
                if not (error.is_expired and "continue" in params and left):
                    raise
                # The history that the pages are of is gone: there is no other way than to begin anew.
                left -= 1
                del params["continue"]
                found.clear()
                continue
            # In lists of built-in kinds the items leave out what the list itself says.
            implied = {"apiVersion": resource.api_version, "kind": resource.kind}
            found.extend(implied | item for item in page.get("items") or ())
            token = page["metadata"].get("continue")
            if not token:
                return found
            params["continue"] = token

    async def create(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        field_validation: FieldValidation | None = None,
        dry_run: bool = False,
        deadline: float = 30.0,
    ) -> JsonObject:
        """Create the object in the namespace that it names.

        Args:
            resource: Its resource.
            obj: The object.
            field_validation: What the server does about fields that it does not know. None: its default, "Warn".
            dry_run: Whether the server only says what it would store.
            deadline: Seconds.

        Raises like `request`.
        """
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")
        params = _options(field_validation, dry_run=dry_run)
        sent = self.request("POST", resource.path(namespace), params=params, body=obj, deadline=deadline)
        return await self._written(resource, namespace, name, sent, dry_run=dry_run)

    async def replace(
        self,
        resource: Resource,
        obj: JsonObject,
        *,
        subresource: str = "",
        field_validation: FieldValidation | None = None,
        dry_run: bool = False,
        deadline: float = 30.0,
    ) -> JsonObject:
        """Replace the object, or a subresource of it. With a resourceVersion in it, only that version is replaced.

        Args:
            resource: Its resource.
            obj: The object.
            subresource: "status", for example.
            field_validation: As for `create`.
            dry_run: As for `create`.
            deadline: Seconds.

        Raises like `request`.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        path = resource.path(namespace, name, subresource)
        params = _options(field_validation, dry_run=dry_run)
        sent = self.request("PUT", path, params=params, body=obj, deadline=deadline)
        return await self._written(resource, namespace, name, sent, dry_run=dry_run)

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: bytes | JsonObject,
        *,
        content_type: str,
        subresource: str = "",
        params: Mapping[str, str] | None = None,
        deadline: float = 30.0,
    ) -> JsonObject:
        """Patch the object, or a subresource of it.

        Args:
            resource: Which.
            namespace: Its namespace.
            name: Its name.
            body: The patch.
            content_type: "application/merge-patch+json", "application/apply-patch+yaml" (JSON is YAML) and so on.
            subresource: "status", for example.
            params: Query parameters: "fieldManager", "force", "fieldValidation", "dryRun"; a dry run is no write.
            deadline: Seconds.

        Raises like `request`.
        """
        path = resource.path(namespace, name, subresource)
        sent = self.request("PATCH", path, params=params, body=body, content_type=content_type, deadline=deadline)
        dry_run = params is not None and bool(params.get("dryRun"))
        return await self._written(resource, namespace, name, sent, dry_run=dry_run)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        dry_run: bool = False,
        deadline: float = 30.0,
    ) -> None:
        """Delete the object. It is a success if there is no such object.

        Args:
            resource: Which.
            namespace: Its namespace.
            name: Its name.
            uid: Delete only the object with this uid; ApiError 409 for another one of the same name.
            resource_version: Delete only this version of the object; ApiError 409 for another one.
            propagation: What becomes of its dependents: "Background", "Foreground" or "Orphan".
            dry_run: Whether the server only says whether it would delete the object.
            deadline: Seconds.

        Raises like `request`.
        """
        preconditions = {"uid": uid, "resourceVersion": resource_version}
        options: JsonObject = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {name: value for name, value in preconditions.items() if value},
        }
        if dry_run:
            options["dryRun"] = ["All"]
        sent = self.request("DELETE", resource.path(namespace, name), body=options, deadline=deadline)

        def read(body: bytes) -> JsonObject:
            return _deletion(resource, _object(body))

        try:
            await self._written(resource, namespace, name, sent, read=read, dry_run=dry_run)
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def version(
        self, resource: Resource, namespace: str, *, selectors: Mapping[str, str], deadline: float = 30.0
    ) -> int:
        """The present resource version of the collection. Every earlier write has this version or a lower one.

        Args:
            resource: Which.
            namespace: Of the collection; "" for that of all namespaces.
            selectors: `labelSelector` and `fieldSelector`, where only what matches them may be listed.
            deadline: Seconds.

        Raises like `request`.
        """
        params = {**selectors, "limit": "1"}
        body = await self.request("GET", resource.path(namespace), params=params, deadline=deadline)
        version = _object(body).get("metadata", {}).get("resourceVersion", "")
        if not version.isdecimal():
            raise TransportError(f"GET {resource.path(namespace)}: the answer's version is {version!r}, no number")
        return int(version)

    async def _written(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        sent: Awaitable[bytes],
        *,
        read: Callable[[bytes], JsonObject] | None = None,
        dry_run: bool = False,
    ) -> JsonObject:
        """Send a write, and report it and its outcome to `on_write`; a dry run, whose answer is not stored, is none."""
        settle = self.on_write(resource, namespace, name) if self.on_write is not None and not dry_run else None
        try:
            answer = (read or _object)(await sent)
        except (ApiError, RefusedError) as error:
            if settle is not None and not (isinstance(error, ApiError) and error.is_undecided):
                settle(None)
            raise
        if settle is not None:
            settle(answer)
        return answer


def _object(body: bytes) -> JsonObject:
    try:
        found: JsonObject = orjson.loads(body)
    except orjson.JSONDecodeError as error:  # of something in between, such as a portal's page
        raise TransportError(f"the answer is no JSON: {error}") from error
    return found


def _deletion(resource: Resource, answer: JsonObject) -> JsonObject:
    """The answer of a deletion, a Status if the object is gone: of Services, Pods and others the server answers with
    the object then too, in the version of its deletion."""
    if answer.get("kind") != resource.kind:
        return answer
    metadata = answer["metadata"]
    held = metadata.get("finalizers") or (resource.kind == "Namespace" and answer.get("spec", {}).get("finalizers"))
    if held or metadata.get("deletionGracePeriodSeconds"):
        return answer
    details = {"name": metadata["name"], "group": resource.group, "kind": resource.plural, "uid": metadata["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "status": "Success", "details": details}


def _options(field_validation: FieldValidation | None, *, dry_run: bool) -> dict[str, str]:
    options = {"fieldValidation": field_validation or "", "dryRun": "All" if dry_run else ""}
    return {name: value for name, value in options.items() if value}


def _selectors(label: str, field: str) -> dict[str, str]:
    return {name: value for name, value in (("labelSelector", label), ("fieldSelector", field)) if value}
