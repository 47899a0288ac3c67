"""A client of NFSv4.1 as a program of its own, for pods whose kernel has none: it needs Python and nothing else.

Like a kernel's client, it keeps its files open and locked over restarts of its server: it connects again, becomes known
to the new server, takes back what it had while the grace period lasts, and goes on. One thing that no client does: it
never gives up. Protocol: RFC 8881, RFC 5662.

    nfs4.py write SERVER:PORT /EXPORT/FILE PROGRESS   rows, one after the other, with the file locked, until a file
                                                      PROGRESS.stop is there; PROGRESS has the last row that is safe
    nfs4.py read SERVER:PORT /EXPORT/FILE             the file
    nfs4.py lock SERVER:PORT /EXPORT/FILE             "granted", "denied" or "grace": what becomes of a lock of the file
"""

import os
import socket
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

OK, GRACE, DELAY, DENIED = 0, 10013, 10008, 10010
LOST = frozenset((10022, 10052, 10078, 10023, 10024, 10025))
"""The server knows the client, its session or its files no more: STALE_CLIENTID, BADSESSION, DEADSESSION, …"""
NO_GRACE, COMPLETE_ALREADY = 10033, 10054
NOBODY = bytes(16)
"""The state of whoever has opened nothing."""
DEADLINE = 300.0
"""Seconds for one operation, restarts of the server included."""


class NfsError(Exception):
    """An operation was refused."""

    def __init__(self, operation: str, status: int) -> None:
        super().__init__(f"{operation}: NFS4ERR {status}")
        self.status = status


def u32(*values: int) -> bytes:
    """Numbers of 32 bits."""
    return struct.pack(f">{len(values)}I", *values)


def u64(value: int) -> bytes:
    """A number of 64 bits."""
    return struct.pack(">Q", value)


def opaque(data: bytes) -> bytes:
    """Bytes with their length before them."""
    return u32(len(data)) + data + bytes(-len(data) % 4)


class Answer:
    """What a server sent, read from front to back."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def fixed(self, length: int) -> bytes:
        """So many bytes."""
        found = self._data[self._at : self._at + length]
        self._at += length
        return found

    def u32(self) -> int:
        """A number of 32 bits."""
        (value,) = struct.unpack(">I", self.fixed(4))
        return int(value)

    def u64(self) -> int:
        """A number of 64 bits."""
        (value,) = struct.unpack(">Q", self.fixed(8))
        return int(value)

    def opaque(self) -> bytes:
        """Bytes with their length before them."""
        length = self.u32()
        found = self.fixed(length)
        self.fixed(-length % 4)
        return found


class Connection:
    """Calls to one server over one connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=10)
        self._number = 0

    def close(self) -> None:
        """Ends it."""
        self._socket.close()

    def compound(self, *operations: bytes) -> Answer:
        """The results of operations; the whole fails with the first of them that does."""
        self._number += 1
        credentials = u32(0) + opaque(b"e2e") + u32(0, 0, 0)
        head = u32(self._number, 0, 2, 100003, 4, 1, 1) + opaque(credentials) + u32(0, 0)
        body = head + opaque(b"") + u32(1, len(operations)) + b"".join(operations)
        self._socket.sendall(u32(1 << 31 | len(body)) + body)
        answer = Answer(self._record())
        number, kind, verdict = answer.u32(), answer.u32(), answer.u32()
        answer.u32()
        answer.opaque()
        if (number, kind, verdict, answer.u32()) != (self._number, 1, 0, 0):
            raise ConnectionError("no answer to this call")
        answer.u32()  # the status of the last operation, which tells it itself
        answer.opaque()
        answer.u32()
        return answer

    def _record(self) -> bytes:
        found = b""
        while True:
            (mark,) = struct.unpack(">I", self._exactly(4))
            found += self._exactly(mark & 0x7FFFFFFF)
            if mark >> 31:
                return found

    def _exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            more = self._socket.recv(length - len(found))
            if not more:
                raise ConnectionError("the server has closed the connection")
            found += more
        return found


def done(answer: Answer, operation: str) -> Answer:
    """The result of the next operation.

    Raises:
        NfsError: It was refused.
    """
    answer.u32()
    status = answer.u32()
    if status != OK:
        raise NfsError(operation, status)
    return answer


