"""Gateways: made, restarted in turn, and removed where they are too many. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access import config, users
from controller.ceph.access.users import CreateKeyring
from controller.ceph.crash import trouble
from controller.ceph.objectstore.act import RemoveUser, StopGateway
from controller.ceph.objectstore.objects import gateway_budget, gateway_deployment, labels, service
from controller.ceph.objectstore.spec import gateways, settings
from controller.ceph.pods import VERSION_LABEL, is_kept, kept_by
from controller.ceph.rgw.names import APP, CAPS, STORE_LABEL, entity_of, gateway_of, keyring_name
from controller.framework import children, disruption
from controller.framework.children import Apply, delete, explain
from controller.framework.plan import Step
from controller.framework.rollout import Member, Policy, decide
from controller.runtime.kube import DEPLOYMENT, SECRET
from controller.runtime.log import looks_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.ceph import CephObjectStore
    from controller.ceph.objectstore.observe import StoreObservation
    from controller.ceph.pods import Context, Daemon
    from controller.ceph.rgw.names import Place
    from informers import JsonObject


def keys(store: CephObjectStore, context: Context, seen: StoreObservation) -> Iterator[Step]:
    """The keys of the gateways, and the first one's also where there is to be none: Jobs work with it."""
    yield from first_key(store, context, seen)
    for daemon in gateways(store)[1:]:
        yield from _key(daemon, context, seen)


def first_key(store: CephObjectStore, context: Context, seen: StoreObservation) -> Iterator[Step]:
    """The key of the first gateway."""
    yield from _key(gateway_of(store.metadata.name, "a"), context, seen)


def _key(daemon: Daemon, context: Context, seen: StoreObservation) -> Iterator[Step]:
    short = users.shortfall(seen.live, keyring_name(daemon), CAPS)
    if short:
        action = CreateKeyring(entity_of(daemon), CAPS, keyring_name(daemon), labels(context, daemon))
        yield Step(subject=f"gateway {daemon.id}", action=action, reason=short)


def configuration(store: CephObjectStore, seen: StoreObservation) -> Iterator[Step]:
    """The gateways' settings in the mons' database."""
    asked = {config.normal(("", name)): value for name, value in settings(store, seen.secret_values).items()}
    wanted = {(entity_of(daemon), name): value for daemon in gateways(store) for (_, name), value in asked.items()}
    secret = {config.normal(("", name))[1] for name in seen.secret_values}
    hidden = frozenset(key for key in wanted if key[1] in secret or looks_secret(key[1]))
    yield from config.steps(wanted, seen.config, hidden)


def network(store: CephObjectStore, context: Context, seen: StoreObservation) -> Iterator[Step]:
    """The Service, and the budget of disruptions."""
    yield from children.ensure(seen.live, service(store, context), subject="Service of the gateways")
    yield from disruption.keep(
        seen.live,
        gateway_budget(store, context),
        owner=context.owner,
        app=APP,
        subject="gateways",
        lane="gateway disruption budget",
        why_gone="budgets are switched off",
    )


def rollout(store: CephObjectStore, context: Context, seen: StoreObservation, place: Place) -> Iterator[Step]:
    """Gateways that are missing are made at once; those that differ are restarted one at a time."""
    order = gateways(store)
    wanted = {
        daemon.id: gateway_deployment(store, context, daemon, place, seen.certificate, separate_key=seen.separate_key)
        for daemon in order
    }
    why = {key: explain(obj, seen.live.get((DEPLOYMENT.kind, obj["metadata"]["name"]))) for key, obj in wanted.items()}
    waits = decide([_member(daemon, bool(why[daemon.id]), seen) for daemon in order], Policy())
    for daemon in order:
        subject, found = f"gateway {daemon.id}", seen.deployments.get(daemon.id)
        if is_kept(found):
            if why[daemon.id]:
                yield Step(subject=subject, reason=why[daemon.id], waits_for=kept_by(daemon))
        elif why[daemon.id]:
            waits_for = (found is not None and _held(found.metadata.labels, context, seen)) or waits.get(subject, "")
            yield Step(subject=subject, action=Apply(wanted[daemon.id]), reason=why[daemon.id], waits_for=waits_for)
        elif found is None or not found.rolled_out:
            waits_for = trouble(seen.pods.get(daemon.id, ()), found) or "it to be ready"
            yield Step(subject=subject, reason="it does not serve yet", waits_for=waits_for)


def _held(own: dict[str, str], context: Context, seen: StoreObservation) -> str:
    """What a gateway that is there has to wait for before it is restarted; empty: nothing."""
    late = own.get(VERSION_LABEL) != str(context.release.version)
    return (seen.hold_upgrade if late else "") or seen.hold_restart


def _member(daemon: Daemon, differs: bool, seen: StoreObservation) -> Member:
    found = seen.deployments.get(daemon.id)
    ready = found is not None and found.rolled_out
    return Member(
        name=f"gateway {daemon.id}",
        outdated=differs and found is not None and not is_kept(found),
        serves=found is not None and found.status.available_replicas > 0,
        awaited="" if ready else "to be ready",
    )


def surplus(store: CephObjectStore, seen: StoreObservation) -> Iterator[Step]:
    """Gateways too many go once those that stay serve; their keys go last, as by these what is half done is found."""
    staying = [daemon.id for daemon in gateways(store)]
    reason = f"{len(staying)} gateways are wanted"
    waiting = [key for key in staying if key not in seen.deployments or not seen.deployments[key].rolled_out]
    for key, found in sorted(seen.deployments.items()):
        if key in staying:
            continue
        daemon = gateway_of(store.metadata.name, key.removeprefix(f"{store.metadata.name}-"))
        waits_for = kept_by(daemon) if is_kept(found) else f"gateway {waiting[0]} to be ready" if waiting else ""
        action = StopGateway(key, found.metadata.name, found.metadata.uid)
        yield Step(subject=f"gateway {key}", action=action, reason=reason, waits_for=waits_for)
    first = gateway_of(store.metadata.name, "a").id
    used = {first, *staying, *seen.deployments, *(key for key, pods in seen.pods.items() if pods)}
    yield from old_keys(store, seen, frozenset(used), reason)


def old_keys(store: CephObjectStore, seen: StoreObservation, used: frozenset[str], reason: str) -> Iterator[Step]:
    """The keys of gateways that are gone."""
    name = store.metadata.name
    for key, secret in sorted(keys_of(store, seen).items()):
        if key in used:
            continue
        daemon, subject = gateway_of(name, key.removeprefix(f"{name}-")), f"gateway {key}"
        yield Step(subject=subject, action=RemoveUser(entity_of(daemon)), reason=reason)
        yield delete(SECRET, secret, subject=subject, reason=reason)


def keys_of(store: CephObjectStore, seen: StoreObservation) -> dict[str, JsonObject]:
    """The Secrets with keys of a store's gateways, by the gateway's id."""
    name = store.metadata.name
    start = f"{APP}-{name}-"
    found: dict[str, JsonObject] = {}
    for secret_name in (known for kind, known in seen.live if kind == SECRET.kind and known.startswith(start)):
        secret = seen.live[SECRET.kind, secret_name]
        own = secret["metadata"].get("labels") or {}
        key = own.get("ceph_daemon_id", "")
        if own.get(STORE_LABEL) == name and key and secret["metadata"].get("deletionTimestamp") is None:
            found[key] = secret
    return found
