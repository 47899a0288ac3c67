"""`status` of a CephClient. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.client.act import RotateKey
from controller.ceph.client.analyze import kept
from controller.ceph.client.spec import problems, secret_name, unserved, wanted_generation
from controller.framework import honoured
from controller.framework.plan import StepState
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephClient, CephClientStatus
    from controller.apis.ceph.status import LocalCephxStatus
    from controller.ceph.client.observe import ClientObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The user is as the spec has it", leaving="The CephClient is being deleted")


def show(look: Look[CephClient], seen: ClientObservation, outcome: Outcome) -> CephClientStatus:
    """See `controller.framework.kind.ControlLoop`."""
    client, present = look.obj, look.obj.status
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(problems(client)))
    told = honoured.differing(kept(client, seen), unserved(look.spec, client.metadata.name), client.metadata.generation)
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, (*conditions(stage, WORDS), told)),
        info={} if client.spec.remove_secret else {"secretName": secret_name(client)},
        cephx=_cephx(client, seen, outcome),
    )


def _cephx(client: CephClient, seen: ClientObservation, outcome: Outcome) -> LocalCephxStatus:
    """The key, as far as it is known: its generation is noted when it is first seen, and when it was rotated."""
    noted = client.status.cephx
    if seen.caps is None:
        return noted
    rotated = any(isinstance(r.step.action, RotateKey) and r.state is StepState.DONE for r in outcome.results)
    if rotated or not noted.key_generation:
        generation = wanted_generation(client.spec)
        noted = msgspec.structs.replace(noted, key_generation=generation, key_ceph_version=seen.version)
    return msgspec.structs.replace(noted, key_type=seen.key_type)
