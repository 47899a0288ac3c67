"""A standin for qemu-storage-daemon: the exported file is a plain one, and it answers QMP on its socket.

Arguments: the file, its size in bytes, the socket, and what to do: "serve" or "fail".
"""

from __future__ import annotations

import json
import os
import socket
import sys


def answer(request: dict[str, object], path: str) -> dict[str, object]:
    if request["execute"] == "block_resize":
        arguments = request["arguments"]
        assert isinstance(arguments, dict)
        if arguments["size"] % 512:
            return {"error": {"class": "GenericError", "desc": "not a multiple of 512"}}
        os.truncate(path, arguments["size"])
    return {"return": {}}


def main() -> None:
    path, size, address, behaviour = sys.argv[1:]
    if behaviour == "fail":
        sys.exit('qemu-storage-daemon: --blockdev {"pool": "p"}: error reading header from image: No such file')
    os.truncate(path, int(size))
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(address)
    server.listen()
    while True:
        stream = server.accept()[0].makefile("rw")
        print(json.dumps({"QMP": {}}), file=stream, flush=True)
        for line in stream:
            print(json.dumps({"event": "NOISE"}), file=stream)
            print(json.dumps(answer(json.loads(line), path)), file=stream, flush=True)


if __name__ == "__main__":
    main()
