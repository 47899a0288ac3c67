"""What runs in the Ceph image to make devices OSDs (`prepare`) and to start the daemon of one (`run`).

This file stands alone: a container of the operator's image copies it into the pod (`install`), it needs nothing but
Python 3.9, its module `rados` and Ceph's command line tools, and is not imported by the operator. On disk the result is
that of `ceph-volume raw prepare`. Unlike that, the OSD's UUID is chosen before: whatever instruction a prepare pod dies
at, the next try of its Job knows its own half-written label, and never mistakes another's data for it. It also looks at
the given devices alone; `ceph-volume` scans every device of the node, and hangs where one of them does.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = b"bluestore block device\n"
UUID_LENGTH = 36
DATA_ROOT = "/var/lib/ceph/osd"
WRITABLE = ("/run/ceph", "/var/log/ceph", "/var/lib/ceph/crash")
KEYRING_DIR = "/etc/ceph/keyring-store"
KEYRING = f"{KEYRING_DIR}/keyring"
CONFIG = "/etc/ceph/ceph.conf"
BOOTSTRAP_USER = "client.bootstrap-osd"
CONNECT_TIMEOUT = 30
COMMAND_TIMEOUT = 60
MKFS_TIMEOUT = 600.0
LOCK_RETRIES = 5
LOCK_RETRY_SECONDS = 1.0
MIB = 1 << 20
LABELS = tuple(gib << 30 for gib in (0, 1, 10, 100, 1000))
"""Where BlueStore keeps its label, and later releases the copies of it."""
LABEL_SIZE = 4096
FIRST = 4 * MIB
"""Bytes at the start of a device that must be zero for it to count as empty; before a volume is formatted, as many."""


MESSAGE_LIMIT = 4096
ERROR_LIMIT = 200


class RefusedError(Exception):
    """The device must not be used. Trying again changes nothing."""


class CommandError(Exception):
    """A command failed; `code` is its exit status, or the error number in the mons' answer."""

    def __init__(self, command: str, code: int, output: str) -> None:
        super().__init__(f"{command} failed with status {code}: {output.strip()[-ERROR_LIMIT:]}")
        self.code = code


