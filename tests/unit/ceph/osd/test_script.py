"""The script of OSD pods: what it refuses, what it does again, and what it tells. Files stand for devices."""

from __future__ import annotations

import errno
import fcntl
import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from controller.agent.system import filesystem
from controller.ceph.cluster import cleanup
from controller.ceph.osd import script as osd_script
from controller.ceph.osd.script import CommandError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

FSID = "a7beedc0-36a7-4be2-afe3-22094a6770aa"
OTHER_FSID = "11111111-2222-3333-4444-555555555555"
OURS, THEIRS = "354e9e31-3991-4647-ad71-9e21444f95c6", "9b5bde62-efc9-4204-b5e4-eb0472354ec1"


class Node:
    """A node's tools: they keep BlueStore labels by path, and write the header as BlueStore does."""

    def __init__(self) -> None:
        self.labels: dict[str, dict[str, str]] = {}
        self.signatures = ""
        self.mkfs_errors: list[int] = []
        self.commands: list[str] = []

    def label(self, path: Path, uuid: str, **label: str) -> None:
        path.touch()
        with path.open("r+b") as device:
            device.write(osd_script.HEADER + uuid.encode() + b"\n" + bytes(4096))
        self.labels[str(path)] = label

    def run(self, *command: str, stdin: str = "", timeout: float = 0) -> str:
        self.commands.append(command[0])
        assert "KEY" not in " ".join(command)
        match command[0]:
            case "ceph-bluestore-tool":
                path = command[command.index("--dev") + 1]
                if path not in self.labels:
                    raise CommandError("show-label", 1, "no label")
                return json.dumps({path: self.labels[path]})
            case "wipefs":
                return self.signatures
            case "ceph-authtool":
                return "KEY\n"
        assert command[0] == "ceph-osd"
        assert stdin == "KEY"
        if self.mkfs_errors:
            raise CommandError("ceph-osd", self.mkfs_errors.pop(0), "held")
        arguments = dict(zip(command[2::2], command[3::2], strict=False))
        block = Path(arguments["--osd-data"], "block").resolve()
        label = {"ceph_fsid": FSID, "whoami": arguments["--id"], "ready": "ready"}
        self.label(block, arguments["--osd-uuid"], **label)
        return ""


class Mons:
    """The mons, which may know the OSD already, with another key."""

    def __init__(self, *, known: bool = False, ran: bool = False) -> None:
        self.known, self.ran = known, ran
        self.asked: list[str] = []

    def ask(self, prefix: str, data: bytes = b"", **args: Any) -> bytes:
        self.asked.append(prefix)
        match prefix:
            case "osd new":
                assert json.loads(data)["cephx_secret"] == "KEY"
                if self.known:
                    raise CommandError(prefix, errno.EEXIST, "entity osd.5 exists but key does not match")
                return b'{"osdid": 5}'
            case "osd dump":
                return json.dumps({"osds": [{"osd": 4, "uuid": THEIRS}, {"osd": 5, "uuid": OURS}]}).encode()
            case "osd purge-new":
                assert args["id"] == 5
                if self.ran:
                    raise CommandError(prefix, errno.EPERM, "osd.5 is not new")
                self.known = False
        return b"monmap"


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(osd_script, "run", node.run)
    monkeypatch.setattr(shutil, "chown", lambda *_: None)
    monkeypatch.setattr(osd_script, "LOCK_RETRY_SECONDS", 0.0)
    return node


@pytest.fixture
def device(tmp_path: Path) -> Path:
    path = tmp_path / "device"
    path.write_bytes(bytes(8192))
    return path


def prepare(device: Path, mons: Mons | None = None, device_class: str = "", **known_by: Any) -> dict[str, Any]:
    wanted = {"path": str(device), "uuid": OURS, "deviceClass": device_class, **known_by}
    return osd_script.prepare_device(wanted, FSID, mons or Mons())  # type: ignore[arg-type]


