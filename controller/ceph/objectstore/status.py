"""`status` of a CephObjectStore: what all kinds show, where it is reached, and whether it serves. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.apis.ceph.object_store_status import ObjectEndpoints
from controller.apis.meta import Condition
from controller.ceph.objectstore.act import MAX_NAMED
from controller.ceph.objectstore.analyze import is_set_up, kept
from controller.ceph.objectstore.objects import selector
from controller.ceph.objectstore.spec import endpoints, problems, unserved
from controller.ceph.rgw.names import insecure_endpoint, secure_endpoint
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import FAILURE, Words, conditions, fields, is_settled, stage_of
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStore, CephObjectStoreStatus
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The object store is as the spec has it", leaving="The CephObjectStore is being deleted")
SERVES = "S3Available"
"""Whether the operator can put, get and delete an object, as users do."""

STRAYS = "StrayPools"
"""Whether somebody made a zone that nobody asked for."""


def show(look: Look[CephObjectStore], seen: StoreObservation, outcome: Outcome) -> CephObjectStoreStatus:
    """See `controller.framework.kind.ControlLoop`."""
    store, present = look.obj, look.obj.status
    if is_settled(present, look, outcome):
        return present
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(store)))
    found = (
        *conditions(stage, WORDS, blocked=_blocked(seen, outcome)),
        honoured.differing(() if seen.waits_for else kept(store, seen), unserved(look.spec), store.metadata.generation),
        *_serves(seen),
        *_strays(seen),
    )
    plain, tls = endpoints(store)
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        message=stage.message if stage.phase == FAILURE else "",
        info={**present.info, **_info(store, seen)},
        endpoints=ObjectEndpoints(insecure=plain, secure=tls),
        replicas=present.replicas if seen.waits_for else len(seen.deployments),
        selector=",".join(f"{name}={value}" for name, value in selector(store).items()),
    )


def _info(store: CephObjectStore, seen: StoreObservation) -> dict[str, str]:
    found = {"endpoint": insecure_endpoint(store), "secureEndpoint": secure_endpoint(store)}
    if seen.place is not None and is_set_up(store, seen):
        place = seen.place
        found |= {"realm": place.realm, "zoneGroup": place.zonegroup, "zone": place.zone}
    return {name: value for name, value in found.items() if value or name in store.status.info}


def _serves(seen: StoreObservation) -> Iterator[Condition]:
    if seen.checked is None:
        return
    trouble = seen.checked.trouble
    reason = "RequestsFailed" if trouble else "RequestsAnswered"
    yield Condition(type=SERVES, status=str(not trouble), reason=reason, message=trouble)


def _strays(seen: StoreObservation) -> Iterator[Condition]:
    if seen.strays:
        message = (
            f"pools {some(seen.strays, MAX_NAMED)} are those of a zone that radosgw-admin makes where it is not told "
            "--rgw-realm, --rgw-zonegroup and --rgw-zone: no store uses them, and the operator leaves them as they are"
        )
        yield Condition(type=STRAYS, status="True", reason="DefaultZone", message=message)


def _blocked(seen: StoreObservation, outcome: Outcome) -> str:
    """What the deletion is held back by, and what may be done about it, in words; empty: by nothing."""
    if seen.users:
        return f"to be deleted first: {some(seen.users, MAX_NAMED)}"
    held = next((r.step for r in outcome.results if r.state is StepState.NEEDS_CONSENT), None)
    return f"{held.subject}: {held.reason}; delete that, or set {held.consent}" if held is not None else ""
