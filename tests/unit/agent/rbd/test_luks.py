"""The first use of an encrypted image: whatever is cut off, nothing is formatted twice, and no key is lost."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.agent.ceph.credentials import Credentials
from controller.agent.rbd import keys
from controller.agent.rbd import unlock as program
from controller.agent.rbd.luks import MAGIC, LuksError, Opening, unlock
from controller.agent.rbd.protocol import Image
from controller.apis.rook.encryption import DEFAULT, DEK, DEK_OF, ENCRYPTED, HEADER, METADATA, PREPARED, STATE
from tests.unit.agent.rbd.standin_librbd import MIB, Cluster, CrashError, Stored, header

HANDLE = "0001-0009-rook-ceph-0000000000000001-66666666-2222-3333-4444-555555555555"
THIRD = "0001-0009-rook-ceph-0000000000000001-88888888-2222-3333-4444-555555555555"
OTHER = "0001-0009-rook-ceph-0000000000000001-77777777-2222-3333-4444-555555555555"
SIZE = HEADER + 48 * MIB
PASS = "of the Secret"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivation that takes no time; the real one is in `test_what_ceph_csi_has_sealed_is_opened`."""
    monkeypatch.setattr(keys, "_COST", 2)


def opening(kms: str = METADATA, **changes: Any) -> Opening:
    return Opening(**{"image": "image", "handle": HANDLE, "passphrase": PASS, "kms": kms, **changes})


def cluster(**stored: Any) -> Cluster:
    return Cluster(image=Stored(**{"size": SIZE, **stored}))


def use(cluster: Cluster, key: str, data: bytes | None = None) -> bytes:
    """Writes to what the image decrypts to, or reads it, as a pod does."""
    with cluster.Image(cluster, "image") as image:
        image.encryption_load(1, key)
        if data is not None:
            image.write(data, 30 * MIB)
        return image.read(30 * MIB, 4)


@pytest.mark.parametrize("kms", [DEFAULT, METADATA])
def test_an_image_is_made_once_and_opened_ever_after(kms: str) -> None:
    made = cluster(metadata={STATE: PREPARED})
    key = unlock(made, made, opening(kms), header)
    assert (key == PASS) == (kms == DEFAULT)
    assert made.images["image"].metadata[STATE] == ENCRYPTED
    use(made, key, b"data")
    before = dict(made.images["image"].blocks)
    assert unlock(made, made, opening(kms), header) == key
    assert unlock(made, made, opening(kms, read_only=True), header) == key
    assert made.images["image"].blocks == before
    assert PASS not in json.dumps(made.images["image"].metadata)


def test_a_volume_has_a_key_of_256_random_bits_that_is_its_own() -> None:
    found = {unlock(made, made, opening(), header) for made in (cluster(), cluster())}
    assert len(found) == 2
    assert all(len(key) >= 43 for key in found)


@settings(max_examples=40, deadline=None)
@given(
    kms=st.sampled_from([DEFAULT, METADATA]),
    state=st.sampled_from(["", PREPARED]),
    crashes=st.lists(st.integers(1, 60), max_size=4),
)
def test_whenever_it_dies_the_next_one_goes_on(kms: str, state: str, crashes: list[int]) -> None:
    keys._COST = 2
    made = cluster(metadata={STATE: state} if state else {})
    stored = made.images["image"]
    returned: list[str] = []

    def guarded(passphrase: str, size: int) -> bytes:
        assert not returned, "it was handed out before: it may have data"
        return header(passphrase, size)

    deks = set()
    for crash in [*crashes, None, None]:
        made.crash_at = made.writes + crash if crash else None
        made.locked = False  # it ends by itself
        with suppress(CrashError):
            returned.append(unlock(made, made, opening(kms), guarded))
            made.crash_at = None
            use(made, returned[0], b"data")
        deks.add(stored.metadata.get(DEK, ""))
        if stored.metadata.get(STATE) == ENCRYPTED:
            made.locked, made.crash_at = False, None
            assert stored.turn(unlock(made, made, opening(kms), guarded)), "what is noted is so"
    assert len(set(returned)) == 1
    assert len(deks - {""}) == (kms == METADATA), "made once"
    made.crash_at = None
    assert use(made, returned[0]) == b"data"
    assert stored.metadata[STATE] == ENCRYPTED


