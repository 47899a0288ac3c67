"""What the program of a Job is told, and where it finds what is secret. Pure."""

from __future__ import annotations

from pathlib import Path

import msgspec

from controller.cassandra.backup.bucket import HopelessError, Location

S3, LOGIN, ADMIN = (Path("/etc/rook") / name for name in ("s3", "login", "admin"))
"""Where Secrets are mounted: the S3's credentials, the superuser, what members' programs let in."""
S3_CA = Path("/etc/rook/s3-ca")
"""Where the Secret of `caSecretName` is mounted, if there is one."""
CA_KEY = "ca.crt"
"""Its key with the authority."""
HOPELESS = 3
"""Exit status where trying again does not help."""


class Options(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The arguments of all commands; nothing of it is secret.

    Attributes:
        bucket: Where it is; prefix, endpoint, region and path style are those of `Location`.
        backup: The backup's name.
        operation: The uid of the Operation.
        cluster: The cluster's name.
        host: The address of a member's pod.
        ca: PEM of the authority that signed its certificate; empty: it speaks no TLS.
        name: The host name in its certificate.
        tag: Of the snapshot.
        host_ids: Of members; of a single one where only one is concerned.
        keyspaces: Those concerned; none: all.
        overwrite: Those whose rows may be thrown away.
        number: Which of the shares of a restore, from 0.
        members: How many members the cluster has, which share it.
    """

    bucket: str
    backup: str
    operation: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    path_style: bool = True
    cluster: str = ""
    host: str = ""
    ca: str = ""
    name: str = ""
    tag: str = ""
    host_ids: tuple[str, ...] = ()
    keyspaces: tuple[str, ...] = ()
    overwrite: tuple[str, ...] = ()
    number: int = 0
    members: int = 1

    @property
    def location(self) -> Location:
        """Where the bucket is.

        Raises:
            HopelessError: A Secret for the authority is mounted, and has none.
        """
        ca = S3_CA / CA_KEY
        if S3_CA.is_dir() and not (ca.is_file() and ca.stat().st_size):
            raise HopelessError(f"the Secret of s3.caSecretName has nothing under the key {CA_KEY}")
        return Location(
            bucket=self.bucket,
            prefix=self.prefix,
            endpoint=self.endpoint,
            region=self.region,
            path_style=self.path_style,
            ca=str(ca) if S3_CA.is_dir() else "",
        )
