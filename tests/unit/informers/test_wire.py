"""Splitting, identifying and stripping of bytes."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from informers import Resource, wire
from tests.unit.informers.widgets import WIDGETS

POD = Resource("", "v1", "Pod", "pods")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["managedFields", "metadata", "object", "a", '"\\']), inner, max_size=3)
    ),
    max_leaves=8,
)
MANAGED_FIELDS = st.lists(st.dictionaries(st.sampled_from(["manager", "fieldsV1", "managedFields"]), JSON, max_size=2))


@st.composite
def objects(draw: st.DrawFn) -> dict[str, Any]:
    """Objects with and without managedFields, which may stand anywhere else as well, with the same value even."""
    managed = draw(MANAGED_FIELDS)
    metadata: dict[str, Any] = {
        "name": draw(st.text(min_size=1, max_size=8)),
        "namespace": draw(st.text(max_size=8)),
        "resourceVersion": str(draw(st.integers(1, 2**63))),
        "annotations": draw(st.dictionaries(st.text(max_size=4), st.text(max_size=8), max_size=2))
        | {"last-applied": orjson.dumps({"metadata": {"managedFields": managed}}).decode()},
    }
    if draw(st.booleans()):
        metadata["managedFields"] = managed
    obj = {"kind": "Widget", "apiVersion": "example.org/v1", "metadata": metadata, "spec": draw(JSON)}
    if draw(st.booleans()):
        obj["copy"] = {"metadata": {"managedFields": managed}}
    return {name: obj[name] for name in draw(st.permutations(list(obj)))} | (
        {"metadata": {name: metadata[name] for name in draw(st.permutations(list(metadata)))}}
    )


def without_managed_fields(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}


@given(obj=objects(), kind=st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), spaces=st.booleans())
def test_an_event_keeps_the_object_exactly_but_for_managed_fields(obj: dict[str, Any], kind: str, spaces: bool) -> None:
    found = wire.event(orjson.dumps({"type": kind, "object": obj}, option=orjson.OPT_INDENT_2 if spaces else None))
    assert isinstance(found, wire.Delete if kind == "DELETED" else wire.Upsert)
    namespace, name, version, data = found.object
    assert (namespace, name, version) == (
        obj["metadata"]["namespace"],
        obj["metadata"]["name"],
        int(obj["metadata"]["resourceVersion"]),
    )
    assert orjson.loads(data) == without_managed_fields(obj)
    assert orjson.dumps(orjson.loads(data)) == data, "compact, in the server's order"


@given(found=st.lists(objects(), max_size=4), token=st.text(max_size=5), kinds=st.booleans())
def test_a_page_completes_what_its_items_leave_out(found: list[dict[str, Any]], token: str, kinds: bool) -> None:
    items = [obj if kinds else {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in found]
    body = {"kind": "WidgetList", "metadata": {"resourceVersion": "42", "continue": token}, "items": items}
    page = wire.page(orjson.dumps(body), WIDGETS)
    assert (page.version, page.token) == (42, token)
    assert [orjson.loads(obj.data) for obj in page.objects] == [without_managed_fields(obj) for obj in found]


def test_an_empty_page_may_say_null() -> None:
    assert wire.page(b'{"metadata":{"resourceVersion":"7"},"items":null}', POD) == wire.Page(7, "", ())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"metadata":{"managedFields":[{"a":1}],"name":"x"}}', b'{"metadata":{"name":"x"}}'),
        (b'{"metadata":{"name":"x","managedFields":[{"a":1}]}}', b'{"metadata":{"name":"x"}}'),
        (b'{"metadata":{"name":"x","managedFields":[],"uid":"u"}}', b'{"metadata":{"name":"x","uid":"u"}}'),
        (b'{"metadata":{"name":"x","managedFields":null}}', b'{"metadata":{"name":"x"}}'),
        (b'{"metadata":{"name":"x"}}', b'{"metadata":{"name":"x"}}'),
        (b'{"metadata":{"name":"x", "managedFields":[1],"uid":"u"}}', b'{"metadata":{"name":"x","uid":"u"}}'),
        (b'{"metadata":{ "managedFields":[1],"name":"x"}}', b'{"metadata":{"name":"x"}}'),
        (
            b'{"a":{"managedFields":[1]},"metadata":{"name":"x","managedFields":[1]}}',
            b'{"a":{"managedFields":[1]},"metadata":{"name":"x"}}',
        ),
    ],
)
def test_managed_fields_at_any_place(before: bytes, after: bytes) -> None:
    versioned = before.replace(b'"name":"x"', b'"name":"x","resourceVersion":"1"')
    line = b'{"type":"ADDED","object":' + versioned + b"}"
    found = wire.event(line)
    assert isinstance(found, wire.Upsert)
    assert found.object.data == after.replace(b'"name":"x"', b'"name":"x","resourceVersion":"1"')


def test_bookmarks() -> None:
    line = b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"%s}}}'
    assert wire.event(line % b"") == wire.Bookmark(9, initial_end=False)
    end = b',"annotations":{"k8s.io/initial-events-end":"true"}'
    assert wire.event(line % end) == wire.Bookmark(9, initial_end=True)
    assert wire.event(b'{ "object": {"metadata":{"resourceVersion":"9"}}, "type": "BOOKMARK" }') == wire.Bookmark(
        9, initial_end=False
    )


def test_errors() -> None:
    found = wire.event(
        b'{"type":"ERROR","object":{"kind":"Status","code":504,"reason":"Timeout","message":"Too large resource '
        b'version","details":{"retryAfterSeconds":1,"causes":[{"reason":"ResourceVersionTooLarge"}]}}}'
    )
    assert isinstance(found, wire.Failure)
    assert (found.error.status, found.error.reason, found.error.retry_after) == (504, "Timeout", 1.0)
    assert found.error.is_ahead


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"1"}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a","resourceVersion":"abc"}}}',
        b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}',
        b'{"type":"ADDED","object":{"kind":"Table"}}',
        b'{"type":"REPLACED","object":{"metadata":{"name":"a","resourceVersion":"1"}}}',
        b'{"type":"BOOKMARK","object":{"metadata":{}}}',
        b'{"type":"ERROR","object":7}',
        b"<html>not an API server</html>",
    ],
)
def test_what_is_no_event_is_refused_with_its_beginning(line: bytes) -> None:
    with pytest.raises(wire.DecodeError) as caught:
        wire.event(line)
    assert line[:10].decode() in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"metadata":{"resourceVersion":"x"},"items":[]}'])
def test_what_is_no_page_is_refused(body: bytes) -> None:
    with pytest.raises(wire.DecodeError):
        wire.page(body, POD)


@given(lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8), data=st.data())
def test_lines_come_out_whole_however_the_stream_is_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines) + b"unfinished"
    splitter, found = wire.Splitter(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    assert found == lines


def test_a_line_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_LINE", 100)
    splitter = wire.Splitter()
    assert splitter.feed(b"x" * 90 + b"\n" + b"y" * 90) == [b"x" * 90]
    with pytest.raises(wire.DecodeError, match="longer than 100 bytes"):
        splitter.feed(b"y" * 20)