@pytest.mark.parametrize("state", ["", PREPARED])
def test_what_has_data_is_not_formatted(state: str) -> None:
    made = cluster(blocks={20: b"x" * MIB}, metadata={STATE: state} if state else {})
    with pytest.raises(LuksError, match="has data"):
        unlock(made, made, opening(), header)
    assert made.images["image"].blocks == {20: b"x" * MIB}


def test_data_before_the_place_of_the_header_s_end_counts_where_nothing_was_noted() -> None:
    made = cluster(blocks={0: b"\0\1".ljust(MIB, b"\0")})
    with pytest.raises(LuksError, match="at byte 0: expected an empty image, or one that begins with a LUKS header"):
        unlock(made, made, opening(), header)


def test_one_that_was_never_used_but_has_data_is_kept() -> None:
    """As where somebody set the metadata by hand."""
    made = cluster()
    key = unlock(made, made, opening(), header)
    use(made, key, b"data")
    made.images["image"].metadata[STATE] = PREPARED
    before = dict(made.images["image"].blocks)
    with pytest.raises(LuksError, match="noted never to have been used"):
        unlock(made, made, opening(), header)
    assert made.images["image"].blocks == before


def test_an_image_that_was_encrypted_by_hand_is_opened_and_not_changed() -> None:
    start = header("by hand", HEADER)
    made = cluster(blocks={at: start[at * MIB : (at + 1) * MIB] for at in range(16)})
    assert unlock(made, made, opening(DEFAULT, passphrase="by hand"), header) == "by hand"
    assert made.writes == 0


def test_a_wrong_passphrase_is_told_and_changes_nothing() -> None:
    made = cluster()
    unlock(made, made, opening(), header)
    writes = made.writes
    with pytest.raises(LuksError, match="encryptionPassphrase of the Secret does not open") as refused:
        unlock(made, made, opening(passphrase="another"), header)
    assert "another" not in str(refused.value).replace("another process", "")
    assert made.writes == writes


def test_a_secret_that_changes_while_an_image_is_made_ready_is_told() -> None:
    made = cluster()
    made.crash_at = 20
    with suppress(CrashError):
        unlock(made, made, opening(DEFAULT), header)
    made.locked = False
    with pytest.raises(LuksError, match="was the Secret changed"):
        unlock(made, made, opening(DEFAULT, passphrase="another"), header)
    assert unlock(made, made, opening(DEFAULT), header) == PASS


def test_a_copy_keeps_the_key_and_has_it_sealed_for_itself() -> None:
    made = cluster()
    key = unlock(made, made, opening(), header)
    for _ in range(2):
        assert unlock(made, made, opening(handle=OTHER, read_only=True), header) == key
        assert made.images["image"].metadata[DEK_OF] == HANDLE
    for crash in (1, 2, 3, None):
        made.crash_at = made.writes + crash if crash else None
        made.locked = False
        with suppress(CrashError):
            assert unlock(made, made, opening(handle=OTHER), header) == key
        stored = made.images["image"]
        copied = cluster(metadata=dict(stored.metadata), blocks=dict(stored.blocks))
        assert unlock(copied, copied, opening(handle=THIRD), header) == key, "as it was copied at that moment"
    metadata = made.images["image"].metadata
    assert metadata[DEK_OF] == OTHER
    assert keys.unwrap(metadata[DEK], PASS, OTHER) == key


def test_a_copy_of_what_was_never_used_is_made_ready_by_itself() -> None:
    made = cluster(metadata={STATE: PREPARED})
    made.crash_at = 5
    with suppress(CrashError):
        unlock(made, made, opening(), header)
    copied = made.images["image"].metadata
    assert copied[STATE] == PREPARED
    copy = cluster(metadata=dict(copied), blocks=dict(made.images["image"].blocks))
    key = unlock(copy, copy, opening(handle=OTHER), header)
    assert keys.unwrap(copy.images["image"].metadata[DEK], PASS, OTHER) == key


