"""What is asked for of the mirroring of a pool or RADOS namespace against what there is: the steps between. Pure.

Mirroring ends only where nothing is lost by it: where Ceph ends that of an image, the copy of it in the other cluster
is deleted. So images that are still mirrored are named, and nothing is done until nobody mirrors them any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.mirroring.act import (
    EndMirroring,
    Forget,
    ImportPeer,
    RemovePeer,
    SetMode,
    SetRemoteNamespace,
    SetSchedules,
    WriteToken,
)
from controller.ceph.mirroring.objects import TOKEN_OF_POOL
from controller.ceph.mirroring.observe import MODE, PEER, SCHEDULES
from controller.ceph.mirroring.place import Mode
from controller.ceph.mirroring.schedules import parse_noted
from controller.ceph.mirroring.sources import Source, offering, withdrawal
from controller.framework.plan import Step
from controller.framework.text import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.mirroring.images import MirrorState, Peer
    from controller.ceph.mirroring.observe import MirrorObservation
    from controller.ceph.mirroring.place import Place
    from controller.ceph.mirroring.tokens import Token
    from controller.ceph.mirroring.wanted import Wanted

MAX_NAMED = 10
"""Images that are named."""


def steps(place: Place, wanted: Wanted, seen: MirrorObservation) -> Iterator[Step]:
    """The steps that have a place mirrored as is asked for, or not any more; peers and tokens apart.

    Args:
        place: A place that exists.
        wanted: What is asked for, which the cluster's release knows.
        seen: What there is.
    """
    state, subject = seen.state, f"mirroring of {place.name}"
    if state is None:
        if wanted.mode is not Mode.DISABLED:
            yield Step(subject=subject, reason="it is to be mirrored", waits_for="the cluster to answer")
        return
    if wanted.mode is Mode.DISABLED:
        yield from ending(place, seen, "the spec does not ask for it any more")
        return
    if place.namespace and state.pool_mode is Mode.DISABLED:
        waits_for = f"mirroring of CephBlockPool {place.pool}"
        yield Step(subject=subject, reason="no daemon looks at the pool", waits_for=waits_for)
    if state.mode is not wanted.mode or _noted(seen, MODE) != wanted.mode.word:
        reason = f"the mode is {state.mode.word}, wanted {wanted.mode.word}"
        if state.mode is wanted.mode:
            reason = f"mode {wanted.mode.word} is the spec's from now on"
        waits_for = _of_images(state.images) if wanted.mode is Mode.INIT_ONLY else ""
        yield Step(
            subject=subject, action=SetMode(place, wanted.mode), reason=reason, waits_for=waits_for, deadline=120.0
        )
    if place.namespace and wanted.remote_namespace is not None and state.remote_namespace != wanted.remote_namespace:
        name = wanted.remote_namespace
        reason = f"the RADOS namespace of the other cluster is to be {name or 'the implicit one'}"
        yield Step(subject=subject, action=SetRemoteNamespace(place, name), reason=reason)
    yield from schedules_of(place, wanted, seen)


def schedules_of(place: Place, wanted: Wanted, seen: MirrorObservation, *, lane: str = "") -> Iterator[Step]:
    """The step by which the snapshots of a place are made when they should be."""
    subject = f"snapshot schedules of {place.name}"
    ours = parse_noted(_noted(seen, SCHEDULES))
    if not wanted.schedules and not ours:
        return
    if seen.scheduled is None:
        waits_for = "mgr module rbd_support to list them"
        yield Step(subject=subject, reason="to be compared", waits_for=waits_for, lane=lane)
        return
    live = next((entry.schedules for entry in seen.scheduled if entry.level == place.level), ())
    missing = [str(schedule) for schedule in wanted.schedules if schedule not in live]
    surplus = [str(schedule) for schedule in ours if schedule not in wanted.schedules]
    if missing or surplus or ours != wanted.schedules:
        reason = "; ".join(
            f"{some(names, MAX_NAMED)} {what}"
            for names, what in ((missing, "missing"), (surplus, "left the spec"))
            if names
        )
        yield Step(
            subject=subject,
            action=SetSchedules(place, wanted.schedules),
            reason=reason or "they are the spec's from now on",
            lane=lane,
        )


def ending(place: Place, seen: MirrorObservation, reason: str, *, lane: str = "") -> Iterator[Step]:
    """The steps after which nothing of a place is mirrored, once no image is."""
    state, subject = seen.state, f"mirroring of {place.name}"
    if state is None:
        return
    if state.images:
        yield Step(subject=subject, reason=reason, waits_for=_of_images(state.images), lane=lane)
        return
    if _noted(seen, SCHEDULES):
        yield Step(subject=subject, action=SetSchedules(place, ()), reason=reason, lane=lane)
    for peer in () if place.namespace else state.peers:
        yield Step(subject=subject, action=RemovePeer(place, peer.uuid), reason=reason, lane=lane)
    yield Step(subject=subject, action=EndMirroring(place), reason=reason, lane=lane, deadline=120.0)


def leaving(place: Place, seen: MirrorObservation, reason: str, *, lane: str, consent: str) -> Iterator[Step]:
    """The steps before a pool is deleted with all that is in it, of which copies elsewhere stay.

    Peers go, whose keys the mons have; the mode stays, as the other cluster deletes its copies of images where it sees
    that their mirroring ended.
    """
    if seen.state is None:
        return
    subject = f"mirroring of {place.name}"
    actions = [RemovePeer(place, peer.uuid) for peer in seen.state.peers]
    for action in (*actions, Forget(place)):
        yield Step(
            subject=subject,
            action=action,
            reason=reason,
            lane=lane,
            consent=consent,
            deadline=120.0,
        )


def peers(place: Place, wanted: Wanted, seen: MirrorObservation, *, record: str = PEER) -> Iterator[Step]:
    """The steps by which a pool is mirrored with the cluster whose token the spec names.

    Args:
        place: The pool.
        wanted: What is asked for.
        seen: What there is.
        record: What the record of the peer is called.
    """
    state = seen.state
    if state is None or state.mode is Mode.DISABLED or wanted.mode is Mode.DISABLED:
        return
    noted = seen.owned.get(record)
    if not wanted.secrets and noted is not None and state.peers:
        reason = f"Secret {noted.asked} left mirroring.peers.secretNames"
        for peer in state.peers:
            action = RemovePeer(place, peer.uuid, record)
            yield Step(subject=f"peer {peer.site_name}", action=action, reason=reason)
    for name in wanted.secrets[:1]:
        source = next((found for found in seen.sources if found.secret == name), None)
        yield from _peer(place, state, source or Source(name, problem=f"Secret {name}"), seen, record)


def _peer(place: Place, state: MirrorState, source: Source, seen: MirrorObservation, record: str) -> Iterator[Step]:
    token, noted = source.token, seen.owned.get(record)
    if token is None:
        yield Step(subject=f"peer of {place.name}", reason="it is to be imported", waits_for=source.problem)
        return
    subject = f"peer {token.fsid}"
    others = [peer for peer in state.peers if not _same(peer, token)]
    if others and noted is None:
        names = some([peer.site_name for peer in others], MAX_NAMED)
        waits_for = f"peer {names} to be removed (rbd mirror pool peer remove), as Ceph mirrors a pool with one cluster"
        yield Step(subject=subject, reason=f"Secret {source.secret} has its token", waits_for=waits_for)
        return
    for peer in others:
        reason = f"Secret {source.secret} has the token of another cluster by now"
        yield Step(subject=subject, action=RemovePeer(place, peer.uuid, record), reason=reason)
    known = any(_same(peer, token) and peer.key_digest == token.key_digest for peer in state.peers)
    if not known or noted is None or noted.stored != token.digest:
        reason = f"Secret {source.secret} has its token"
        if known:
            reason = f"what Secret {source.secret} says of it was not imported"
        yield Step(subject=subject, action=ImportPeer(place, source.secret, record), reason=reason, deadline=90.0)


def _same(peer: Peer, token: Token) -> bool:
    """Whether a peer is the cluster of a token: by its fsid, or by its key where somebody gave it a name."""
    return peer.site_name == token.fsid or peer.key_digest == token.key_digest


def token(wanted: Wanted, seen: MirrorObservation, namespace: str, name: str, *, key_type: str) -> Iterator[Step]:
    """The step that writes the Secret by which other clusters mirror a pool, or removes it.

    Args:
        wanted: What is asked for.
        seen: What there is.
        namespace: Where the CephBlockPool is.
        name: Its name.
        key_type: Of a key that is made; empty: what the mons prefer.
    """
    secret = f"{TOKEN_OF_POOL}{name}"
    if wanted.mode is Mode.DISABLED:
        yield from withdrawal(namespace, secret, seen.offer, "the pool is not mirrored any more")
    else:
        yield from offering(secret, seen.offer, WriteToken(key_type), "CephBlockPool")


def _of_images(images: tuple[str, ...]) -> str:
    """What the end of mirroring waits for."""
    if not images:
        return ""
    how = "`rbd mirror image disable`, which deletes their copies in the other cluster"
    return f"mirroring of {some(images, MAX_NAMED)} to be ended by {how}"


def _noted(seen: MirrorObservation, what: str) -> str:
    record = seen.owned.get(what)
    return record.asked if record is not None else ""