def run(*command: str, stdin: str = "", timeout: float = COMMAND_TIMEOUT) -> str:
    """The standard output of a command; secrets go to its standard input, never to its arguments."""
    log("+ " + " ".join(command))
    done = subprocess.run(  # noqa: S603  # fixed commands; paths and UUIDs are the operator's
        command, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode:
        raise CommandError(command[0], done.returncode, done.stderr or done.stdout)
    return done.stdout


class Mons:
    """One session with the mons as `client.bootstrap-osd`: while mons join, each further one may have to wait."""

    def __init__(self) -> None:
        import rados  # only in the Ceph image

        conf = {"mon_host": os.environ["ROOK_CEPH_MON_HOST"], "keyring": KEYRING}
        conf |= {"rados_mon_op_timeout": str(COMMAND_TIMEOUT), "client_mount_timeout": str(CONNECT_TIMEOUT)}
        self._handle = rados.Rados(name=BOOTSTRAP_USER, conffile=CONFIG if Path(CONFIG).exists() else None, conf=conf)
        self._handle.connect()

    def ask(self, prefix: str, data: bytes = b"", **args: Any) -> bytes:
        """The answer to a command; secrets go into `data`, never into the log."""
        log(f"mon: {prefix} {args}")
        command = json.dumps({"prefix": prefix, "format": "json", **args})
        code, output, message = self._handle.mon_command(command, data, timeout=COMMAND_TIMEOUT)
        if code:
            raise CommandError(prefix, abs(code), message)
        return bytes(output)


def log(text: str) -> None:
    """Writes a line for `kubectl logs`."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def osd_uuid_on(path: str) -> str:
    """The UUID in the BlueStore label at the start of a device; empty when it has no label."""
    with Path(path).open("rb") as device:
        head = device.read(len(HEADER) + UUID_LENGTH)
    return head[len(HEADER) :].decode("ascii", "replace") if head.startswith(HEADER) else ""


def label_of(path: str) -> dict[str, Any]:
    """The whole BlueStore label; empty when it cannot be read, as that of an OSD whose making was cut short."""
    try:
        labels = json.loads(run("ceph-bluestore-tool", "show-label", "--dev", path))
    except (CommandError, ValueError):
        return {}
    return next(iter(labels.values()), {})


def prepare() -> int:
    """Makes an OSD of each device in `ROOK_DEVICES`, and reports in the termination message.

    `ROOK_DEVICES` is a JSON list of objects: `path`, `uuid` (of the OSD to be), `deviceClass` (empty: Ceph's choice),
    `overwrite` (whether data that is no known file system may go), and what the device was known by when it was chosen:
    `links` that led to it, `size` in bytes (0 or absent: unknown).
    The report is a JSON list of objects: `device`, and either `id`, `uuid` and `deviceClass` or `error`.

    Returns:
        0 when no device is worth another try.
    """
    fsid = os.environ["ROOK_FSID"]
    give_to_ceph()
    devices = json.loads(os.environ["ROOK_DEVICES"])
    try:
        mons = Mons()
    except Exception as error:  # the errors of module rados have no name where it is not installed
        report([{"device": wanted["path"], "error": f"the mons do not answer: {error}"} for wanted in devices])
        return 1
    results: list[dict[str, Any]] = []
    again = False
    for wanted in devices:
        result: dict[str, Any] = {"device": wanted["path"]}
        try:
            result.update(prepare_device(wanted, fsid, mons))
        except RefusedError as refusal:
            result["error"] = str(refusal)[:ERROR_LIMIT]
        except (CommandError, OSError, subprocess.TimeoutExpired) as error:
            result["error"] = str(error)[:ERROR_LIMIT]
            again = True
        results.append(result)
        log(json.dumps(result))
        report(results)
    return 1 if again else 0


def report(results: list[dict[str, Any]]) -> None:
    """Writes the termination message. OSDs go before errors, so that cutting it short loses errors first."""
    kept = sorted(results, key=lambda result: "error" in result)
    text = json.dumps(kept, separators=(",", ":"))
    while len(text) > MESSAGE_LIMIT and kept:
        kept.pop()
        text = json.dumps(kept, separators=(",", ":"))
    Path(os.environ.get("ROOK_RESULT", "/dev/termination-log")).write_text(text)


def prepare_device(wanted: dict[str, Any], fsid: str, mons: Mons) -> dict[str, Any]:
    """Makes an OSD of a device, or finds that it is one of this cluster's already."""
    with reserved(wanted["path"]):
        return _prepare_device(wanted, fsid, mons)


@contextmanager
def reserved(path: str) -> Iterator[None]:
    """Keeps a device from all others that prepare one, of whatever cluster, from the first look to the last.

    The lock is one that udev minds, too, and that Ceph, which has one of another kind, does not.

    Raises:
        BlockingIOError: Somebody else prepares it, or looks at it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for attempt in range(LOCK_RETRIES + 1):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if attempt == LOCK_RETRIES:
                    raise BlockingIOError(errno.EWOULDBLOCK, f"{path} is being prepared by somebody else") from None
                time.sleep(LOCK_RETRY_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _prepare_device(wanted: dict[str, Any], fsid: str, mons: Mons) -> dict[str, Any]:
    path, uuid, device_class = wanted["path"], wanted["uuid"], wanted.get("deviceClass", "")
    present = osd_uuid_on(path)
    if present:
        label = label_of(path)
        finished = label.get("ready") == "ready"
        if finished and label.get("ceph_fsid") == fsid:
            return {"id": int(label["whoami"]), "uuid": present, "deviceClass": device_class}
        if finished or present != uuid:
            owner = label.get("ceph_fsid") or "no cluster"
            raise RefusedError(f"{path} carries the BlueStore label of OSD {present} of {owner}")
    if is_busy(path):
        if present:
            raise OSError(errno.EBUSY, f"{path} is still held by an earlier try")
        raise RefusedError(f"{path} is mounted or in use")
    if present:
        # First the mons: a label that is whole may have been unreadable for a moment, and its OSD have run since.
        unregister(uuid, mons)
        forget_half_made(path)
    else:
        refuse_unless_chosen(path, wanted.get("links", []), wanted.get("size", 0))
    # What an earlier try of this very Job left behind its label is its own.
    overwrite = bool(present) or wanted.get("overwrite") is True
    refuse_unless_empty(path, overwrite=overwrite)
    key = run("ceph-authtool", "--gen-print-key").strip()
    osd_id = register(uuid, key, device_class, mons)
    make_filesystem(path, osd_id, uuid, key, mons.ask("mon getmap"), overwrite=overwrite)
    label = label_of(path)
    if osd_uuid_on(path) != uuid or label.get("ceph_fsid") != fsid or label.get("whoami") != str(osd_id):
        raise OSError(errno.EIO, f"{path} does not carry the label of osd.{osd_id} after it was made")
    return {"id": osd_id, "uuid": uuid, "deviceClass": device_class}


def refuse_unless_chosen(path: str, links: list[str], size: int) -> None:
    """Makes sure that the path has not become another device's by a reboot since the operator chose it."""
    for link in links:
        if os.path.realpath(link) != os.path.realpath(path):
            there = f"{link} leads to {os.path.realpath(link)}" if Path(link).exists() else f"{link} is gone"
            raise RefusedError(f"{path} is not the device that was chosen: {there}")
    with Path(path).open("rb") as device:
        found = device.seek(0, os.SEEK_END)
    if size and found != size:
        raise RefusedError(f"{path} is not the device that was chosen: it has {found} bytes, not {size}")


def forget_half_made(path: str) -> None:
    """Wipes the label that an earlier try of this very Job left unfinished."""
    with Path(path).open("r+b") as device:
        device.write(bytes(LABEL_SIZE))
        device.flush()
        os.fsync(device.fileno())


def refuse_unless_empty(path: str, *, overwrite: bool) -> None:
    """Looks at the device itself at the moment of the act: what the operator knows of it may be old.

    Args:
        path: The device.
        overwrite: Data without a signature may go; anything with one is refused all the same.
    """
    sysfs = Path("/sys/class/block", kernel_name(path))
    parts = sorted(p.parent.name for p in sysfs.glob("*/partition"))
    if parts:
        raise RefusedError(f"{path} has partitions: {', '.join(parts)}")
    holders = sorted(p.name for p in sysfs.glob("holders/*"))
    if holders:
        raise RefusedError(f"{path} is part of {', '.join(holders)}")
    if osd_uuid_on(path):
        raise RefusedError(f"{path} carries the BlueStore label of OSD {osd_uuid_on(path)} by now")
    found = run("wipefs", "--no-act", "--noheadings", "--output", "TYPE", path).split()
    if found:
        raise RefusedError(f"{path} has signatures: {', '.join(found)}")
    data = None if overwrite else find_data(path)
    if data is not None:
        way_on = "zero it there, or set config overwriteUnknownData"
        raise RefusedError(f"{path} has data without a signature, at byte {data}: {way_on}")


def find_data(path: str) -> Optional[int]:  # noqa: UP045  # Python 3.9 of the Ceph images
    """The first place that is looked at, to the MiB, where a device is not zero; None: it counts as empty."""
    with Path(path).open("rb", buffering=0) as device:
        total = device.seek(0, os.SEEK_END)
        for start, length in places(total):
            for offset in range(start, min(start + length, total), MIB):
                device.seek(offset)
                if any(device.read(min(MIB, start + length - offset))):
                    return offset
    return None


def places(total: int) -> list[tuple[int, int]]:
    """Start and length of what is looked at on a device of so many bytes: its first MiBs, and BlueStore's labels.

    It is what the cleanup of a cluster overwrites (`controller.ceph.cluster.deletion`), so that a disk serves again.
    """
    return [(0, FIRST), *((start, LABEL_SIZE) for start in LABELS[1:] if start < total)]


def kernel_name(path: str) -> str:
    """What sysfs calls a device: "/" in a name below /dev is "!" there."""
    real = os.path.realpath(path)
    return real[len("/dev/") :].replace("/", "!") if real.startswith("/dev/") else Path(real).name


def is_busy(path: str) -> bool:
    """Whether a device is in use, in whatever container.

    The kernel denies it for oneself alone where it is mounted or part of another device. Daemons and tools of Ceph take
    it so from Reef on, and in every release hold a lock on the whole of it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return True
        raise
    try:
        asked = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind: int = struct.unpack("hhqqi", fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
    finally:
        os.close(descriptor)
    return kind != fcntl.F_UNLCK


def register(uuid: str, key: str, device_class: str, mons: Mons) -> int:
    """Gets a number for the OSD from the mons, and gives them its key."""
    secrets = {"cephx_secret": key}
    if device_class:
        secrets["crush_device_class"] = device_class
    data = json.dumps(secrets).encode()
    try:
        return int(json.loads(mons.ask("osd new", data, uuid=uuid))["osdid"])
    except CommandError as error:
        if error.code != errno.EEXIST:
            raise
    # An earlier try got this far and died, and its key with it.
    unregister(uuid, mons)
    return int(json.loads(mons.ask("osd new", data, uuid=uuid))["osdid"])


def unregister(uuid: str, mons: Mons) -> None:
    """Has the mons forget an OSD that was never finished. They refuse it for one that ever ran."""
    for osd in json.loads(mons.ask("osd dump"))["osds"]:
        if osd["uuid"] == uuid:
            mons.ask("osd purge-new", id=osd["osd"], yes_i_really_mean_it=True)


def make_filesystem(path: str, osd_id: int, uuid: str, key: str, monmap: bytes, *, overwrite: bool) -> None:
    """Writes an empty BlueStore to the device. Its label keeps what the daemon needs: number, cluster and key."""
    data = Path("/tmp", f"osd-{osd_id}")  # noqa: S108  # the pod's own
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir(mode=0o700)
    try:
        (data / "block").symlink_to(path)
        (data / "activate.monmap").write_bytes(monmap)
        shutil.chown(path, "ceph", "ceph")
        chown_below(data)
        for attempt in range(1 + LOCK_RETRIES):
            try:
                run(
                    *("ceph-osd", "--mkfs", "--id", str(osd_id), "--osd-uuid", uuid, "--osd-objectstore", "bluestore"),
                    *("--osd-data", str(data), "--monmap", str(data / "activate.monmap"), "--keyfile", "-"),
                    *("--setuser", "ceph", "--setgroup", "ceph"),
                    stdin=key,
                    timeout=MKFS_TIMEOUT,
                )
            except CommandError as error:
                # The node's udev daemon looks at a device that was just written, and holds its lock for a moment.
                if error.code != errno.EWOULDBLOCK or attempt == LOCK_RETRIES:
                    raise
                time.sleep(LOCK_RETRY_SECONDS)
                # Whoever had it may have made something of it.
                refuse_unless_empty(path, overwrite=overwrite)
            else:
                return
    finally:
        shutil.rmtree(data, ignore_errors=True)


def run_daemon(arguments: list[str]) -> NoReturn:
    """Becomes the daemon of an OSD, after its data directory was made from the label of its device.

    All of it is in one container, so that a daemon that is started again finds a device that has a new name by then.
    """
    osd_id, uuid, fsid = os.environ["ROOK_OSD_ID"], os.environ["ROOK_OSD_UUID"], os.environ["ROOK_FSID"]
    path = find_device(uuid, os.environ.get("ROOK_BLOCK_PATH", ""))
    if path is None:
        sys.exit(f"no device of this node carries osd.{osd_id}, uuid {uuid}: was it removed?")
    label = label_of(path)
    if label.get("ceph_fsid") != fsid or label.get("whoami") != osd_id:
        found = f"osd.{label.get('whoami')} of cluster {label.get('ceph_fsid')}"
        sys.exit(f"{path} carries {found}, not osd.{osd_id} of cluster {fsid}")
    data = Path(DATA_ROOT, f"ceph-{osd_id}")
    data.mkdir(parents=True, exist_ok=True)
    for leftover in data.iterdir():
        leftover.unlink()
    run("ceph-bluestore-tool", "prime-osd-dir", "--path", str(data), "--no-mon-config", "--dev", path)
    (data / "block").symlink_to(path)
    shutil.copy(data / "keyring", KEYRING)
    shutil.chown(path, "ceph", "ceph")
    chown_below(data)
    chown_below(Path(KEYRING_DIR))
    give_to_ceph()
    log(f"osd.{osd_id} is on {path}")
    os.execvp("ceph-osd", ["ceph-osd", *arguments])  # noqa: S606, S607  # the daemon takes this process's place


def find_device(uuid: str, hint: str) -> Optional[str]:  # noqa: UP045  # Python 3.9 of the Ceph images
    """The device whose label has this UUID: the one it was on last, else any other.

    Whole disks go before partitions: kernels take parts of a BlueStore disk for partitions of an Atari. A disk that is
    part of another device, as the paths of a multipath device are, comes last.
    """
    sysfs = Path("/sys/class/block")
    names = sorted(
        (entry.name for entry in sysfs.iterdir()), key=lambda name: ((sysfs / name / "partition").exists(), name)
    )
    paths = [*filter(None, [hint]), *("/dev/" + name.replace("!", "/") for name in names)]
    for path in sorted(paths, key=lambda path: any((sysfs / kernel_name(path)).glob("holders/*"))):
        try:
            if osd_uuid_on(path) == uuid:
                return os.path.realpath(path)
        except OSError:
            continue  # no medium, no such device, or one that fails: not where this OSD is
    return None


def give_to_ceph() -> None:
    """Lets user `ceph`, whose number differs between images, write where every daemon does."""
    for directory in WRITABLE:
        if Path(directory).is_dir():
            shutil.chown(directory, "ceph", "ceph")


def chown_below(directory: Path) -> None:
    """Gives a directory and what is in it to user `ceph`; links are not followed."""
    shutil.chown(directory, "ceph", "ceph")
    for entry in directory.iterdir():
        if not entry.is_symlink():
            shutil.chown(entry, "ceph", "ceph")


if __name__ == "__main__":
    if sys.argv[1] == "install":
        shutil.copy(__file__, sys.argv[2])
    elif sys.argv[1] == "prepare":
        sys.exit(prepare())
    elif sys.argv[1] == "run":
        run_daemon(sys.argv[2:])
    else:
        sys.exit(f"unknown command {sys.argv[1]!r}: expected install, prepare or run")
