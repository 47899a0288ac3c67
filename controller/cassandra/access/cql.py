"""CQL to one member: as much of version 4 of Cassandra's native protocol as the operator needs.

A driver speaks with a cluster and chooses the member; the operator has to ask a certain one, seldom, and for few rows.
https://github.com/apache/cassandra/blob/trunk/doc/native_protocol_v4.spec
"""

from __future__ import annotations

import ipaddress
import struct
import uuid
from contextlib import asynccontextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

from controller.cassandra.access.answers import RefusedError, UnansweredError
from controller.cassandra.access.members import NATIVE_PORT

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from anyio.abc import ByteStream

    from controller.cassandra.access.members import Login

CONNECT_SECONDS = 5.0
LOGIN_SECONDS = 10.0
QUERY_SECONDS = 20.0
"""Longer than a member waits for others, so that it can say itself for whom it waited."""
MOST_BYTES = 16 << 20

_VERSION = 4
_ANSWER = 0x80
_HEADER = struct.Struct(">BBhBi")


class _Opcode(IntEnum):
    ERROR = 0x00
    STARTUP = 0x01
    READY = 0x02
    AUTHENTICATE = 0x03
    QUERY = 0x07
    RESULT = 0x08
    AUTH_CHALLENGE = 0x0E
    AUTH_RESPONSE = 0x0F
    AUTH_SUCCESS = 0x10


_ONE, _LOCAL_QUORUM = 0x0001, 0x0006
_ROWS = 0x0002
_GLOBAL_TABLE, _MORE_PAGES, _NO_METADATA = 0x0001, 0x0002, 0x0004
_UNCERTAIN = frozenset({0x0000, 0x1000, 0x1001, 0x1002, 0x1003, 0x1100, 0x1200, 0x1300, 0x1500})
"""Errors of the server or of other members: what was asked for may have been done all the same."""


@asynccontextmanager
async def connect(
    host: str, login: Login | None, *, context: ssl.SSLContext | None = None, name: str = "", port: int = NATIVE_PORT
) -> AsyncIterator[CqlSession]:
    """A session that is logged in; it ends with the context.

    Args:
        host: The member's IP address.
        login: The role; None where the cluster asks for none.
        context: How TLS trusts; None: no TLS.
        name: The host name in the member's certificate.
        port: Where it listens.

    Raises:
        RefusedError: The member does not let this login in.
        UnansweredError: Nothing answers there, or something else than Cassandra.
    """
    try:
        with anyio.fail_after(CONNECT_SECONDS):
            if context is None:
                stream: ByteStream = await anyio.connect_tcp(host, port)
            else:
                stream = await anyio.connect_tcp(
                    host, port, ssl_context=context, tls_hostname=name or host, tls_standard_compatible=False
                )
    except (OSError, TimeoutError) as error:
        raise UnansweredError(f"{host}:{port} does not answer: {str(error) or 'time is up'}") from error
    session = CqlSession(stream, f"{host}:{port}")
    try:
        await session.log_in(login)
        yield session
    finally:
        await anyio.aclose_forcefully(stream)


class CqlSession:
    """A connection to one member; implements `Session`. One question at a time.

    Args:
        stream: A connection that nothing was sent through.
        where: What errors call the member.
    """

    def __init__(self, stream: ByteStream, where: str) -> None:
        self._stream = stream
        self._received = BufferedByteReceiveStream(stream)
        self._where = where

    async def log_in(self, login: Login | None) -> None:
        """Opens the session."""
        opcode, _ = await self._ask(_Opcode.STARTUP, _string_map({"CQL_VERSION": "3.0.0"}), LOGIN_SECONDS)
        if opcode == _Opcode.AUTHENTICATE:
            if login is None:
                raise RefusedError(f"{self._where} asks for a login")
            token = b"\0" + login.user.encode() + b"\0" + login.password.encode()
            opcode, _ = await self._ask(_Opcode.AUTH_RESPONSE, _bytes(token), LOGIN_SECONDS)
        if opcode not in (_Opcode.READY, _Opcode.AUTH_SUCCESS):
            raise UnansweredError(f"{self._where} answers a login with {opcode:#x}")

    async def query(self, statement: str, *, quorum: bool = False) -> list[dict[str, Any]]:
        """See `Session.query`."""
        content = _long_string(statement) + struct.pack(">HB", _LOCAL_QUORUM if quorum else _ONE, 0)
        opcode, answer = await self._ask(_Opcode.QUERY, content, QUERY_SECONDS)
        if opcode != _Opcode.RESULT:
            raise UnansweredError(f"{self._where} answers a query with {opcode:#x}")
        try:
            return list(_rows(_Reader(answer)))
        except (struct.error, ValueError, UnicodeDecodeError) as error:
            raise UnansweredError(f"the answer of {self._where} cannot be read: {error}") from error

    async def _ask(self, opcode: _Opcode, content: bytes, seconds: float) -> tuple[int, bytes]:
        try:
            with anyio.fail_after(seconds):
                await self._stream.send(_HEADER.pack(_VERSION, 0, 0, opcode, len(content)) + content)
                version, _, _, answer, length = _HEADER.unpack(await self._received.receive_exactly(_HEADER.size))
                if version != _VERSION | _ANSWER or not 0 <= length <= MOST_BYTES:
                    raise UnansweredError(f"{self._where} does not speak version {_VERSION} of CQL's protocol")
                received = await self._received.receive_exactly(length) if length else b""
        except TimeoutError as error:
            raise UnansweredError(f"{self._where} does not answer within {seconds:g} s") from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead) as error:
            raise UnansweredError(f"{self._where} ended the connection") from error
        if answer == _Opcode.ERROR:
            reader = _Reader(received)
            code, message = reader.integer(), reader.string()
            if code in _UNCERTAIN:
                raise UnansweredError(f"{self._where}: {message}")
            raise RefusedError(f"{self._where}: {message}")
        return answer, received


