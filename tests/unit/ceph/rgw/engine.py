"""A stand-in for `radosgw-admin`, by what 18.2.7 answered: what is in pool .rgw.root, and users."""

from __future__ import annotations

import copy
import itertools
import json
from subprocess import CompletedProcess
from typing import Any

Json = dict[str, Any]
_IDS = itertools.count(1)


class RadosgwAdmin:
    """Realms, zone groups, zones, periods and users. `calls` are the commands, without options.

    Attributes:
        peers: Those of other clusters, by the URL of a gateway there.
        reached: Whether the gateways of a master in another cluster are.
        is_behind: Whether the zones here are periods behind the master.
    """

    def __init__(self) -> None:
        self.realms: dict[str, Json] = {}
        self.zonegroups: dict[str, Json] = {}
        self.zones: dict[str, Json] = {}
        self.periods: dict[str, Json] = {}
        self.users: dict[str, Json] = {}
        self.default = ""
        self.calls: list[str] = []
        self.arguments: list[list[str]] = []
        self.dies_before = ""
        self.dies_within = ""
        self.peers: dict[str, RadosgwAdmin] = {}
        self.reached = True
        self.is_behind = False

    @property
    def commits(self) -> int:
        return self.calls.count("period update")

    def __call__(self, arguments: list[str], **options: Any) -> CompletedProcess[str]:
        """Stands in for `subprocess.run`."""
        words = [word for word in arguments[1:] if not word.startswith("-")]
        flags = {f.partition("=")[0]: f.partition("=")[2] for f in arguments if f.startswith("--")}
        words = [word for word in words if word not in (flags, "client.rgw.s.a") and "/" not in word]
        command = " ".join(words[:2])
        self.arguments.append(arguments)
        if command == self.dies_before:
            raise KeyboardInterrupt
        self.calls.append(command)
        for flag in ("--rgw-realm", "--rgw-zonegroup", "--rgw-zone"):
            assert flags.get(flag), f"{command} without {flag} makes a zone of its own"
        code, answer = self._answer(words, flags, options.get("input") or "")
        text = json.dumps(answer, indent=4) if code == 0 and answer is not None else ""
        error = "" if code == 0 else f"2026-11-30T17:56:26.209+0000 7fd2906c0100  0 ERROR: {answer}\ncouldn't go on\n"
        return CompletedProcess(arguments, code, text, error)

    def _answer(self, words: list[str], flags: dict[str, str], stdin: str) -> tuple[int, Any]:
        kind, verb = words[:2]
        name = flags.get(f"--rgw-{kind}", "")
        found: dict[str, Json] = getattr(self, f"{kind}s", {})
        if verb == "get" and kind in ("realm", "zonegroup", "zone"):
            return (0, copy.deepcopy(found[name])) if name in found else (2, f"failed to load {kind}")
        handler = getattr(self, f"_{kind}_{verb}")
        answer: tuple[int, Any] = handler(words, flags, stdin)
        return answer

    def _id(self) -> str:
        return f"id-{next(_IDS)}"

    def _realm_list(self, *_: Any) -> tuple[int, Any]:
        return 0, {"default_info": self.default, "realms": list(self.realms)}

    def _realm_create(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        name, period = flags["--rgw-realm"], self._id()
        realm = {"id": self._id(), "name": name, "current_period": period, "epoch": 1}
        self.realms[name] = realm
        self.default = self.default or str(realm["id"])
        self.periods[period] = {
            "id": period,
            "epoch": 1,
            "period_map": {"zonegroups": []},
            "realm_id": realm["id"],
            "realm_epoch": 1,
            "master_zone": "",
        }
        return 0, realm

    def _realm_default(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        self.default = self.realms[flags["--rgw-realm"]]["id"]
        return 0, None

    def _realm_rm(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        realm = self.realms[flags["--rgw-realm"]]
        if realm["current_period"] not in self.periods:
            return 2, "failed to load the period"
        del self.realms[flags["--rgw-realm"]]
        return 0, None

    def _zonegroup_create(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        name, realm = flags["--rgw-zonegroup"], self.realms[flags["--rgw-realm"]]
        self.zonegroups[name] = {
            "id": self._id(),
            "name": name,
            "is_master": "--master" in flags,
            "endpoints": _list(flags),
            "master_zone": "",
            "zones": [],
            "placement_targets": [{"name": "default-placement", "tags": [], "storage_classes": ["STANDARD"]}],
            "realm_id": realm["id"],
        }
        return 0, self.zonegroups[name]

    def _zonegroup_set(self, _: list[str], flags: dict[str, str], stdin: str) -> tuple[int, Any]:
        self.zonegroups[flags["--rgw-zonegroup"]] = json.loads(stdin)
        return 0, None

    def _zonegroup_delete(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        del self.zonegroups[flags["--rgw-zonegroup"]]
        return 0, None

    def _zone_create(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        name, realm, group = flags["--rgw-zone"], self.realms[flags["--rgw-realm"]], flags["--rgw-zonegroup"]
        pools = {"index_pool": f"{name}.rgw.buckets.index", "data_extra_pool": f"{name}.rgw.buckets.non-ec"}
        classes = {"STANDARD": {"data_pool": f"{name}.rgw.buckets.data"}}
        zone = {
            "id": self._id(),
            "name": name,
            "control_pool": f"{name}.rgw.control",
            "system_key": {"access_key": "", "secret_key": ""},
            "placement_pools": [
                {"key": "default-placement", "val": {**pools, "storage_classes": classes, "inline_data": True}}
            ],
            "realm_id": realm["id"],
        }
        self.zones[name] = zone
        if self.dies_within == "zone create":
            self.dies_within = ""
            raise KeyboardInterrupt
        self._join(group, zone, flags)
        return 0, zone

    def _join(self, group: str, zone: Json, flags: dict[str, str]) -> None:
        found = self.zonegroups[group]
        entry = next((entry for entry in found["zones"] if entry["id"] == zone["id"]), None)
        if entry is None:
            entry = {"id": zone["id"], "name": zone["name"], "endpoints": [], "sync_from_all": True, "sync_from": []}
            found["zones"].append(entry)
        entry["endpoints"] = _list(flags) or entry["endpoints"]
        if "--master" in flags:
            found["master_zone"] = zone["id"]

    def _zone_modify(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        zone = self.zones[flags["--rgw-zone"]]
        self._join(flags["--rgw-zonegroup"], zone, flags)
        return 0, zone

    def _zone_list(self, *_: Any) -> tuple[int, Any]:
        return 0, {"default_info": "", "zones": list(self.zones)}

    def _zonegroup_list(self, *_: Any) -> tuple[int, Any]:
        return 0, {"default_info": "", "zonegroups": list(self.zonegroups)}

    def _zonegroup_modify(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        group = self.zonegroups[flags["--rgw-zonegroup"]]
        group["endpoints"] = _list(flags) or group["endpoints"]
        group["is_master"] = group["is_master"] or "--master" in flags
        return 0, group

    def _zonegroup_remove(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        group = self.zonegroups[flags["--rgw-zonegroup"]]
        group["zones"] = [entry for entry in group["zones"] if entry["name"] != flags["--rgw-zone"]]
        return 0, group

    def _realm_pull(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        other, name = self.peers[flags["--url"]], flags["--rgw-realm"]
        realm = other.realms.get(name)
        if realm is None or flags.get("--realm-id", realm["id"]) != realm["id"]:
            return 2, "request failed: (2) No such file or directory"
        self.realms[name] = copy.deepcopy(realm)
        self._agree(copy.deepcopy(other.periods[realm["current_period"]]))
        return 0, realm

    def _agree(self, period: Json) -> None:
        """Goes by a period, as gateways and the tool do that are told of one."""
        self.periods[period["id"]] = period
        for realm in self.realms.values():
            if realm["id"] == period["realm_id"]:
                realm["current_period"] = period["id"]
        for group in period["period_map"]["zonegroups"]:
            self.zonegroups[group["name"]] = copy.deepcopy(group)

    def _zone_set(self, _: list[str], flags: dict[str, str], stdin: str) -> tuple[int, Any]:
        self.zones[flags["--rgw-zone"]] = json.loads(stdin)
        return 0, None

    def _zone_delete(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        del self.zones[flags["--rgw-zone"]]
        for group in self.zonegroups.values():
            group["zones"] = [zone for zone in group["zones"] if zone["name"] != flags["--rgw-zone"]]
        return 0, None

    def _period_get(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        wanted = flags.get("--period") or self.realms[flags["--rgw-realm"]]["current_period"]
        return (0, copy.deepcopy(self.periods[wanted])) if wanted in self.periods else (2, "no such period")

    def _period_list(self, *_: Any) -> tuple[int, Any]:
        return 0, {"periods": list(self.periods)}

    def _period_delete(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        del self.periods[flags["--period"]]
        return 0, None

    def _period_update(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        realm = self.realms[flags["--rgw-realm"]]
        period = copy.deepcopy(self.periods[realm["current_period"]])
        configured = [group for group in self.zonegroups.values() if group["realm_id"] == realm["id"]]
        period["period_map"]["zonegroups"] = copy.deepcopy(configured)
        masters = [group["master_zone"] for group in configured if group["is_master"]]
        if not any(masters):
            return 22, "cannot commit period: period does not have a master zone of a master zonegroup"
        own = self.zones[flags["--rgw-zone"]]["id"]
        if own != masters[0] and not self.reached:
            return 5, "request failed: (5) Input/output error"
        if masters[0] != period["master_zone"]:
            if period["master_zone"] and self.is_behind and "--yes-i-really-mean-it" not in flags:
                return 22, "ERROR: This zone is 1 period(s) behind the current master zone in metadata sync."
            period |= {"id": self._id(), "epoch": 0, "realm_epoch": period["realm_epoch"] + 1}
        period |= {"epoch": period["epoch"] + 1, "master_zone": masters[0]}
        for engine in (self, *self.peers.values()):
            engine._agree(copy.deepcopy(period))
        return 0, period

    def _metadata_get(self, words: list[str], *_: Any) -> tuple[int, Any]:
        uid = words[2].removeprefix("user:")
        if uid not in self.users:
            return 2, "can't get key"
        return 0, {"key": words[2], "ver": {"ver": 1}, "data": copy.deepcopy(self.users[uid])}

    def _metadata_put(self, words: list[str], _: dict[str, str], stdin: str) -> tuple[int, Any]:
        self.users[words[2].removeprefix("user:")] = json.loads(stdin)["data"]
        return 0, None

    def _user_create(self, _: list[str], flags: dict[str, str], __: str) -> tuple[int, Any]:
        uid = flags["--uid"]
        keys = [{"user": uid, "access_key": "GENERATED", "secret_key": "generated-too"}]
        self.users[uid] = {"user_id": uid, "display_name": flags["--display-name"], "keys": keys, "caps": []}
        return 0, self.users[uid]


def _list(flags: dict[str, str]) -> list[str]:
    return flags["--endpoints"].split(",") if flags.get("--endpoints") else []
