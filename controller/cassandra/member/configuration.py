"""The configuration of a rack's members: files made of what is wanted, and what a user may not set in them.

What is the member's alone (addresses, seeds) is added in its pod. `cassandra.yaml` is written as JSON, which is YAML
too: the program in the pod has no other parser. Keys differ by release, and Cassandra does not start with one that it
does not know: https://cassandra.apache.org/doc/5.0/cassandra/managing/configuration/cass_yaml_file.html
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from controller.apis.cassandra.cluster import CASSANDRA_4
from controller.cassandra.member import java
from controller.cassandra.member.encryption import PLAIN, ClientTls, Encryption, Internode
from controller.cassandra.member.metrics import exporter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

KEYSTORE, TRUSTSTORE = "/run/rook/tls/keystore.pem", "/run/rook/tls/truststore.pem"
"""Where the program in the pod puts them."""

SMALL = 2 << 30
"""Bytes of memory below which a member gets along with fewer threads and smaller caches than Cassandra's own."""

OWN_KEYS = frozenset(
    {
        "cluster_name",
        "num_tokens",
        "initial_token",
        "allocate_tokens_for_keyspace",
        "allocate_tokens_for_local_replication_factor",
        "partitioner",
        "auto_bootstrap",
        "seed_provider",
        "endpoint_snitch",
        "listen_address",
        "listen_interface",
        "listen_interface_prefer_ipv6",
        "listen_on_broadcast_address",
        "broadcast_address",
        "rpc_address",
        "rpc_interface",
        "rpc_interface_prefer_ipv6",
        "broadcast_rpc_address",
        "storage_port",
        "ssl_storage_port",
        "start_native_transport",
        "native_transport_port",
        "native_transport_port_ssl",
        "data_file_directories",
        "local_system_data_file_directory",
        "commitlog_directory",
        "hints_directory",
        "saved_caches_directory",
        "cdc_raw_directory",
        "authenticator",
        "authorizer",
        "role_manager",
        "server_encryption_options",
        "client_encryption_options",
        "storage_compatibility_mode",
        "internode_authenticator",
    }
)
"""Keys of cassandra.yaml that the operator sets, or that would keep members from finding or knowing each other."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the members of a rack are to be like.

    Attributes:
        release: Major and minor version of Cassandra, such as (5, 0).
        num_tokens: Of each member; fixed once it has started.
        storage_mode: From 5.0 on: how files are written.
        authentication: Whether clients need a role and its password.
        encryption: How members speak with each other and with clients.
        memory: The limit of a member's memory in bytes; None where it has none.
        heap: The size of the heap in bytes; None: by the memory limit.
        config: What the user sets in cassandra.yaml.
        options: What the user adds to the options of the Java machine.
        metrics: Whether its metrics are served for Prometheus.
    """

    cluster_name: str
    datacenter: str
    rack: str
    release: tuple[int, int]
    num_tokens: int = 16
    storage_mode: str = CASSANDRA_4
    authentication: bool = True
    encryption: Encryption = PLAIN
    memory: int | None = None
    heap: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    metrics: bool = False


def refusals(settings: Settings) -> Iterator[str]:
    """Why members must not be started like this; nothing where they may."""
    for key in sorted(settings.config.keys() & OWN_KEYS):
        yield f"config.{key} is the operator's to set: remove it"
    yield from java.refusals(settings.memory, settings.heap, settings.options)


def files(settings: Settings) -> dict[str, str]:
    """The files of the rack's configuration, by name."""
    return {
        "cassandra.yaml": json.dumps(cassandra_yaml(settings), indent=1, sort_keys=True) + "\n",
        "cassandra-rackdc.properties": f"dc={settings.datacenter}\nrack={settings.rack}\nprefer_local=false\n",
        "jvm.options": "".join(f"{line}\n" for line in java.options(settings.memory, settings.heap, settings.options)),
        "logback.xml": LOGBACK,
        **({"exporter.yaml": exporter()} if settings.metrics else {}),
    }


def cassandra_yaml(settings: Settings) -> dict[str, Any]:
    """What all members of the rack have in common in cassandra.yaml."""
    volume = "/var/lib/cassandra"
    wanted: dict[str, Any] = {
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        "commitlog_sync": "periodic",
        "commitlog_sync_period": "10000ms",
        # Where nothing is said of failures of the disk, Cassandra ignores them.
        "disk_failure_policy": "die",
        "commit_failure_policy": "die",
        # Files that are mapped whole count as memory of the pod.
        "disk_access_mode": "mmap_index_only",
        # Whoever was away for longer than deleted rows are remembered would bring them back.
        "startup_checks": {"check_data_resurrection": {"enabled": True}},
        "hinted_handoff_enabled": True,
        "max_hint_window": "3h",
        "auto_snapshot": True,
        "incremental_backups": False,
        "internode_compression": "dc",
        **(_SMALL if settings.memory is not None and settings.memory < SMALL else {}),
        **settings.config,
        "cluster_name": settings.cluster_name,
        "num_tokens": settings.num_tokens,
        "endpoint_snitch": "GossipingPropertyFileSnitch",
        "data_file_directories": [f"{volume}/data"],
        "commitlog_directory": f"{volume}/commitlog",
        "hints_directory": f"{volume}/hints",
        "saved_caches_directory": f"{volume}/saved_caches",
        "cdc_raw_directory": f"{volume}/cdc_raw",
        **(_AUTHENTICATED if settings.authentication else {}),
    }
    if settings.release >= (5, 0):
        wanted["storage_compatibility_mode"] = settings.storage_mode
    internode, client = settings.encryption.internode, settings.encryption.client
    if internode is not Internode.OFF:
        wanted["server_encryption_options"] = {
            **_certificates(),
            "internode_encryption": "none" if internode is Internode.ACCEPTED else "all",
            "optional": internode is not Internode.REQUIRED,
            "require_client_auth": True,
        }
    if client is not ClientTls.OFF:
        optional = client is ClientTls.OPTIONAL
        wanted["client_encryption_options"] = {**_certificates(), "enabled": True, "optional": optional}
    return wanted


def _certificates() -> dict[str, Any]:
    factory = {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"}
    return {"ssl_context_factory": factory, "keystore": KEYSTORE, "truststore": TRUSTSTORE}


_SMALL = {
    "file_cache_size": "32MiB",
    "networking_cache_size": "16MiB",
    "concurrent_reads": 8,
    "concurrent_writes": 8,
    "concurrent_counter_writes": 8,
    "native_transport_max_threads": 16,
}
_AUTHENTICATED = {
    "authenticator": "PasswordAuthenticator",
    "authorizer": "CassandraAuthorizer",
    "role_manager": "CassandraRoleManager",
}

LOGBACK = """\
<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder>
      <pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern>
    </encoder>
  </appender>
  <root level="INFO">
    <appender-ref ref="STDOUT"/>
  </root>
  <logger name="org.apache.cassandra" level="INFO"/>
</configuration>
"""