class _Reader:
    """Takes an answer apart, from its start on."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def take(self, length: int) -> bytes:
        taken = self._content[self._at : self._at + length]
        if length < 0 or len(taken) < length:
            raise ValueError("it ends too early")
        self._at += length
        return taken

    def integer(self) -> int:
        return int.from_bytes(self.take(4), signed=True)

    def short(self) -> int:
        return int.from_bytes(self.take(2))

    def string(self) -> str:
        return self.take(self.short()).decode()

    def value(self) -> bytes | None:
        length = self.integer()
        return None if length < 0 else self.take(length)


def _rows(reader: _Reader) -> Iterator[dict[str, Any]]:
    if reader.integer() != _ROWS:
        return
    flags, count = reader.integer(), reader.integer()
    if flags & _MORE_PAGES:
        reader.value()
    if flags & _NO_METADATA:
        raise ValueError("it does not tell the columns")
    if flags & _GLOBAL_TABLE:
        reader.string(), reader.string()
    columns = []
    for _ in range(count):
        if not flags & _GLOBAL_TABLE:
            reader.string(), reader.string()
        columns.append((reader.string(), _type(reader)))
    for _ in range(reader.integer()):
        yield {name: _decoded(decode, reader.value()) for name, decode in columns}


type _Decode = "Callable[[bytes], Any]"


def _decoded(decode: _Decode, value: bytes | None) -> Any:
    return None if value is None else decode(value)


def _type(reader: _Reader) -> _Decode:
    """How values of the type that comes next are decoded; those of types that nobody asks for stay bytes."""
    number = reader.short()
    match number:
        case 0x0000:  # a class of the server
            reader.string()
        case 0x0020 | 0x0022:  # list, set
            item = _type(reader)
            return lambda value: [_decoded(item, part) for part in _parts(value, 1)]
        case 0x0021:  # map
            kinds = _type(reader), _type(reader)
            return lambda value: _map(kinds, list(_parts(value, 2)))
        case 0x0030:  # a type of the user
            reader.string(), reader.string()
            for _ in range(reader.short()):
                reader.string(), _type(reader)
        case 0x0031:  # tuple
            for _ in range(reader.short()):
                _type(reader)
    return _SIMPLE.get(number, bytes)


def _parts(value: bytes, each: int) -> Iterator[bytes | None]:
    reader = _Reader(value)
    for _ in range(reader.integer() * each):
        yield reader.value()


def _map(kinds: tuple[_Decode, _Decode], parts: list[bytes | None]) -> dict[Any, Any]:
    keys, values = parts[::2], parts[1::2]
    return {_decoded(kinds[0], key): _decoded(kinds[1], value) for key, value in zip(keys, values, strict=True)}


def _signed(value: bytes) -> int:
    return int.from_bytes(value, signed=True)


_SIMPLE: Mapping[int, _Decode] = {
    0x0001: bytes.decode,  # ascii
    0x0002: _signed,  # bigint
    0x0004: lambda value: value != b"\0",  # boolean
    0x0005: _signed,  # counter
    0x0007: lambda value: struct.unpack(">d", value)[0],
    0x0008: lambda value: struct.unpack(">f", value)[0],
    0x0009: _signed,  # int
    0x000B: _signed,  # timestamp: milliseconds
    0x000C: lambda value: uuid.UUID(bytes=value),
    0x000D: bytes.decode,  # varchar
    0x000F: lambda value: uuid.UUID(bytes=value),
    0x0010: lambda value: str(ipaddress.ip_address(value)),
    0x0013: _signed,  # smallint
    0x0014: _signed,  # tinyint
}


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">H", len(encoded)) + encoded


def _long_string(text: str) -> bytes:
    return _bytes(text.encode())


def _bytes(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _string_map(content: Mapping[str, str]) -> bytes:
    pairs = b"".join(_string(key) + _string(value) for key, value in content.items())
    return struct.pack(">H", len(content)) + pairs
