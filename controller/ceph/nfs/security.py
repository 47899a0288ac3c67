"""Kerberos and SSSD in the pod of a server: files, volumes, and the container beside it. Pure.

Paths are upstream's: https://rook.io/docs/rook/latest/Storage-Configuration/NFS/nfs-security/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from controller.ceph.nfs.configuration import KEYTAB, KRB5, KRB5_DIRECTORY, NSSWITCH, idmapd

if TYPE_CHECKING:
    from controller.apis.ceph.nfs import NfsSecuritySpec, SssdSidecar
    from informers import JsonObject

FILES = "ganesha-config"
"""The volume with the files that are made here."""
PIPES, CACHE = "/var/lib/sss/pipes", "/var/lib/sss/mc"
"""Where SSSD answers, and where it leaves what it has answered already."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pod has for Kerberos and SSSD.

    Attributes:
        mounts: In the container of the server.
        volumes: Beside `FILES`.
        init: Containers that run before.
        beside: Containers beside the server.
    """

    mounts: tuple[JsonObject, ...] = ()
    volumes: tuple[JsonObject, ...] = ()
    init: tuple[JsonObject, ...] = ()
    beside: tuple[JsonObject, ...] = ()


def files(security: NfsSecuritySpec) -> dict[str, str]:
    """The files that are made for servers beside their own configuration, by name; each belongs in /etc."""
    found = {}
    kerberos = security.kerberos
    if kerberos is not None:
        found["krb5.conf"] = KRB5
        if kerberos.domain_name:
            found["idmapd.conf"] = idmapd(kerberos)
    if security.sssd is not None:
        found["nsswitch.conf"] = NSSWITCH
    return found


def parts(security: NfsSecuritySpec) -> Parts:
    """What a pod has for Kerberos and SSSD."""
    made = tuple(_file(FILES, f"/etc/{name}", name) for name in files(security))
    volumes, mounts = _kerberos(security)
    sidecar = security.sssd.sidecar if security.sssd is not None else None
    if sidecar is None:
        return Parts(mounts=(*made, *mounts), volumes=tuple(volumes))
    shared = [
        {"name": "sssd-sockets", "mountPath": PIPES},
        {"name": "sssd-mmap-cache", "mountPath": CACHE},
    ]
    own_volumes, own_mounts = _sssd(sidecar)
    kerberos_files = [mount for mount in made if mount["subPath"] == "krb5.conf"]
    return Parts(
        mounts=(*made, *mounts, *shared),
        volumes=(*volumes, *({"name": mount["name"], "emptyDir": {}} for mount in shared), *own_volumes),
        init=(_first_sockets(sidecar),),
        beside=(_sssd_container(sidecar, [*shared, *own_mounts, *kerberos_files, *mounts]),),
    )


def _kerberos(security: NfsSecuritySpec) -> tuple[list[JsonObject], list[JsonObject]]:
    """The volumes with the user's files, and where they are seen."""
    kerberos = security.kerberos
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if kerberos is not None and kerberos.config_files.volume_source:
        volumes.append({"name": "krb5-conf-d", **kerberos.config_files.volume_source})
        mounts.append({"name": "krb5-conf-d", "mountPath": KRB5_DIRECTORY, "readOnly": True})
    if kerberos is not None and kerberos.keytab_file.volume_source:
        volumes.append({"name": "krb5-keytab", **kerberos.keytab_file.volume_source})
        mounts.append(_file("krb5-keytab", KEYTAB, "krb5.keytab"))
    return volumes, mounts


def _sssd(sidecar: SssdSidecar) -> tuple[list[JsonObject], list[JsonObject]]:
    volumes: list[JsonObject] = []
    mounts: list[JsonObject] = []
    if sidecar.sssd_config_file.volume_source:
        volumes.append({"name": "sssd-conf", **sidecar.sssd_config_file.volume_source})
        mounts.append(_file("sssd-conf", "/etc/sssd/sssd.conf", "sssd.conf"))
    for index, more in enumerate(sidecar.additional_files):
        name = f"sssd-additional-{index}"
        volumes.append({"name": name, **more.volume_source})
        mounts.append({"name": name, "mountPath": f"/etc/sssd/rook-additional/{more.sub_path}", "readOnly": True})
    return volumes, mounts


def _first_sockets(sidecar: SssdSidecar) -> JsonObject:
    """SSSD expects what its image has where it will answer, and an empty volume hides that."""
    return {
        "name": "copy-sssd-sockets",
        "image": sidecar.image,
        "command": ["cp", "--archive", f"{PIPES}/.", "/pipes"],
        "volumeMounts": [{"name": "sssd-sockets", "mountPath": "/pipes"}],
        **_resources(sidecar),
    }


def _sssd_container(sidecar: SssdSidecar, mounts: list[JsonObject]) -> JsonObject:
    level = [f"--debug-level={sidecar.debug_level}"] if sidecar.debug_level else []
    return {
        "name": "sssd",
        "image": sidecar.image,
        "command": ["sssd"],
        "args": ["--interactive", "--logger=stderr", *level],
        "volumeMounts": mounts,
        **_resources(sidecar),
    }


def _resources(sidecar: SssdSidecar) -> JsonObject:
    return {"resources": sidecar.resources} if sidecar.resources else {}


def _file(volume: str, path: str, name: str) -> JsonObject:
    return {"name": volume, "mountPath": path, "subPath": name, "readOnly": True}
