"""Whether and how Cassandra is started.

A start may do harm that nothing repairs: a second cluster is founded, a member takes its place without its data, a
volume comes up under another's name. So every start is judged by the member's record, which the operator wrote, and by
the mark on the volume, which this program writes when Cassandra has joined.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .files import CONFIG, HOME, PROGRAM, RUN, VOLUME, read_json, write

if TYPE_CHECKING:
    from informers import JsonObject

    from .files import Certificates

JOLOKIA_PORT = 8779
JOLOKIA_THREADS = 16
"""Commands may hold one for hours each."""
EXPORTER_PORT = 9500


LEAST_FREE = 50 << 20
"""Bytes that have to be free on the volume: as many as Cassandra leaves free itself (`min_free_space_per_drive`)."""


class RefusedError(Exception):
    """Cassandra must not be started like this."""


class LeftError(Exception):
    """The member has left the ring for good."""


def judge(record: JsonObject, mark: JsonObject, has_data: bool, cluster_name: str) -> tuple[list[str], str]:
    """How Cassandra is started: its seeds, and the address that it takes over (empty: none).

    Args:
        record: As the operator wrote it (`controller.cassandra.member.record`).
        mark: As it is on the volume; empty where nothing there has had a place in the ring.
        has_data: Whether Cassandra has written to the volume.
        cluster_name: As it is configured.

    Raises:
        RefusedError: It must not be started.
        LeftError: It has left the ring.
    """
    own, wanted = record["address"], record.get("hostId", "")
    if mark and mark.get("clusterName") != cluster_name:
        raise RefusedError(f"the volume belongs to cluster {mark.get('clusterName')!r}, and this is {cluster_name!r}")
    if mark.get("left"):
        raise LeftError(f"host ID {mark['hostId']} has left the ring for good; its volume is not used again")
    if mark:
        if wanted and mark["hostId"] != wanted:
            raise RefusedError(f"the volume has the data of host ID {mark['hostId']}, and this member is {wanted}")
        return list(record["seeds"]) or [own], ""
    replace = record.get("replace", "")
    if wanted and not has_data and not replace:
        raise RefusedError(f"the volume is empty, and this member had data as host ID {wanted}")
    alone = list(record["seeds"]) == [own]
    if record.get("founder") or (alone and wanted and not replace):
        return [own], ""
    # Whoever is its own seed takes its place in the ring without its data.
    seeds = [seed for seed in record["seeds"] if seed != own]
    if not seeds:
        raise RefusedError("it has no seed but itself, and is not the one to found the cluster")
    return seeds, replace


def trouble(volume: os.statvfs_result) -> str:
    """Why Cassandra cannot do with a volume, in words; empty: it can.

    With less room, it ends while it starts: what it reads from its commit log is written to files.
    """
    if volume.f_flag & os.ST_RDONLY:
        return "the volume can only be read"
    free = volume.f_bavail * volume.f_frsize
    if free < LEAST_FREE:
        return f"the volume is full: {free >> 20} MiB of it are free, and Cassandra needs {LEAST_FREE >> 20} MiB"
    return ""


def require(volume: os.statvfs_result) -> None:
    """Raises `RefusedError` where Cassandra cannot do with a volume."""
    found = trouble(volume)
    if found:
        raise RefusedError(found)


def has_data() -> bool:
    """Whether Cassandra has written its own tables to the volume."""
    return any(any(table.iterdir()) for table in VOLUME.glob("data/system/local-*"))


def configuration(record: JsonObject, seeds: list[str]) -> JsonObject:
    """The content of cassandra.yaml: the rack's, with what is the member's alone."""
    found = read_json(CONFIG / "cassandra.yaml")
    if found is None:
        raise RefusedError("its configuration cannot be read")
    provider = {"class_name": "org.apache.cassandra.locator.SimpleSeedProvider"}
    return {
        **found,
        "listen_address": os.environ["ROOK_POD_IP"],
        "broadcast_address": record["address"],
        "rpc_address": "0.0.0.0",  # noqa: S104  # clients come from anywhere; authentication decides
        "broadcast_rpc_address": record["address"],
        "allocate_tokens_for_local_replication_factor": record["copies"],
        "seed_provider": [{**provider, "parameters": [{"seeds": ",".join(seeds)}]}],
    }


def write_certificates(found: Certificates) -> None:
    """The files that Cassandra reads keys and certificates from; nothing where the cluster has none."""
    if found.key:
        write(RUN / "tls/keystore.pem", found.key + found.certificate)
        write(RUN / "tls/truststore.pem", found.trusted)


def prepare(record: JsonObject, seeds: list[str], replace: str, password: str, found: Certificates) -> list[str]:
    """Writes what Cassandra reads, and returns the command that starts it."""
    for source in CONFIG.iterdir():
        if source.is_file() and not source.name.startswith("."):
            write(RUN / "conf" / source.name, source.read_text())
    write(RUN / "conf/cassandra.yaml", json.dumps(configuration(record, seeds), indent=1))
    write_certificates(found)
    (RUN / "tmp").mkdir(parents=True, exist_ok=True)
    jolokia = {"host": "127.0.0.1", "port": JOLOKIA_PORT, "user": "rook", "password": password}
    jolokia.update({"discoveryEnabled": "false", "executor": "fixed", "threadNr": JOLOKIA_THREADS})
    write(RUN / "jolokia.properties", "".join(f"{name}={value}\n" for name, value in jolokia.items()))
    java = os.environ.get("JAVA_HOME")
    command = [f"{java}/bin/java" if java else "java"]
    command += [f"-javaagent:{jar}" for jar in sorted(HOME.glob("lib/jamm-*.jar"))]
    command.append(f"-javaagent:{PROGRAM}/jolokia.jar=config={RUN}/jolokia.properties")
    if (CONFIG / "exporter.yaml").exists():
        command.append(f"-javaagent:{PROGRAM}/exporter.jar={EXPORTER_PORT}:{CONFIG}/exporter.yaml")
    command += [f"-Dcassandra.libjemalloc={library}" for library in allocators()]
    command += (CONFIG / "jvm.options").read_text().split("\n")
    command += [f"-Dcassandra.config=file://{RUN}/conf/cassandra.yaml", f"-Dcassandra.storagedir={VOLUME}"]
    if replace:
        command.append(f"-Dcassandra.replace_address_first_boot={replace}")
    command += ["-cp", f"{RUN}/conf:{HOME}/lib/*", "org.apache.cassandra.service.CassandraDaemon"]
    return [part for part in command if part]


def allocators() -> list[str]:
    """A memory allocator that gives back what it does not need, where the image has it."""
    return [str(library) for library in sorted(Path("/usr/lib").glob("*/libjemalloc.so.2"))[:1]]


def environment() -> dict[str, str]:
    """Of Cassandra's process."""
    return {**os.environ, "LD_PRELOAD": ":".join(allocators())}
