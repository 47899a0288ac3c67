"""Identity and keys."""

from __future__ import annotations

import base64
import struct

import pytest

from controller.ceph.access.identity import (
    Identity,
    generate_identity,
    generate_key,
    identity_secret,
    keyring,
    mons_keyring,
    parse_identity,
)

FSID = "a7beedc0-36a7-4be2-afe3-22094a6770aa"


@pytest.mark.parametrize(("key_type", "number", "size", "begins"), [("aes", 1, 16, "AQ"), ("aes256k", 2, 32, "Ag")])
def test_a_key_is_what_ceph_authtool_makes(key_type: str, number: int, size: int, begins: str) -> None:
    key = generate_key(key_type)
    raw = base64.b64decode(key)
    kind, _, nanoseconds, length = struct.unpack("<HIIH", raw[:12])
    assert (kind, nanoseconds, length, len(raw)) == (number, 0, size, 12 + size)
    assert key.startswith(begins)
    assert generate_key(key_type) != key


def test_only_mons_may_have_a_key_that_older_clients_do_not_know() -> None:
    identity = generate_identity("aes256k")
    assert (identity.mon_key[:2], identity.admin_key[:2]) == ("Ag", "AQ"), "the operator's client may be an older one"


def test_an_identity_survives_its_secret() -> None:
    identity = generate_identity()
    secret = identity_secret({"name": "rook-ceph-mon", "namespace": "rook-ceph"}, identity)
    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    assert parse_identity(data) == identity
    assert data["cluster-name"] == b"rook-ceph"


def test_upstreams_secret_is_understood() -> None:
    data = {"fsid": FSID.encode(), "mon-secret": b"m", "admin-secret": b"a", "cluster-name": b"rook-ceph"}
    assert parse_identity(data).admin_key == "a"
    assert parse_identity(data).admin_user == "client.admin"


def test_a_damaged_secret_is_an_error_that_names_what_is_missing() -> None:
    with pytest.raises(ValueError, match="Secret rook-ceph-mon lacks mon-secret, ceph-secret"):
        parse_identity({"fsid": b"f"})


def test_a_line_feed_that_was_added_by_hand_is_not_taken_for_a_part() -> None:
    """In the script that removes a cluster's data, an fsid of two lines would match the label of any cluster's OSD."""
    data = {"fsid": f"{FSID}\n".encode(), "mon-secret": b"m\n", "ceph-secret": b"a\n", "ceph-username": b"\n"}
    assert parse_identity(data) == Identity(FSID, "m", "a", "client.admin")


@pytest.mark.parametrize("fsid", ["x", f"{FSID}\nx", f"{FSID[:-1]}"])
def test_an_fsid_is_a_uuid(fsid: str) -> None:
    with pytest.raises(ValueError, match="expected a UUID"):
        parse_identity({"fsid": fsid.encode(), "mon-secret": b"m", "ceph-secret": b"a"})


def test_keys_are_not_shown() -> None:
    identity = generate_identity()
    assert identity.mon_key not in repr(identity)
    assert identity.admin_key not in repr(identity)


def test_a_keyring_has_sorted_capabilities() -> None:
    assert keyring("mgr.a", "K", {"osd": "allow *", "mon": "allow profile mgr"}) == (
        '[mgr.a]\n\tkey = K\n\tcaps mon = "allow profile mgr"\n\tcaps osd = "allow *"\n'
    )


def test_mons_start_with_their_own_key_and_the_administrators() -> None:
    identity = generate_identity()
    text = mons_keyring(identity)
    assert text.startswith(f'[mon.]\n\tkey = {identity.mon_key}\n\tcaps mon = "allow *"\n[client.admin]\n')
    assert f"key = {identity.admin_key}" in text
