"""The configuration of NFS-Ganesha and of the libraries in it, as texts of files. Pure.

Exports are not in it: the mgr module `nfs` keeps them in RADOS, in objects that `conf-nfs.<name>` names, and servers
read that object anew whenever they are told that it changed. Values are upstream's where upstream has them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from controller.ceph.access.ganesha import POOL
from controller.ceph.nfs.spec import entity, member_id, minor_versions, port

if TYPE_CHECKING:
    from controller.apis.ceph import CephNFS
    from controller.apis.ceph.nfs import KerberosSpec

CEPH_CONF = "/etc/ceph/ceph.conf"
KEYTAB = "/etc/krb5.keytab"
KRB5_DIRECTORY = "/etc/krb5.conf.rook/"

NSSWITCH = """\
passwd: files sss
group: files sss
netgroup: sss
"""
"""Users and groups by SSSD."""

KRB5 = f"""\
[logging]
default = STDERR

includedir {KRB5_DIRECTORY}
"""
"""Kerberos, but for what is the user's."""


def ganesha(nfs: CephNFS, server: str) -> str:
    """The configuration of a server, `ganesha.conf`."""
    name = nfs.metadata.name
    user = entity(name, server).removeprefix("client.")
    url = f"rados://{POOL}/{name}/conf-nfs.{name}"
    kerberos = nfs.spec.security.kerberos
    return f"""\
NFS_CORE_PARAM {{
\tNFS_Port = {port(nfs)};
\tEnable_NLM = false;
\tEnable_RQUOTA = false;
\tProtocols = 4;
\t# It takes a capability that the server has no other need of.
\tAllow_Set_Io_Flusher_Fail = true;
}}

MDCACHE {{
\tDir_Chunk = 0;
}}

EXPORT_DEFAULTS {{
\tAttr_Expiration_Time = 0;
}}

NFSv4 {{
\tDelegations = false;
\tRecoveryBackend = "rados_cluster";
\tMinor_Versions = {minor_versions(nfs)};
}}

RADOS_KV {{
\tceph_conf = "{CEPH_CONF}";
\tuserid = {user};
\tnodeid = {member_id(name, server)};
\tpool = "{POOL}";
\tnamespace = "{name}";
}}

RADOS_URLS {{
\tceph_conf = "{CEPH_CONF}";
\tuserid = {user};
\twatch_url = "{url}";
}}

RGW {{
\tname = "client.{user}";
}}
{_krb5(kerberos) if kerberos is not None else ""}
%url\t{url}
"""


def idmapd(kerberos: KerberosSpec) -> str:
    """The domain of NFSv4 ids, `idmapd.conf`."""
    return f"[General]\nDomain = {kerberos.domain_name}\n"


def _krb5(kerberos: KerberosSpec) -> str:
    return f"""
NFS_KRB5 {{
\tPrincipalName = "{kerberos.principal_name}";
\tKeytabPath = {KEYTAB};
\tActive_krb5 = true;
}}
"""
