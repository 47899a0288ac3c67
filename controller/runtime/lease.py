"""The Lease that replicas of a program compete for: which one it is, its timing, and how it is read and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from controller.runtime.kube import LEASE, Lease, LeaseSpec
from informers import TransportError
from informers.media import MERGE_PATCH

if TYPE_CHECKING:
    from informers import Client, JsonObject

JITTER = 0.2
"""Jitter: waits are longer, and renewals earlier, by up to this share, so that candidates do not act in step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderElection:
    """The lease to hold, and its timing in seconds.

    Attributes:
        namespace: Where the lease is.
        name: Its name; the `name` label of metrics.
        lease_duration: Time without a renewal after which other candidates take the lease.
        renew_deadline: Time without a renewal after which the leader steps down. The difference to `lease_duration` is
            the time that requests in flight have to arrive.
        retry_period: Time between renewals, and between attempts to take the lease.
    """

    namespace: str
    name: str
    lease_duration: float = 15.0
    renew_deadline: float = 10.0
    retry_period: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period * (1 + JITTER) > 0:
            raise ValueError(
                f"leader election {self.namespace}/{self.name}: lease_duration {self.lease_duration:g} must be above "
                f"renew_deadline {self.renew_deadline:g}, and that above {1 + JITTER:g} x retry_period "
                f"{self.retry_period:g}"
            )


class LeaseClient(Protocol):
    """Reads and writes one lease."""

    async def get(self) -> Lease | None:
        """The lease as it is now, None if there is none."""
        ...

    async def create(self, spec: LeaseSpec) -> Lease:
        """Creates the lease. Raises an ApiError (already exists) if another candidate was faster."""
        ...

    async def update(self, spec: LeaseSpec, resource_version: str) -> Lease:
        """Updates the lease if it still has that version. Raises an ApiError (conflict, not found) if not."""
        ...


class KubeLease:
    """The lease in the API server. The elector itself must not gate the writes of `client`."""

    def __init__(self, client: Client, election: LeaderElection) -> None:
        self._client = client
        self._namespace = election.namespace
        self._name = election.name

    async def get(self) -> Lease | None:
        """The lease as it is now, None if there is none."""
        found = await self._client.find(LEASE, self._namespace, self._name)
        return None if found is None else _lease(found)

    async def create(self, spec: LeaseSpec) -> Lease:
        """Creates the lease."""
        body: JsonObject = {
            "apiVersion": LEASE.api_version,
            "kind": LEASE.kind,
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": msgspec.to_builtins(spec),
        }
        return _lease(await self._client.create(LEASE, body))

    async def update(self, spec: LeaseSpec, resource_version: str) -> Lease:
        """Updates the lease's spec, and keeps labels and annotations that others have set."""
        body: JsonObject = {
            "metadata": {"resourceVersion": resource_version},
            "spec": {name: getattr(spec, field) for field, name in _LEASE_FIELDS},
        }
        changed = await self._client.patch(LEASE, self._namespace, self._name, body, content_type=MERGE_PATCH)
        return _lease(changed)


def _lease(answer: JsonObject) -> Lease:
    try:
        lease = msgspec.convert(answer, Lease)
    except msgspec.ValidationError as error:
        raise TransportError(f"the answer is no Lease: {error}") from error
    if not lease.metadata.resource_version.isdecimal():
        raise TransportError(f"the answer is no Lease: its version is {lease.metadata.resource_version!r}")
    return lease


_LEASE_FIELDS = tuple((field.name, field.encode_name) for field in msgspec.structs.fields(LeaseSpec))
