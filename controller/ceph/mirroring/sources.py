"""Secrets with tokens: those of other clusters, which a spec names, and the one by which others reach this cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.mirroring import tokens
from controller.framework.children import Delete
from controller.framework.plan import Step
from controller.runtime.kube import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.apis.meta import ObjectMeta
    from controller.ceph.mirroring.tokens import Token
    from controller.runtime.kube import Secret
    from informers import Informer


@dataclass(frozen=True, slots=True)
class Source:
    """A Secret with the token of another cluster; `problem`: why it is none, in words."""

    secret: str
    token: Token | None = None
    problem: str = ""


def sources(secrets: Informer[Secret], namespace: str, names: tuple[str, ...]) -> tuple[Source, ...]:
    """The Secrets of these names as sources of tokens."""
    return tuple(source(secrets.get(namespace, name), name) for name in names)


def source(secret: Secret | None, name: str) -> Source:
    """A Secret as the source of a token."""
    if secret is None:
        return Source(name, problem=f"Secret {name} with the token of the other cluster")
    try:
        return Source(name, tokens.read(secret.data))
    except ValueError as error:
        return Source(name, problem=f"Secret {name} to have a token: {error}")


def watched(meta: ObjectMeta, prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The Secrets that a mirrored pool or file system looks at, for an index of those by "namespace/name".

    Args:
        meta: The pool's or file system's.
        prefix: How the name of the Secret with this cluster's own token begins.
        names: The Secrets with tokens of others.
    """
    return tuple(f"{meta.namespace}/{name}" for name in (f"{prefix}{meta.name}", *names))


@dataclass(frozen=True, slots=True)
class Offer:
    """The Secret with this cluster's own token.

    Attributes:
        uid: Its own, if it is that of the pool or file system; empty: there is none.
        stranger: Whether there is a Secret of that name that is another's.
        current: Whether it has the token that it should.
    """

    uid: str = ""
    stranger: bool = False
    current: bool = False


NO_OFFER = Offer()
"""What there is where there is no such Secret."""


def offer(secret: Secret, owner: str, token: str) -> Offer:
    """What there is of the Secret with this cluster's own token.

    Args:
        secret: The Secret of that name.
        owner: The uid of the pool or file system.
        token: What should be in it; empty: it cannot be, as the user for that is not there.
    """
    if all(found.uid != owner for found in secret.metadata.owner_references):
        return Offer(stranger=True)
    return Offer(secret.metadata.uid, current=bool(token) and secret.data.get(tokens.TOKEN_KEY) == token.encode())


def offering(secret: str, seen: Offer, write: object, kind: str) -> Iterator[Step]:
    """The step that writes the Secret by which others reach this cluster. Pure.

    Args:
        secret: The Secret's name.
        seen: What there is of it.
        write: The action that writes it.
        kind: Whose it is to be, for people.
    """
    subject = f"Secret {secret}"
    if seen.stranger:
        waits_for = f"it to be deleted, as it is not this {kind}'s"
        yield Step(subject=subject, reason="other clusters reach this one by it", waits_for=waits_for)
    elif not seen.current:
        reason = "it does not say how this cluster is reached" if seen.uid else "it does not exist"
        yield Step(subject=subject, action=write, reason=reason)


def withdrawal(namespace: str, secret: str, seen: Offer, reason: str) -> Iterator[Step]:
    """The step that deletes the Secret by which others reached this cluster. Pure."""
    if seen.uid:
        yield Step(subject=f"Secret {secret}", action=Delete(SECRET, namespace, secret, seen.uid), reason=reason)
