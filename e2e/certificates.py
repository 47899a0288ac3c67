"""Certificates for servers that tests start."""

import subprocess
from pathlib import Path


def make_certificates(directory: Path) -> None:
    """Make a CA (ca.crt, ca.key), certificates of a server at 127.0.0.1 and of an administrator, all in `directory`.

    The CA is as simple as an administrator's one-liner makes it, without a key usage extension.
    """
    run = [["req", "-x509", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2"]]
    for name, subject, extension in (
        ("server", "/CN=localhost", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ("admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"),
    ):
        request = ["req", "-subj", subject, "-addext", extension, "-keyout", f"{name}.key", "-out", f"{name}.csr"]
        sign = ["x509", "-req", "-in", f"{name}.csr", "-copy_extensions", "copy", "-CA", "ca.crt", "-CAkey", "ca.key"]
        run += [request, [*sign, "-CAcreateserial", "-out", f"{name}.crt", "-days", "2"]]
    for arguments in run:
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"] if arguments[0] == "req" else []
        subprocess.run(["openssl", *arguments, *key], cwd=directory, check=True, capture_output=True)
