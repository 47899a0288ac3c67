"""The way of a content, be it of a snapshot or of a group's: noted, taken, told of; destroyed, let go. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.framework.plan import Plan, Step

if TYPE_CHECKING:
    from controller.apis.meta import ObjectMeta

DEADLINE = 600.0
"""Seconds to take or destroy a snapshot: now and then all data is copied; what takes longer goes on at the next try."""

LOOK_AGAIN = 60.0
"""Seconds until it is looked again whether what was wrong with a content has been put right elsewhere."""


@dataclass(frozen=True, slots=True)
class MarkContent:
    """Note on the content that what it is of is about to be taken, and keep it from going before that is settled."""


@dataclass(frozen=True, slots=True)
class UnmarkContent:
    """Take the note off: the content's status has what was taken."""


@dataclass(frozen=True, slots=True)
class RefuseContent:
    """Tell in the content's status why there is nothing."""

    problem: str


@dataclass(frozen=True, slots=True)
class ReleaseContent:
    """Let a content that is being deleted go; `shared`: contents of the same, for which it stays."""

    shared: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What is different of the kinds of contents.

    Attributes:
        what: What one is of, in words: "snapshot".
        content: The kind's name.
        being_created: The annotation of one of which a part may be there.
        being_deleted: The annotation by which the snapshot-controller says that what it is bound to is being deleted.
        finalizer: What keeps one from going before that is settled.
    """

    what: str
    content: str
    being_created: str
    being_deleted: str
    finalizer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known of a content.

    Attributes:
        metadata: Its metadata.
        policy: Its deletion policy.
        handle: The handle that its status has; empty: none.
        is_given: Whether it is of what somebody else took.
        bound_to: The uid of what it is bound to; empty: nothing.
    """

    metadata: ObjectMeta
    policy: str
    handle: str
    is_given: bool
    bound_to: str


def take(kind: Kind, subject: str, metadata: ObjectMeta, step: Step) -> Plan:
    """What is to be done for a content of what is to be taken, by `step`: between a note, and its end."""
    if kind.being_created in metadata.annotations and kind.finalizer in metadata.finalizers:
        return Plan(steps=(step, _unmark(kind, subject)))
    mark = Step(subject=subject, action=MarkContent(), reason=f"its {kind.what} is about to be taken")
    return Plan(steps=(mark, step, _unmark(kind, subject)))


def done(kind: Kind, subject: str, metadata: ObjectMeta) -> Plan:
    """What is left to do for a content that is ready."""
    return Plan(steps=(_unmark(kind, subject),) if kind.being_created in metadata.annotations else ())


def refuse(subject: str, problem: str) -> Plan:
    """What is to be done for a content of what there cannot be."""
    return Plan(steps=(Step(subject=subject, action=RefuseContent(problem), reason=problem),), look_again=LOOK_AGAIN)


def delete(
    kind: Kind, subject: str, content: Seen, *, handle: str, others: tuple[str, ...], destroy: object
) -> tuple[Step, ...]:
    """What is to be done for a content that is being deleted.

    Args:
        kind: Its kind.
        subject: It, in words.
        content: What is known of it.
        handle: The handle that it has, or would have; empty: there can be none.
        others: Other contents of the same that are not about to destroy it.
        destroy: The action that destroys what it is of.
    """
    if kind.finalizer not in content.metadata.finalizers or not may_go(kind, content):
        return ()
    release = Step(subject=subject, action=ReleaseContent(), reason=f"deletion policy {content.policy}")
    if not is_doomed(kind, content) or not handle:
        return (release,)
    if others:
        reason = f"its {kind.what} is also that of {', '.join(others)}"
        return (Step(subject=subject, action=ReleaseContent(others), reason=reason),)
    why = "it is being deleted, and its deletion policy is Delete"
    return (Step(subject=subject, action=destroy, reason=why, deadline=DEADLINE), release)


def may_go(kind: Kind, content: Seen) -> bool:
    """Whether a content that is being deleted may go.

    The snapshot-controller says so for a content that is bound; for one that never was there is nobody to say it.
    """
    if content.metadata.deletion_timestamp is None:
        return False
    return (content.is_given and not content.bound_to) or kind.being_deleted in content.metadata.annotations


def is_doomed(kind: Kind, content: Seen) -> bool:
    """Whether what a content is of is to be destroyed, if no other content needs it."""
    return may_go(kind, content) and content.policy == "Delete"


def reprieve(kind: Kind, planned: Seen, now: Seen, others: tuple[str, ...]) -> str:
    """Why what was to be destroyed is kept after all; empty: it is not.

    Args:
        kind: The kind of its content.
        planned: Its content as it was when that was decided.
        now: The same as it is now.
        others: Other contents of the same that are not about to destroy it.
    """
    if now.metadata.uid != planned.metadata.uid:
        return f"has uid {now.metadata.uid}, not {planned.metadata.uid}: it is another"
    if not is_doomed(kind, now):
        return f"has deletion policy {now.policy} by now, or is not being deleted"
    if now.handle != planned.handle:
        return f"has the {kind.what} {now.handle} by now"
    return f"has the same {kind.what} as {kind.content} {', '.join(others)}" if others else ""


def _unmark(kind: Kind, subject: str) -> Step:
    return Step(subject=subject, action=UnmarkContent(), reason=f"its status has the {kind.what}")
