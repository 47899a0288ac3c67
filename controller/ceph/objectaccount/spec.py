"""What a CephObjectStoreAccount's spec asks for, in the gateways' terms. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.rgw.users import User

if TYPE_CHECKING:
    from controller.apis.ceph import CephObjectStoreAccount

MOST = 64
"""Characters of a user's name for people in an account, as gateways take it."""
_DIGITS = 14
"""Hexadecimal digits of metadata.uid that an id is made of: 17 decimal digits hold them."""


def account_id(account: CephObjectStoreAccount) -> str:
    """The account's id: what the spec says, else what is noted, else one made of metadata.uid, as upstream makes it."""
    if account.spec.account_id or account.status.account_id:
        return account.spec.account_id or account.status.account_id
    digits = account.metadata.uid.replace("-", "")
    return f"RGW{int(digits[-12:] + digits[: _DIGITS - 12], 16):017d}"


def account_name(account: CephObjectStoreAccount) -> str:
    """The account's name in the store."""
    return account.spec.name or account.metadata.name


def root_user(account: CephObjectStoreAccount) -> User:
    """The user that may do everything in the account; its name is metadata.uid, as upstream's is."""
    named = account.spec.root_user.display_name or f"root-{account.metadata.name}"[:MOST]
    return User(uid=account.metadata.uid, display_name=named, account=account_id(account))


def secret_name(account: CephObjectStoreAccount) -> str:
    """The Secret with the root user's key; upstream's name."""
    return f"rook-ceph-object-root-user-{account.metadata.name}"
