"""CQL's protocol: frames of a server that answers as Cassandra does, and some that do not."""

import struct
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from controller.cassandra.access import cql, roles
from controller.cassandra.access.answers import RefusedError, UnansweredError
from controller.cassandra.access.members import Login

LOGIN = Login("rook", "secret")
READY, AUTHENTICATE, AUTH_SUCCESS, RESULT, ERROR = 0x02, 0x03, 0x10, 0x08, 0x00

type Answer = Callable[[int, bytes], tuple[int, bytes] | None]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[int]:
    """A server on a port; each request is answered by what `answer` makes of its opcode and content, None: not."""

    async def serve(stream: SocketStream) -> None:
        received = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                while True:
                    _, _, _, opcode, length = struct.unpack(">BBhBi", await received.receive_exactly(9))
                    found = answer(opcode, await received.receive_exactly(length) if length else b"")
                    if found is None:
                        return
                    await stream.send(struct.pack(">BBhBi", 0x84, 0, 0, found[0], len(found[1])) + found[1])
            except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                return

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610  # of anyio
        group.cancel_scope.cancel()


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


def value(content: bytes | None) -> bytes:
    return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content


def error(code: int, message: str) -> tuple[int, bytes]:
    return ERROR, struct.pack(">i", code) + text(message)


def plain(answer: tuple[int, bytes]) -> Answer:
    return lambda opcode, _: (READY, b"") if opcode == 0x01 else answer


def rows(columns: list[tuple[str, bytes]], content: list[list[bytes | None]]) -> tuple[int, bytes]:
    body = struct.pack(">iii", 2, 1, len(columns)) + text("ks") + text("table")
    body += b"".join(text(name) + kind for name, kind in columns)
    body += struct.pack(">i", len(content)) + b"".join(value(cell) for row in content for cell in row)
    return RESULT, body


async def test_rows_of_all_types_that_are_asked_for() -> None:
    some = uuid.UUID(int=7)
    short = struct.Struct(">H").pack
    listed = struct.pack(">i", 2) + value(b"a") + value(None)
    mapped = struct.pack(">i", 1) + value(b"k") + value(b"\0\0\0\x05")
    answer = rows(
        [
            ("name", short(0x0D)),
            ("count", short(0x09)),
            ("id", short(0x0C)),
            ("yes", short(0x04)),
            ("address", short(0x10)),
            ("list", short(0x20) + short(0x0D)),
            ("map", short(0x21) + short(0x0D) + short(0x09)),
            ("nothing", short(0x0D)),
            ("unknown", short(0x30) + text("ks") + text("type") + short(1) + text("field") + short(0x09)),
        ],
        [[b"x", b"\xff\xff\xff\xff", some.bytes, b"\1", b"\x0a\0\0\1", listed, mapped, None, b"raw"]],
    )
    async with server(plain(answer)) as port, cql.connect("127.0.0.1", None, port=port) as session:
        (row,) = await session.query("SELECT")
    assert row == {
        "name": "x",
        "count": -1,
        "id": some,
        "yes": True,
        "address": "10.0.0.1",
        "list": ["a", None],
        "map": {"k": 5},
        "nothing": None,
        "unknown": b"raw",
    }


async def test_a_login() -> None:
    tokens = []

    def answer(opcode: int, content: bytes) -> tuple[int, bytes]:
        if opcode == 0x01:
            return AUTHENTICATE, text("PasswordAuthenticator")
        tokens.append(content[4:])
        return AUTH_SUCCESS, value(None)

    async with server(answer) as port, cql.connect("127.0.0.1", LOGIN, port=port):
        assert tokens == [b"\0rook\0secret"]


async def test_a_login_that_is_refused_and_one_that_is_missing() -> None:
    def answer(opcode: int, _: bytes) -> tuple[int, bytes]:
        return (AUTHENTICATE, text("P")) if opcode == 0x01 else error(0x0100, "bad credentials")

    async with server(answer) as port:
        with pytest.raises(RefusedError, match="bad credentials"):
            async with cql.connect("127.0.0.1", LOGIN, port=port):
                pass
        with pytest.raises(RefusedError, match="asks for a login"):
            async with cql.connect("127.0.0.1", None, port=port):
                pass


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0x2000, RefusedError),  # syntax
        (0x2100, RefusedError),  # unauthorized
        (0x2200, RefusedError),  # invalid
        (0x0000, UnansweredError),  # of the server
        (0x1000, UnansweredError),  # unavailable
        (0x1100, UnansweredError),  # write timeout: it may have been written
        (0x1200, UnansweredError),  # read timeout
    ],
)
async def test_what_an_error_means(code: int, kind: type[Exception]) -> None:
    async with server(plain(error(code, "because"))) as port, cql.connect("127.0.0.1", None, port=port) as session:
        with pytest.raises(kind, match="because"):
            await session.query("SELECT")


@pytest.mark.parametrize("answer", [None, (RESULT, b"\0\0"), (RESULT, struct.pack(">iii", 2, 1, 1)), (0x0C, b"")])
async def test_what_cannot_be_read_is_no_answer(answer: tuple[int, bytes] | None) -> None:
    def answers(opcode: int, _: bytes) -> tuple[int, bytes] | None:
        return (READY, b"") if opcode == 0x01 else answer

    async with server(answers) as port, cql.connect("127.0.0.1", None, port=port) as session:
        with pytest.raises(UnansweredError):
            await session.query("SELECT")


async def test_names_and_texts_are_quoted() -> None:
    statements = []

    class Session:
        async def query(self, statement: str, *, quorum: bool = False) -> list[dict[str, object]]:
            statements.append((statement, quorum))
            return []

    await roles.set_superuser(Session(), Login('a"b', "it's"))
    await roles.set_replication(Session(), "system_auth", {"dc1": 3})
    assert statements[1][0] == "CREATE ROLE \"a\"\"b\" WITH PASSWORD = 'it''s' AND SUPERUSER = true AND LOGIN = true"
    assert statements[2][0] == (
        "ALTER KEYSPACE \"system_auth\" WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': '3'}"
    )