class Client:
    """A client of one server, by one session with one slot.

    Args:
        host: The server.
        port: Where it listens.
        name: Tells this client from all others.
    """

    def __init__(self, host: str, port: int, name: str) -> None:
        self._server, self._name = (host, port), name.encode()
        self._verifier = os.urandom(8)
        self._connection: Connection | None = None
        self.id = 0
        self._session, self._sequence = b"", 0

    def connect(self) -> None:
        """Becomes known to the server; what it had before is to be reclaimed."""
        self.hang_up()
        self._connection = connection = Connection(*self._server)
        owner = self._verifier + opaque(self._name)
        answer = done(connection.compound(u32(42) + owner + u32(0, 0, 0)), "EXCHANGE_ID")
        self.id, sequence = answer.u64(), answer.u32()
        channel = u32(0, 1 << 20, 1 << 20, 4096, 16, 1, 0)
        create = u32(43) + u64(self.id) + u32(sequence, 0) + channel + channel + u32(0x40000000, 1, 0)
        answer = done(connection.compound(create), "CREATE_SESSION")
        self._session, self._sequence = answer.fixed(16), 0

    def hang_up(self) -> None:
        """Ends the connection; the server keeps what the client has for a while."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, *operations: bytes) -> Answer:
        """The results of operations within the session."""
        if self._connection is None:
            raise ConnectionError("not connected")
        self._sequence += 1
        sequence = u32(53) + self._session + u32(self._sequence, 0, 0, 0)
        answer = done(self._connection.compound(sequence, *operations), "SEQUENCE")
        answer.fixed(16 + 5 * 4)
        return answer

    def reclaim_complete(self) -> None:
        """Says that nothing is reclaimed any more."""
        answer = self.call(u32(58, 0))
        answer.u32()
        status = answer.u32()
        if status not in (OK, COMPLETE_ALREADY):
            raise NfsError("RECLAIM_COMPLETE", status)

    def leave(self) -> None:
        """Is forgotten by the server."""
        if self._connection is not None:
            self._connection.compound(u32(44) + self._session)
            self._connection.compound(u32(57) + u64(self.id))
        self.hang_up()


class File:
    """A file of an export that a client has open; it is made where there is none."""

    def __init__(self, client: Client, path: str) -> None:
        self._client, self._names = client, [name.encode() for name in path.split("/") if name]
        self._handle = self._state = self._lock = b""
        self._begun = False

    def enter(self, *, lock: bool = False) -> int:
        """Opens the file, and locks it, or takes both back. Returns the status of the lock."""
        client, first = self._client, not self._handle
        client.connect()
        if first:
            client.reclaim_complete()
        self._open(reclaim=not first)
        status = self._locked(reclaim=not first) if lock else OK
        if not first:
            client.reclaim_complete()
        return status

    def write(self, offset: int, data: bytes) -> None:
        """Writes, and waits until the data is safe."""
        state = self._lock or self._state
        answer = self._client.call(
            u32(22) + opaque(self._handle), u32(38) + state + u64(offset) + u32(2) + opaque(data)
        )
        done(answer, "PUTFH")
        if done(answer, "WRITE").u32() != len(data):
            raise ConnectionError("not all was written")

    def read(self) -> bytes:
        """All that is in it."""
        found = b""
        while True:
            get = u32(25) + self._state + u64(len(found)) + u32(1 << 16)
            answer = self._client.call(u32(22) + opaque(self._handle), get)
            done(answer, "PUTFH")
            end = done(answer, "READ").u32()
            found += answer.opaque()
            if end:
                return found

    def close(self) -> None:
        """Closes it, by which it is unlocked."""
        self._client.call(u32(22) + opaque(self._handle), u32(4, 0) + self._state)

    def _open(self, *, reclaim: bool) -> None:
        owner = u64(self._client.id) + opaque(b"owner")
        if reclaim:
            answer = self._client.call(u32(22) + opaque(self._handle), u32(18, 0, 3, 0) + owner + u32(0, 1, 0))
            done(answer, "PUTFH")
        else:
            *directories, name = self._names
            down = [u32(15) + opaque(directory) for directory in directories]
            make = u32(18, 0, 3, 0) + owner + u32(1, 0, 0, 0, 0) + opaque(name)
            answer = self._client.call(u32(24), *down, make, u32(10))
            done(answer, "PUTROOTFH")
            for _ in directories:
                done(answer, "LOOKUP")
        self._state = done(answer, "OPEN").fixed(16)
        answer.fixed(4 + 8 + 8 + 4)
        answer.fixed(4 * answer.u32())
        if answer.u32() == 3:  # no delegation, and why
            answer.u32()
        if not reclaim:
            self._handle = done(answer, "GETFH").opaque()

    def _locked(self, *, reclaim: bool) -> int:
        owner = u64(self._client.id) + opaque(b"locker")
        lock = u32(12, 2, int(reclaim)) + u64(0) + u64((1 << 64) - 1) + u32(1, 0) + self._state + u32(0) + owner
        answer = self._client.call(u32(22) + opaque(self._handle), lock)
        done(answer, "PUTFH")
        answer.u32()
        status = answer.u32()
        self._lock = answer.fixed(16) if status == OK else b""
        return status


def insist[T](act: Callable[[], T], recover: Callable[[], object]) -> T:
    """What comes of an act, whatever becomes of the server meanwhile."""
    until, lost = time.monotonic() + DEADLINE, False
    while True:
        try:
            if lost:
                recover()
                lost = False
            return act()
        except NfsError as error:
            if error.status not in (GRACE, DELAY, *LOST) or time.monotonic() > until:
                raise
            lost = lost or error.status in LOST
        except OSError:
            if time.monotonic() > until:
                raise
            lost = True
        time.sleep(0.2)


def write(client: Client, path: str, progress: str) -> None:
    """Writes rows until it is told to stop."""
    file = File(client, path)

    def enter() -> None:
        status = file.enter(lock=True)
        if status != OK:
            raise NfsError("LOCK", status)

    insist(enter, client.hang_up)
    row = offset = 0
    done_so_far, stop, new = (Path(f"{progress}{end}") for end in ("", ".stop", ".new"))
    while not stop.exists():
        row += 1
        data = b"%d\n" % row
        insist(partial(file.write, offset, data), enter)
        offset += len(data)
        new.write_text(str(row))
        new.replace(done_so_far)
    file.close()
    client.leave()


def main(what: str, server: str, path: str, *more: str) -> None:
    """See above."""
    host, _, port = server.rpartition(":")
    client = Client(host, int(port), f"e2e-{what}-{os.getpid()}-{time.time_ns()}")
    file = File(client, path)
    if what == "write":
        write(client, path, *more)
    elif what == "read":
        insist(file.enter, client.hang_up)
        sys.stdout.buffer.write(insist(file.read, file.enter))
        file.close()
        client.leave()
    else:
        try:
            status = file.enter(lock=True)
        except NfsError as error:
            status = error.status
        print({OK: "granted", DENIED: "denied", GRACE: "grace"}.get(status, status))
        client.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
