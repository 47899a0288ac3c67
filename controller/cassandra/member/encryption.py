"""Whether members speak TLS with each other and with clients, and by which steps a running ring comes to it. Pure.

A member that speaks no TLS and one that accepts nothing else do not hear each other. So a running ring takes one step
after the other, and takes the next one only when no member has still to take the one before. Members that are one step
apart always hear each other (`conf/cassandra.yaml` of 4.1 and 5.0, `server_encryption_options`):

    members            begin connections   accept
    Off                plain               plain
    Accepted           plain               plain and TLS
    Preferred          by TLS              plain and TLS
    Required           by TLS              TLS

For clients a member has the steps Off, Optional and Required, likewise.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from controller.apis.meta import ApiStruct

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from controller.apis.cassandra.cluster import EncryptionSpec

ANNOTATION = "cassandra.rook.io/encryption"
"""On a pod that has certificates: its `Encryption`, as JSON."""


class Internode(StrEnum):
    """How a member speaks with others, from no TLS to nothing else."""

    OFF = ""
    ACCEPTED = "Accepted"
    PREFERRED = "Preferred"
    REQUIRED = "Required"


class ClientTls(StrEnum):
    """How a member speaks with clients, likewise."""

    OFF = ""
    OPTIONAL = "Optional"
    REQUIRED = "Required"


class Encryption(ApiStruct, frozen=True, kw_only=True):
    """How a member speaks with others, and with clients."""

    internode: Internode = Internode.OFF
    client: ClientTls = ClientTls.OFF

    @property
    def is_on(self) -> bool:
        """Whether a member needs certificates. Its program speaks TLS then, too."""
        return self != PLAIN

    def __str__(self) -> str:
        return f"internode {self.internode or 'Off'}, client {self.client or 'Off'}"


PLAIN = Encryption()


def wanted(spec: EncryptionSpec) -> Encryption:
    """What the spec asks for."""
    internode = Internode.REQUIRED if spec.internode else Internode.OFF
    return Encryption(internode=internode, client=ClientTls(spec.client))


def toward(present: Encryption, goal: Encryption) -> Encryption:
    """The next step from `present` to `goal`: that for members and that for clients are taken together."""
    return Encryption(
        internode=_nearer(tuple(Internode), present.internode, goal.internode),
        client=_nearer(tuple(ClientTls), present.client, goal.client),
    )


def hear_each_other(found: Collection[Encryption]) -> bool:
    """Whether no two are more than one step apart."""
    return all(distance(one, other) <= 1 for one in set(found) for other in set(found))


def distance(one: Encryption, other: Encryption) -> int:
    """How many steps lie between two."""
    internode, client = list(Internode), list(ClientTls)
    return max(
        abs(internode.index(one.internode) - internode.index(other.internode)),
        abs(client.index(one.client) - client.index(other.client)),
    )


def as_annotations(encryption: Encryption) -> dict[str, str]:
    """The annotations of a pod that tell its encryption; none without any."""
    return {ANNOTATION: msgspec.json.encode(encryption, order="sorted").decode()} if encryption.is_on else {}


def encryption_of(annotated: Mapping[str, str]) -> Encryption:
    """What a pod's annotations, or those of its template, tell. Whoever writes other things there gets no TLS."""
    try:
        return msgspec.json.decode(annotated.get(ANNOTATION) or "{}", type=Encryption)
    except msgspec.DecodeError:
        return PLAIN


def _nearer[T](steps: tuple[T, ...], present: T, goal: T) -> T:
    at, to = steps.index(present), steps.index(goal)
    return steps[at + (to > at) - (to < at)]
