"""Certificates for servers that tests start."""

import subprocess
from pathlib import Path


def make_certificates(directory: Path) -> None:
    """Make a CA (ca.crt, ca.key), certificates of a server at 127.0.0.1 and of an administrator, all in `directory`.

    The CA is as simple as an administrator's one-liner makes it, without a key usage extension.
    """
    make_authority(directory)
    _sign(directory, "server", "/CN=localhost", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    make_client_certificate(directory, "admin", "/O=system:masters/CN=admin")


def make_authority(directory: Path) -> None:
    """Make a CA in `directory`: ca.crt and ca.key."""
    _openssl(
        directory, "req", "-x509", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", *_KEY
    )


def make_server_certificate(directory: Path, name: str, *hosts: str) -> None:
    """Make `name`.crt and `name`.key, a certificate of a server with these host names by the CA in `directory`."""
    names = ",".join(f"DNS:{host}" for host in hosts)
    _sign(directory, name, f"/CN={name}", f"subjectAltName={names}")


def make_client_certificate(directory: Path, name: str, subject: str) -> None:
    """Make `name`.crt and `name`.key, a client certificate by the CA in `directory`.

    Args:
        directory: Where the CA is.
        name: Of the files.
        subject: Whose it is, as "/O=group/CN=user".
    """
    _sign(directory, name, subject, "extendedKeyUsage=clientAuth")


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _sign(directory: Path, name: str, subject: str, extension: str) -> None:
    files = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
    _openssl(directory, "req", "-subj", subject, "-addext", extension, *files, *_KEY)
    by = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy", "-days", "2")
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *by)


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