class TestPrepare:
    def test_empty_device(self, node: Node, device: Path) -> None:
        assert prepare(device, device_class="ssd") == {"id": 5, "uuid": OURS, "deviceClass": "ssd"}
        assert osd_script.osd_uuid_on(str(device)) == OURS

    def test_own_osd_is_only_told(self, node: Node, device: Path) -> None:
        node.label(device, THEIRS, ceph_fsid=FSID, whoami="3", ready="ready")
        assert prepare(device) == {"id": 3, "uuid": THEIRS, "deviceClass": ""}
        assert node.commands == ["ceph-bluestore-tool"]

    @pytest.mark.parametrize("uuid", [OURS, THEIRS])
    def test_osd_of_another_cluster(self, node: Node, device: Path, uuid: str) -> None:
        node.label(device, uuid, ceph_fsid=OTHER_FSID, whoami="3", ready="ready")
        before = device.read_bytes()
        with pytest.raises(RefusedError, match=f"OSD {uuid} of {OTHER_FSID}"):
            prepare(device)
        assert device.read_bytes() == before

    def test_device_that_was_chosen(self, node: Node, device: Path, tmp_path: Path) -> None:
        link = tmp_path / "by-id"
        link.symlink_to(device.name)
        assert prepare(device, links=[str(link)], size=8192)["uuid"] == OURS

    @pytest.mark.parametrize(
        ("leads_to", "size", "why"),
        [
            ("another", 8192, "by-id leads to .*another"),
            ("", 8192, "by-id is gone"),
            ("device", 4096, "it has 8192 bytes, not 4096"),
        ],
    )
    def test_device_that_has_got_the_name_of_the_chosen_one(
        self, node: Node, device: Path, tmp_path: Path, leads_to: str, size: int, why: str
    ) -> None:
        link = tmp_path / "by-id"
        (tmp_path / "another").touch()
        if leads_to:
            link.symlink_to(leads_to)
        with pytest.raises(RefusedError, match=f"not the device that was chosen: .*{why}"):
            prepare(device, links=[str(link)], size=size)
        assert device.read_bytes() == bytes(8192)

    @pytest.mark.parametrize("label", [{}, {"ceph_fsid": FSID, "whoami": "3"}])
    def test_half_made_osd_of_somebody_else(self, node: Node, device: Path, label: dict[str, str]) -> None:
        node.label(device, THEIRS, **label)
        before = device.read_bytes()
        with pytest.raises(RefusedError):
            prepare(device)
        assert device.read_bytes() == before

    def test_half_made_osd_of_this_job_is_made_again(self, node: Node, device: Path) -> None:
        node.label(device, OURS)
        assert prepare(device)["uuid"] == OURS

    def test_osd_of_this_job_that_ran_since_is_kept_whatever_its_label_looks_like(
        self, node: Node, device: Path
    ) -> None:
        """Another device of the Job failed, so it is tried again; this one's label cannot be read just now."""
        node.label(device, OURS)
        del node.labels[str(device)]
        before = device.read_bytes()
        with pytest.raises(CommandError, match="is not new"):
            prepare(device, Mons(known=True, ran=True))
        assert device.read_bytes() == before

    def test_half_made_osd_that_an_earlier_try_still_holds(
        self, node: Node, device: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.label(device, OURS)
        monkeypatch.setattr(osd_script, "is_busy", lambda _: True)
        with pytest.raises(OSError, match="still held by an earlier try"):
            prepare(device)

    def test_busy_device(self, node: Node, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(osd_script, "is_busy", lambda _: True)
        with pytest.raises(RefusedError, match="is mounted or in use"):
            prepare(device)

    def test_signatures(self, node: Node, device: Path) -> None:
        node.signatures = "ext4\ngpt\n"
        with pytest.raises(RefusedError, match="has signatures: ext4, gpt"):
            prepare(device)
        assert "ceph-osd" not in node.commands

    @pytest.mark.parametrize("at", [0, 4095, 1 << 20, (4 << 20) - 1, 1 << 30, (10 << 30) + 4095, 100 << 30])
    def test_data_without_a_signature(self, node: Node, device: Path, at: int) -> None:
        """A damaged label, a raw volume of a database, plain dm-crypt: nothing that wipefs knows."""
        with device.open("r+b") as file:
            file.truncate(101 << 30)
            file.seek(at)
            file.write(b"x")
        with pytest.raises(
            RefusedError, match=rf"data without a signature, at byte {at >> 20 << 20}: .*overwriteUnknow"
        ):
            prepare(device)
        assert "ceph-osd" not in node.commands
        assert prepare(device, overwrite=True)["id"] == 5

    def test_consent_for_unknown_data_is_none_for_known(self, node: Node, device: Path) -> None:
        node.signatures = "ext4\n"
        with pytest.raises(RefusedError, match="has signatures: ext4"):
            prepare(device, overwrite=True)

    def test_places_that_a_cleanup_overwrites_are_all_that_is_looked_at(self) -> None:
        """Else a cluster that was removed could not be made again on its disks."""
        overwritten = [(gib << 30, 10 << 20) for gib in (0, 1, 10, 100, 1000)]
        assert "for gib in 0 1 10 100 1000; do" in cleanup.REMOVE_DATA
        assert "bs=1M count=10" in cleanup.REMOVE_DATA
        for start, length in osd_script.places(1 << 45):
            assert any(begin <= start and start + length <= begin + size for begin, size in overwritten)
        assert osd_script.FIRST == filesystem._PROBED

    def test_a_device_that_somebody_else_prepares(self, node: Node, device: Path) -> None:
        with osd_script.reserved(str(device)), pytest.raises(BlockingIOError, match="prepared by somebody else"):
            prepare(device)
        assert node.commands == []
        assert prepare(device)["id"] == 5

    def test_it_is_reserved_until_the_osd_is_made(
        self, node: Node, device: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried: list[str] = []

        def run(*command: str, stdin: str = "", timeout: float = 0) -> str:
            with pytest.raises(BlockingIOError), osd_script.reserved(str(device)):
                pass
            tried.append(command[0])
            return node.run(*command, stdin=stdin, timeout=timeout)

        monkeypatch.setattr(osd_script, "run", run)
        assert prepare(device)["id"] == 5
        assert "ceph-osd" in tried

    def test_what_was_made_while_the_lock_was_busy_stays(self, node: Node, device: Path) -> None:
        def somebody_else(*command: str, **more: Any) -> str:
            if command[0] == "ceph-osd":
                node.label(device, THEIRS, ceph_fsid=OTHER_FSID, whoami="0", ready="ready")
                raise CommandError("ceph-osd", errno.EWOULDBLOCK, "held")
            return node.run(*command, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(osd_script, "run", somebody_else)
            with pytest.raises(RefusedError, match=f"label of OSD {THEIRS} by now"):
                prepare(device)
        assert osd_script.osd_uuid_on(str(device)) == THEIRS

    def test_a_device_that_a_daemon_of_ceph_has_is_busy(self, device: Path) -> None:
        """It opens the device as anybody may, and locks the whole of it as KernelDevice::_lock does."""
        assert not osd_script.is_busy(str(device))
        with device.open("r+b") as daemon:
            lock = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
            fcntl.fcntl(daemon, fcntl.F_OFD_SETLK, lock)
            assert osd_script.is_busy(str(device))
        assert not osd_script.is_busy(str(device))

    def test_registered_by_a_try_that_died(self, node: Node, device: Path) -> None:
        mons = Mons(known=True)
        assert prepare(device, mons)["id"] == 5
        assert mons.asked == ["osd new", "osd dump", "osd purge-new", "osd new", "mon getmap"]

    def test_lock_held_for_a_moment(self, node: Node, device: Path) -> None:
        node.mkfs_errors = [errno.EWOULDBLOCK, errno.EWOULDBLOCK]
        assert prepare(device)["id"] == 5

    @pytest.mark.parametrize("errors", [[errno.EIO], [errno.EWOULDBLOCK] * 6])
    def test_mkfs_fails(self, node: Node, device: Path, errors: list[int]) -> None:
        node.mkfs_errors = errors
        with pytest.raises(CommandError):
            prepare(device)


class TestReport:
    def main(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *devices: Path, mons: Callable[[], Mons] = Mons
    ) -> tuple[int, list[dict[str, Any]]]:
        wanted = [{"path": str(device), "uuid": OURS, "deviceClass": ""} for device in devices]
        monkeypatch.setattr(osd_script, "Mons", mons)
        monkeypatch.setenv("ROOK_FSID", FSID)
        monkeypatch.setenv("ROOK_DEVICES", json.dumps(wanted))
        monkeypatch.setenv("ROOK_RESULT", str(tmp_path / "result"))
        code = osd_script.prepare()
        return code, json.loads((tmp_path / "result").read_text())

    def test_one_device_does_not_stop_another(
        self, node: Node, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign = tmp_path / "foreign"
        node.label(foreign, THEIRS, ceph_fsid=OTHER_FSID, ready="ready")
        code, report = self.main(monkeypatch, tmp_path, foreign, device)
        assert code == 0
        assert report[0] == {"device": str(device), "id": 5, "uuid": OURS, "deviceClass": ""}
        assert report[1]["device"] == str(foreign)
        assert "carries the BlueStore label" in report[1]["error"]

    def test_what_may_pass_is_tried_again(
        self, node: Node, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.mkfs_errors = [errno.EIO]
        code, report = self.main(monkeypatch, tmp_path, device)
        assert code == 1
        assert "ceph-osd failed with status 5" in report[0]["error"]

    def test_mons_that_do_not_answer(self, device: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable() -> Mons:
            raise ConnectionError("timed out")

        code, report = self.main(monkeypatch, tmp_path, device, mons=unreachable)
        assert code == 1
        assert report == [{"device": str(device), "error": "the mons do not answer: timed out"}]

    def test_device_that_is_gone(self, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        code, report = self.main(monkeypatch, tmp_path, tmp_path / "absent")
        assert code == 1
        assert "No such file" in report[0]["error"]

    def test_long_reports_lose_errors_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ROOK_RESULT", str(tmp_path / "result"))
        made = [{"device": f"/dev/sd{n}", "id": n, "uuid": OURS, "deviceClass": "ssd"} for n in range(16)]
        failed = [{"device": f"/dev/sx{n}", "error": "x" * osd_script.ERROR_LIMIT} for n in range(16)]
        osd_script.report([*failed, *made])
        text = (tmp_path / "result").read_text()
        assert len(text) <= osd_script.MESSAGE_LIMIT
        assert json.loads(text)[:16] == made


class TestRun:
    @pytest.fixture(autouse=True)
    def osd(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"ROOK_OSD_ID": "5", "ROOK_OSD_UUID": OURS, "ROOK_FSID": FSID}.items():
            monkeypatch.setenv(name, value)

    def test_device_is_found_where_it_was(self, node: Node, device: Path) -> None:
        node.label(device, OURS)
        assert osd_script.find_device(OURS, str(device)) == str(device)

    def test_device_is_gone(self, node: Node, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ROOK_BLOCK_PATH", str(device))
        with pytest.raises(SystemExit, match=f"no device of this node carries osd.5, uuid {OURS}"):
            osd_script.run_daemon([])

    @pytest.mark.parametrize("label", [{"ceph_fsid": OTHER_FSID, "whoami": "5"}, {"ceph_fsid": FSID, "whoami": "6"}])
    def test_device_of_another_osd(
        self, node: Node, device: Path, monkeypatch: pytest.MonkeyPatch, label: dict[str, str]
    ) -> None:
        node.label(device, OURS, **label)
        monkeypatch.setenv("ROOK_BLOCK_PATH", str(device))
        with pytest.raises(SystemExit, match=r"not osd\.5 of cluster"):
            osd_script.run_daemon([])