def test_old_names_of_the_metadata_are_understood() -> None:
    made = cluster()
    key = unlock(made, made, opening(), header)
    stored = made.images["image"]
    stored.metadata = {f".{name}": stored.metadata[name] for name in (STATE, DEK)}
    assert unlock(made, made, opening(), header) == key


@pytest.mark.parametrize(
    ("kms", "found", "told"),
    [
        (DEFAULT, {STATE: ENCRYPTED, DEK: "{}"}, "expected an encryptionKMSID whose type is 'metadata'"),
        (METADATA, {STATE: ENCRYPTED}, "expected no encryptionKMSID"),
        (METADATA, {STATE: ENCRYPTED, DEK: "no JSON"}, "has no form that is known"),
        (DEFAULT, {STATE: ENCRYPTED}, "does not begin with a LUKS header"),
        (DEFAULT, {STATE: "half"}, f"has {STATE} 'half': expected {PREPARED} or {ENCRYPTED}"),
    ],
)
def test_what_cannot_be_is_told(kms: str, found: dict[str, str], told: str) -> None:
    made = cluster(metadata=found)
    with pytest.raises(LuksError, match=told):
        unlock(made, made, opening(kms), header)
    assert made.images["image"].blocks == {}


def test_a_reader_makes_nothing() -> None:
    made = cluster(metadata={STATE: PREPARED})
    with pytest.raises(LuksError, match="never written to"):
        unlock(made, made, opening(read_only=True), header)
    assert made.writes == 0


def test_a_second_node_waits_for_the_first() -> None:
    made = cluster()
    made.locked = True
    with pytest.raises(LuksError, match="is being made ready by another process"):
        unlock(made, made, opening(), header)
    assert made.writes == 0


def test_an_image_has_room_for_its_header() -> None:
    made = cluster(size=HEADER)
    with pytest.raises(LuksError, match=f"has {HEADER} bytes: expected {HEADER + MIB} at least"):
        unlock(made, made, opening(), header)


def test_what_ceph_csi_has_sealed_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt with N 32768, r 8, p 1 over the handle, AES-256-GCM, and JSON of base64: what its Go code writes."""
    monkeypatch.setattr(keys, "_COST", 32768)
    sealed = '{"dek":"4pod4fL051eLO5MUNnOTHIiHVnsGHJg=","nonce":"AAECAwQFBgcICQoL"}'
    assert keys.unwrap(sealed, "test-passphrase", "vol-1") == "the-key"
    assert keys.unwrap(sealed, "test-passphrase", "vol-2") is None
    mine = json.loads(keys.wrap("the-key", "test-passphrase", "vol-1"))
    assert sorted(mine) == ["dek", "nonce"]


IMAGE = Image(monitors=("10.0.0.1:6789",), pool="p", name="image")


def question(**changes: Any) -> program.Question:
    credentials = Credentials(user="node", key="c2VjcmV0")
    made = {"image": IMAGE, "credentials": credentials, "handle": HANDLE, "passphrase": PASS, "kms": DEFAULT}
    return program.Question(**{**made, **changes})


ECHO = """
import json, sys
asked = json.load(sys.stdin)
json.dump({"passphrase": asked["passphrase"]} if asked["handle"] else {"error": "image p/image: no"}, sys.stdout)
"""


async def test_the_program_is_asked_and_answers_through_pipes() -> None:
    argv = (sys.executable, "-c", ECHO)
    assert await program.ask(question(), argv=argv) == PASS
    with pytest.raises(program.UnlockError, match="image p/image: no"):
        await program.ask(question(handle=""), argv=argv)


async def test_a_program_that_dies_is_told_without_secrets() -> None:
    with pytest.raises(program.UnlockError, match="image p/image cannot be unlocked: it broke"):
        await program.ask(question(), argv=(sys.executable, "-c", "import sys; sys.exit('it broke')"))
    with pytest.raises(program.UnlockError, match="No such file"):
        await program.ask(question(), argv=("/does/not/exist",))
    assert PASS not in repr(question())
    assert PASS not in repr(program.Answer(passphrase=PASS))


def test_the_magic_is_that_of_luks() -> None:
    assert header("p", HEADER).startswith(MAGIC)
