"""Splitting, identifying and stripping of protobuf."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.testkit import protobuf as server
from informers import ApiError, protobuf, wire
from informers.fields import encode_varint, fields, varint
from tests.unit.informers.widgets import KIND

TEXTS = st.text(max_size=8)
MANAGED = st.lists(
    st.fixed_dictionaries({"manager": TEXTS, "operation": st.just("Update"), "fieldsV1": st.just({"f:spec": {}})}),
    max_size=3,
)


@st.composite
def widgets(draw: st.DrawFn) -> dict[str, Any]:
    """Objects with and without managedFields, of all lengths that a length of several bytes may have."""
    metadata = {
        "name": draw(st.text(min_size=1, max_size=8)),
        "namespace": draw(TEXTS),
        "uid": draw(TEXTS),
        "resourceVersion": str(draw(st.integers(1, 2**63))),
        "generation": draw(st.integers(0, 2**40)),
        "labels": draw(st.dictionaries(TEXTS, TEXTS, max_size=3)),
        "annotations": {"long": "x" * draw(st.sampled_from([0, 100, 127, 128, 20000]))},
        "finalizers": draw(st.lists(TEXTS, max_size=2)),
        "managedFields": draw(MANAGED),
    }
    return {"metadata": metadata, "spec": {"number": draw(st.integers(0, 2**31 - 1))}}


def without_managed_fields(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {**obj["metadata"], "managedFields": []}}


def frame(obj: dict[str, Any], event: str = "ADDED") -> bytes:
    return server.frame(event, server.encode(obj, KIND), KIND)[4:]


@given(obj=widgets(), kind=st.sampled_from(["ADDED", "MODIFIED", "DELETED"]))
def test_an_event_keeps_the_object_exactly_but_for_managed_fields(obj: dict[str, Any], kind: str) -> None:
    found = protobuf.event(frame(obj, kind))
    assert isinstance(found, wire.Delete if kind == "DELETED" else wire.Upsert)
    metadata = obj["metadata"]
    assert found.object[:3] == (metadata["namespace"], metadata["name"], int(metadata["resourceVersion"]))
    assert found.object.data == server.encode(without_managed_fields(obj), KIND)
    assert protobuf.uid(found.object.data) == metadata["uid"]


@given(found=st.lists(widgets(), max_size=4), token=TEXTS)
def test_a_page(found: list[dict[str, Any]], token: str) -> None:
    body = server.page({"resourceVersion": "42", "continue": token}, [server.encode(obj, KIND) for obj in found], KIND)
    page = protobuf.page(body)
    assert (page.version, page.token) == (42, token)
    assert [obj.name for obj in page.objects] == [obj["metadata"]["name"] for obj in found]
    assert [protobuf.event(frame(obj)).object for obj in found] == list(page.objects)  # type: ignore[union-attr]


def test_bookmarks() -> None:
    metadata: dict[str, Any] = {"resourceVersion": "9", "annotations": {"other": "true"}}
    assert protobuf.event(frame({"metadata": metadata}, "BOOKMARK")) == wire.Bookmark(9, initial_end=False)
    metadata["annotations"]["k8s.io/initial-events-end"] = "true"
    assert protobuf.event(frame({"metadata": metadata}, "BOOKMARK")) == wire.Bookmark(9, initial_end=True)


STATUS = {
    "code": 504,
    "reason": "Timeout",
    "message": "Too large resource version",
    "details": {"retryAfterSeconds": 1, "causes": [{"reason": "ResourceVersionTooLarge"}]},
}


def test_errors() -> None:
    found = protobuf.event(server.frame("ERROR", server.status(STATUS), "v1/Status")[4:])
    assert isinstance(found, wire.Failure)
    body = server.envelope(server.status(STATUS), "v1/Status")
    for error in (found.error, ApiError.from_body(504, body)):
        assert (error.status, error.reason, error.message) == (504, "Timeout", "Too large resource version")
        assert error.retry_after == 1.0
        assert error.is_ahead


def test_a_body_that_only_begins_as_a_status_is_shown() -> None:
    assert "k8s" in str(ApiError.from_body(500, b"k8s\0\x12\x7f"))


NAMELESS = server.text(1, server.text(6, b"12"))


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"{}",
        frame({"metadata": {"name": "a", "resourceVersion": "1"}})[:-1],
        frame({"metadata": {"name": "a", "resourceVersion": "1"}}).replace(b"k8s\0", b"k9s\0"),
        frame({"metadata": {"name": "a", "resourceVersion": "x"}}),
        frame({"metadata": {"name": "a"}}),
        frame({"metadata": {"resourceVersion": "1"}}, "REPLACED"),
        frame({"metadata": {}}, "BOOKMARK"),
        server.frame("ADDED", b"", KIND)[4:],
        server.frame("ADDED", server.text(2, b"spec before metadata"), KIND)[4:],
        server.frame("ADDED", server.text(1, b"\x0d1234"), KIND)[4:],
        server.frame("ADDED", b"\x0a\x7f" + NAMELESS, KIND)[4:],
        server.frame("ADDED", server.text(1, server.text(6, b"1") + b"\x0a\x05a"), KIND)[4:],
    ],
)
def test_what_is_no_event_is_refused(damaged: bytes) -> None:
    with pytest.raises(wire.DecodeError):
        protobuf.event(damaged)


@pytest.mark.parametrize("body", [b"", b"k8s\0", b"k8s\0\xff", server.page({"resourceVersion": "x"}, [], KIND)])
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(wire.DecodeError):
        protobuf.page(body)


@given(frames=st.lists(st.binary(max_size=300), max_size=8), data=st.data())
def test_frames_come_out_whole_however_the_stream_is_cut(frames: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(len(frame).to_bytes(4) + frame for frame in frames) + b"\0\0\1\0unfinished"
    splitter, found = protobuf.Splitter(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == frames


def test_a_stream_that_is_no_protobuf_is_refused_after_the_frames_before_it() -> None:
    splitter = protobuf.Splitter()
    assert splitter.feed(b"\0\0\0\1a<html>") == [b"a"]
    with pytest.raises(wire.DecodeError, match="<html>"):
        splitter.feed(b"more")


@given(number=st.integers(0, 2**64 - 1))
def test_numbers(number: int) -> None:
    encoded = encode_varint(number)
    assert varint(encoded + b"\7", 0) == (number, len(encoded))
    with pytest.raises(IndexError):
        varint(encoded[:-1], 0)


@pytest.mark.parametrize("damaged", [b"\x0a\x02a", b"\x0a\x01", b"\x0d1234", b"\x08", b"\x0a"])
def test_messages_that_are_cut_off(damaged: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        list(fields(damaged, 0, len(damaged)))
