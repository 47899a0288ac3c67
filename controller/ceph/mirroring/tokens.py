"""Bootstrap tokens, by which one cluster learns how to reach another that it is mirrored with.

Their form is Ceph's own, base64 of JSON: https://docs.ceph.com/en/latest/rbd/rbd-mirroring/#bootstrap-peers and
https://docs.ceph.com/en/latest/cephfs/cephfs-mirroring/. Names and keys of the Secrets that hold them are upstream's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_KEY = "token"  # noqa: S105  the key in a Secret
"""Under which a Secret has the token of a cluster."""
DIRECTION_KEY = "direction"
"""Under which a Secret may say in which direction images are mirrored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """How a cluster is reached by one that it is mirrored with.

    Attributes:
        fsid: Which cluster it is.
        user: The user there, such as "client.rbd-mirror-peer".
        mon_host: Where its mons are, as the option `mon_host` has it.
        key: The user's key.
        filesystem: The file system there; empty in a token for images.
        site_name: What the cluster is called among those that are mirrored; empty in a token for images.
        text: The token itself.
        direction: "rx-only" or "rx-tx"; by default both clusters learn of each other.
    """

    fsid: str
    user: str
    mon_host: str
    key: str = field(repr=False)
    filesystem: str = ""
    site_name: str = ""
    text: str = field(default="", repr=False)
    direction: str = ""

    @property
    def key_digest(self) -> str:
        """A digest of the key, which tells whether two are the same."""
        return digest(self.key)

    @property
    def way_digest(self) -> str:
        """A digest of how the cluster is reached."""
        return way_digest(self.fsid, self.mon_host, self.key)

    @property
    def digest(self) -> str:
        """A digest of all that is imported of it."""
        return digest(f"{self.fsid} {self.user} {self.mon_host} {self.key} {self.filesystem} {self.direction}")


def digest(text: str) -> str:
    """What is shown and compared in place of a text that nobody may see."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def way_digest(fsid: str, mon_host: str, key: str) -> str:
    """A digest of how a cluster is reached."""
    return digest(f"{fsid} {mon_host} {key}")


def read(data: Mapping[str, bytes]) -> Token:
    """The token in a Secret.

    Raises:
        ValueError: There is none, in words that say what was expected and show nothing of what was found.
    """
    text = data.get(TOKEN_KEY, b"").decode("utf-8", "replace").strip()
    if not text:
        raise ValueError(f"key {TOKEN_KEY} is missing or empty: expected the token of the other cluster")
    try:
        found = json.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"key {TOKEN_KEY} is no token: expected base64 of JSON, as Ceph makes it") from None
    if not isinstance(found, dict):
        raise ValueError(f"key {TOKEN_KEY} is no token: expected a JSON object in it")  # noqa: TRY004  of the content
    user = _text(found, "user") or f"client.{_text(found, 'client_id')}"
    missing = [name for name in ("fsid", "key", "mon_host") if not _text(found, name)]
    if user == "client.":
        missing.append("client_id")
    if missing:
        raise ValueError(f"key {TOKEN_KEY} is a token without {', '.join(missing)}: expected one that Ceph made")
    direction = data.get(DIRECTION_KEY, b"").decode("utf-8", "replace").strip()
    if direction not in ("", "rx-only", "rx-tx"):
        raise ValueError(f"key {DIRECTION_KEY} is neither rx-only nor rx-tx: expected one of these, or none")
    return Token(
        fsid=_text(found, "fsid"),
        user=user,
        mon_host=_text(found, "mon_host"),
        key=_text(found, "key"),
        filesystem=_text(found, "filesystem"),
        site_name=_text(found, "site_name"),
        text=text,
        direction=direction,
    )


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return value if isinstance(value, str) else ""


def for_images(*, fsid: str, user: str, key: str, mon_host: str, namespace: str) -> str:
    """A token by which another cluster mirrors images; `namespace` is upstream's addition."""
    client_id = user.removeprefix("client.")
    return _encoded({"fsid": fsid, "client_id": client_id, "key": key, "mon_host": mon_host, "namespace": namespace})


def for_files(*, fsid: str, user: str, key: str, mon_host: str, filesystem: str) -> str:
    """A token by which another cluster mirrors its files into a file system of this one."""
    found = {"fsid": fsid, "filesystem": filesystem, "user": user, "site_name": fsid, "key": key, "mon_host": mon_host}
    return _encoded(found)


def _encoded(found: Mapping[str, str]) -> str:
    return base64.b64encode(json.dumps(found).encode()).decode()


def mon_host(dump: Mapping[str, Any]) -> str:
    """Where all mons are, by the answer to `mon dump`: in order, so that equal maps give equal texts."""
    hosts = []
    for mon in dump.get("mons", ()):
        addresses = [f"{one['type']}:{one['addr']}" for one in mon.get("public_addrs", {}).get("addrvec", ())]
        if addresses:
            hosts.append(f"[{','.join(addresses)}]")
    return ",".join(sorted(hosts))
