"""A standin for ceph-fuse: what it mounts is a tmpfs, and its admin socket answers `status` as a Ceph client does.

It ends once nothing is mounted at its target any more, as ceph-fuse does. Arguments: the target, the admin socket, and
what to do: "serve", "ro" (read-only, with a snapshot), "stay" (does not end), or "fail".
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


def answer(server: socket.socket) -> None:
    while True:
        stream = server.accept()[0]
        while not stream.recv(4096).endswith(b"\0"):
            pass
        reply = json.dumps({"id": 4305, "addr_str": "10.0.0.5:0/77", "blocklisted": False}).encode()
        stream.sendall(len(reply).to_bytes(4) + reply)
        stream.close()


def main() -> None:
    target, path, behaviour = sys.argv[1:]
    if behaviour == "fail":
        pid = os.getpid()
        sys.exit(
            f"ceph-fuse[{pid}]: starting ceph client\nceph-fuse[{pid}]: ceph mount failed with (2) No such file or "
            "directory"
        )
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen()
    threading.Thread(target=answer, args=(server,), daemon=True).start()
    subprocess.run(["mount", "-t", "tmpfs", "ceph-fuse", target], check=True)
    if behaviour == "ro":
        taken = Path(target, ".snap", "csi-snap-1")
        for name in ("0e81e9b4-61a5-4b20-b2a2-7e39ec1f6cd1", ".trash"):
            (taken / name).mkdir(parents=True)
        (taken / ".meta").touch()
        (taken / "0e81e9b4-61a5-4b20-b2a2-7e39ec1f6cd1" / "file").write_text("as it was")
        subprocess.run(["mount", "-o", "remount,ro", target], check=True)
    while behaviour == "stay" or f" {target} " in Path("/proc/self/mountinfo").read_text():
        time.sleep(0.02)


if __name__ == "__main__":
    main()
