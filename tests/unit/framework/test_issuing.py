"""Certificates as OpenSSL takes them: in a handshake of two members, both of which show one."""

from __future__ import annotations

import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.framework.certificates import Authority, Request
from controller.framework.issuing import issue, make_authority, succeeded, with_successor
from controller.framework.tls import CERTIFICATE, CLIENT, KEY, SERVER, TRUSTED

if TYPE_CHECKING:
    from pathlib import Path

NOW = time.time()
META = {"name": "x", "namespace": "ns"}
CA = Authority(meta=META, common_name="x")
MEMBER = Request(meta=META, common_name="m", names=("m-0.ns.svc", "10.0.0.1"), usages=frozenset({SERVER, CLIENT}))


def context(protocol: int, data: dict[str, bytes], directory: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(protocol)
    made.verify_mode = ssl.CERT_REQUIRED
    made.verify_flags |= ssl.VERIFY_X509_STRICT
    made.load_verify_locations(cadata=data[TRUSTED].decode())
    pair = directory / f"{protocol}.pem"
    pair.write_bytes(data[KEY] + data[CERTIFICATE])
    made.load_cert_chain(pair)
    return made


def shake_hands(server: dict[str, bytes], client: dict[str, bytes], name: str, directory: Path) -> None:
    """Both ends of a connection in memory.

    Raises:
        ssl.SSLError: One of them refuses the other.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        context(ssl.PROTOCOL_TLS_SERVER, server, directory).wrap_bio(to_server, to_client, server_side=True),
        context(ssl.PROTOCOL_TLS_CLIENT, client, directory).wrap_bio(to_client, to_server, server_hostname=name),
    ]
    shaken: set[int] = set()
    for _ in range(10):
        for number, end in enumerate(ends):
            try:
                end.do_handshake()
                shaken.add(number)
            except ssl.SSLWantReadError:
                continue
    assert len(shaken) == 2


@pytest.mark.parametrize("name", ["m-0.ns.svc", "10.0.0.1"])
def test_members_let_each_other_in(name: str, tmp_path: Path) -> None:
    authority = make_authority(CA, NOW)
    shake_hands(issue(authority, MEMBER, NOW), issue(authority, MEMBER, NOW), name, tmp_path)


def test_also_while_their_authority_is_succeeded(tmp_path: Path) -> None:
    prepared = with_successor(make_authority(CA, NOW), CA, NOW)
    before, after = issue(prepared, MEMBER, NOW), issue(succeeded(prepared), MEMBER, NOW)
    shake_hands(before, after, "10.0.0.1", tmp_path)
    shake_hands(after, before, "10.0.0.1", tmp_path)


def test_a_stranger_is_refused(tmp_path: Path) -> None:
    own, strange = (issue(make_authority(CA, NOW), MEMBER, NOW) for _ in range(2))
    with pytest.raises(ssl.SSLError):
        shake_hands(own, strange, "10.0.0.1", tmp_path)


@pytest.mark.parametrize("changes", [{"names": ("m-1.ns.svc",)}, {"usages": frozenset({CLIENT})}])
def test_a_certificate_is_good_for_what_it_was_made_for_only(changes: dict[str, object], tmp_path: Path) -> None:
    authority = make_authority(CA, NOW)
    other = issue(authority, replace(MEMBER, **changes), NOW)  # type: ignore[arg-type]
    with pytest.raises(ssl.SSLError):
        shake_hands(other, issue(authority, MEMBER, NOW), "m-0.ns.svc", tmp_path)


def test_one_that_has_ended_is_refused(tmp_path: Path) -> None:
    authority = make_authority(CA, NOW)
    ended = issue(authority, replace(MEMBER, lifetime=60.0), NOW - 3600)
    with pytest.raises(ssl.SSLError):
        shake_hands(ended, issue(authority, MEMBER, NOW), "10.0.0.1", tmp_path)
