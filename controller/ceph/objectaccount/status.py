"""`status` of a CephObjectStoreAccount. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from controller.ceph.objectaccount.analyze import blocked, invalid
from controller.ceph.objectaccount.spec import account_id, secret_name
from controller.framework import honoured
from controller.framework.status import Words, conditions, fields, stage_of

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreAccount, ObjectStoreAccountStatus
    from controller.ceph.objectaccount.observe import AccountObservation
    from controller.framework.kind import Look
    from controller.framework.plan import Outcome

WORDS = Words(well="The account is as the spec has it", leaving="The CephObjectStoreAccount is being deleted")


def show(look: Look[CephObjectStoreAccount], seen: AccountObservation, outcome: Outcome) -> ObjectStoreAccountStatus:
    """See `controller.framework.kind.ControlLoop`."""
    account, present = look.obj, look.obj.status
    wrong = invalid(account, seen)
    stage = stage_of(look, outcome, WORDS, invalid="; ".join(wrong))
    held = blocked(account, seen)
    found = (
        *conditions(stage, WORDS, blocked=f"it has {held}" if held else ""),
        honoured.condition((), (), account.metadata.generation),
    )
    noted = not wrong and not seen.waits_for and account.metadata.deletion_timestamp is None
    has_root = seen.root is not None and not account.spec.root_user.skip_create
    return msgspec.structs.replace(
        present,
        **fields(present, look, outcome, stage, found),
        account_id=account_id(account) if noted else present.account_id,
        root_account_secret_name=secret_name(account) if has_root else "",
    )
