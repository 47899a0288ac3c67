"""Types of cephx keys: which the mons let in and make, once every daemon knows the newer one.

Clients before Ceph 19.2.6 and Linux 7.0 know the older type alone, `aes`, and so does the librados of the operator and
the agents. Their keys stay of it, and the mons let it in. Daemons and their tickets get the newer one, `aes256k`.
Source: https://docs.ceph.com/en/latest/rados/configuration/auth-config-ref/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.access.identity import AES256K
from controller.ceph.part import Part
from controller.framework.plan import Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from controller.ceph.access.mons import MonState
    from controller.ceph.access.rados import Cluster
    from controller.ceph.part import Ground
    from controller.ceph.pods import Context
    from controller.ceph.releases import Running
    from controller.framework.plan import Handler

ALLOWED, PREFERRED, SERVICE = "auth_allowed_ciphers", "auth_preferred_cipher", "auth_service_cipher"


@dataclass(frozen=True, slots=True)
class SetCipher:
    """Set what the monmap says of key types: `name` is one of `ALLOWED`, `PREFERRED`, `SERVICE`."""

    name: str
    value: str


def analyze(state: MonState | None, running: Running) -> Iterator[Step]:
    """What to do for the types of keys. Pure.

    Args:
        state: What the mons say; None when they do not answer.
        running: What daemons run: until all of them know a type of keys, none is made of it.
    """
    if state is None or running.oldest is None or not running.oldest.knows_aes256k or not state.ciphers:
        return
    wanted = {
        ALLOWED: tuple(dict.fromkeys((*state.ciphers.get(ALLOWED, ()), AES256K))),
        PREFERRED: (AES256K,),
        SERVICE: (AES256K,),
    }
    for name, value in wanted.items():
        found = state.ciphers.get(name, ())
        if found != value:
            reason = f"{name} is {','.join(found) or 'not set'}, and every daemon knows {AES256K} by now"
            yield Step(subject="key types", action=SetCipher(name, ",".join(value)), reason=reason)


async def _observe(_: Ground) -> None:
    """The mons' answers say all that there is."""


def _steps(ground: Ground, _context: Context, _seen: None, _hold: str) -> Iterator[Step]:
    return analyze(ground.quorum, ground.upgrade.running)


PART = Part(
    name="key types",
    apps=frozenset(),
    observe=_observe,
    analyze=_steps,
    handlers=lambda ground, _: {} if ground.ceph is None else handlers(ground.ceph),
)
"""Types of keys as a part of their cluster."""


def handlers(ceph: Cluster) -> dict[type, Handler]:
    """How the actions of this module are carried out."""

    async def set_cipher(action: SetCipher) -> None:
        await ceph.mon("mon set", name=action.name, value=action.value)

    return {SetCipher: set_cipher}
