"""What a CephNFS's spec asks for, in terms of its servers; and what of it cannot be, or means nothing. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from controller.apis.ceph import CephNFSSpec
from controller.apis.ceph.served import NFS
from controller.framework.honoured import unhonoured
from controller.framework.names import letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from controller.apis.ceph import CephNFS

APPLICATION = "nfs"
"""What Ceph is told that the pool is for."""
PORT, METRICS_PORT = 2049, 9587
"""Where servers listen by default, and where those serve metrics that can."""
LOG_LEVELS = (
    "NIV_NULL",
    "NIV_FATAL",
    "NIV_MAJ",
    "NIV_CRIT",
    "NIV_WARN",
    "NIV_EVENT",
    "NIV_INFO",
    "NIV_DEBUG",
    "NIV_MID_DEBUG",
    "NIV_FULL_DEBUG",
)
LONGEST_NAME, MOST = 40, 100
"""Characters of a CephNFS's name, of which names and labels are made; and servers that it may have."""

MINOR_VERSIONS = "rook.io/nfs-minor-versions"
"""The annotation with the minor versions of NFSv4 that servers speak; without it `DEFAULT_MINOR_VERSIONS`."""
DEFAULT_MINOR_VERSIONS = "1, 2"
"""Upstream's. Without 4.0, whose clients cannot tell when they have their state back, grace periods end early."""
DISCONNECT = "rook.io/disconnect-nfs-clients"
"""The annotation that, with the value "true", lets a server go whose clients have open files or locks at it."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_MINOR = re.compile(r"\s*[012]\s*(,\s*[012]\s*)*")


def server_ids(nfs: CephNFS) -> tuple[str, ...]:
    """The letters of the servers that a CephNFS has."""
    return tuple(letters(number) for number in range(nfs.spec.server.active))


def member_id(name: str, server: str) -> str:
    """The id of a server in the database of grace periods; upstream's."""
    return f"{name}.{server}"


def server_of(name: str, member: str) -> str:
    """The letter of a server by its id in the database; empty: it is none of this CephNFS's."""
    found = member.removeprefix(f"{name}.")
    return found if found != member and re.fullmatch(r"[a-z]+", found) else ""


def entity(name: str, server: str) -> str:
    """The user within Ceph that a server is; upstream's."""
    return f"client.nfs-ganesha.{member_id(name, server)}"


def port(nfs: CephNFS) -> int:
    """Where the servers listen."""
    return nfs.spec.server.port or PORT


def minor_versions(nfs: CephNFS) -> str:
    """The minor versions of NFSv4 that the servers speak, with commas between them."""
    given = nfs.metadata.annotations.get(MINOR_VERSIONS, "")
    return ", ".join(sorted(set(re.findall(r"\d", given)))) or DEFAULT_MINOR_VERSIONS


def disconnects(annotations: Mapping[str, str]) -> bool:
    """Whether the annotations of a CephNFS consent that clients lose their server."""
    return annotations.get(DISCONNECT) == "true"


def problems(nfs: CephNFS) -> tuple[str, ...]:
    """Why the spec cannot be carried out, whatever the cluster has."""
    return tuple(_problems(nfs))


def _problems(nfs: CephNFS) -> Iterator[str]:
    name, server, security = nfs.metadata.name, nfs.spec.server, nfs.spec.security
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        yield (
            f"metadata.name is {name}: Services are named after it, so expected at most {LONGEST_NAME} lower-case "
            "letters, digits and hyphens"
        )
    if not 1 <= server.active <= MOST:
        yield f"spec.server.active is {server.active}: expected 1 to {MOST}"
    if server.log_level and server.log_level not in LOG_LEVELS:
        yield f"spec.server.logLevel is {server.log_level}: expected one of {', '.join(LOG_LEVELS)}"
    given = nfs.metadata.annotations.get(MINOR_VERSIONS, "")
    if given and not _MINOR.fullmatch(given):
        yield f'annotation {MINOR_VERSIONS} is {given!r}: expected some of 0, 1 and 2, such as "0,1,2"'
    if security.kerberos is not None:
        for field, value in (
            ("principalName", security.kerberos.principal_name),
            ("domainName", security.kerberos.domain_name),
        ):
            if re.search(r'[\s";{}]', value):
                yield f"spec.security.kerberos.{field} is {value!r}: expected no space, quote, semicolon and brace"
    sidecar = security.sssd.sidecar if security.sssd is not None else None
    paths = [file.sub_path for file in sidecar.additional_files] if sidecar is not None else []
    for index, path in enumerate(paths):
        at = f"spec.security.sssd.sidecar.additionalFiles[{index}].subPath is {path!r}"
        if path.startswith("/") or ".." in path.split("/"):
            yield f"{at}: expected a path below /etc/sssd/rook-additional, without '..'"
        if path in paths[:index]:
            yield f"{at}: expected another one than that of an earlier file"


def unserved(spec: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The paths of the spec, as the user wrote it, that are set and not served.

    Args:
        spec: The spec.
        name: The CephNFS's name, which is that of the RADOS namespace: `rados.namespace` may say the same.
    """
    found = unhonoured(spec, NFS, CephNFSSpec)
    return tuple(path for path in found if path != "rados.namespace" or spec["rados"]["namespace"] != name)
