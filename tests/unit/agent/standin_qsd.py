"""A standin for qemu-storage-daemon: the exported file is a plain one, and it answers QMP on its socket.

Its Ceph client's admin socket answers as Ceph's does, and the client's log tells two addresses, as Ceph's does.
Arguments: the directory of the export's files, the image's size in bytes, and what to do: "serve", "mute" (without an
admin socket), "fail", or "full" (as where the kernel refuses a thread).
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path

LOG = """\
2026-01-01T00:00:00.402+0000 7f9  1 -- 10.0.0.5:0/11 learned_addr learned my addr 10.0.0.5:0/11 (peer_addr_for_me v1:)
2026-01-01T00:00:00.410+0000 7f9  1 -- 10.0.0.5:0/22 learned_addr learned my addr 10.0.0.5:0/22 (peer_addr_for_me v2:)
"""
NO_THREAD = """\
qemu-storage-daemon: --blockdev {"pool": "p"}: terminate called after throwing an instance of 'std::system_error'
  what():  Resource temporarily unavailable
 1: /lib/x86_64-linux-gnu/libc.so.6(+0x3fdf0) [0x7f7c5b9f3df0]
qemu: qemu_thread_create: Resource temporarily unavailable
"""


def answer(request: dict[str, object], path: str) -> dict[str, object]:
    if request["execute"] == "block_resize":
        arguments = request["arguments"]
        assert isinstance(arguments, dict)
        if arguments["size"] % 512:
            return {"error": {"class": "GenericError", "desc": "not a multiple of 512"}}
        os.truncate(path, arguments["size"])
    return {"return": {}}


def listen(path: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()
    return server


def client(server: socket.socket, log: Path) -> None:
    while True:
        stream = server.accept()[0]
        request = b""
        while not request.endswith(b"\0"):
            request += stream.recv(4096)
        if json.loads(request[:-1])["prefix"] == "log flush":
            log.write_text(LOG)
        reply = b'{"success": ""}'
        stream.sendall(len(reply).to_bytes(4) + reply)
        stream.close()


def main() -> None:
    directory, size, behaviour = sys.argv[1:]
    image = f"{directory}/image"
    if behaviour == "fail":
        sys.exit('qemu-storage-daemon: --blockdev {"pool": "p"}: error reading header from image: No such file')
    if behaviour == "full":
        sys.exit(NO_THREAD)
    os.truncate(image, int(size))
    if behaviour == "serve":
        asok = listen(f"{directory}/client.asok")
        threading.Thread(target=client, args=(asok, Path(directory, "client.log")), daemon=True).start()
    server = listen(f"{directory}/qmp.sock")
    while True:
        stream = server.accept()[0].makefile("rw")
        print(json.dumps({"QMP": {}}), file=stream, flush=True)
        for line in stream:
            print(json.dumps({"event": "NOISE"}), file=stream)
            print(json.dumps(answer(json.loads(line), image)), file=stream, flush=True)


if __name__ == "__main__":
    main()
