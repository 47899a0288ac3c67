"""A rack's files: per release, with what a user sets, and what is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from controller.cassandra.member import configuration, java
from controller.cassandra.member.configuration import Settings, cassandra_yaml, files, refusals
from controller.cassandra.member.encryption import ClientTls, Encryption, Internode

MIB = 1 << 20
ENCRYPTED = Encryption(internode=Internode.REQUIRED, client=ClientTls.REQUIRED)
PLAIN = Settings("c", "dc1", "r1", (5, 0), memory=1200 * MIB)


def test_files_of_a_rack() -> None:
    found = files(replace(PLAIN, rack="r2"))
    assert found.keys() == {"cassandra.yaml", "cassandra-rackdc.properties", "jvm.options", "logback.xml"}
    assert found["cassandra-rackdc.properties"] == "dc=dc1\nrack=r2\nprefer_local=false\n"
    assert json.loads(found["cassandra.yaml"])["cluster_name"] == "c"
    assert "-Xmx600M\n" in found["jvm.options"]


def test_a_release_gets_no_key_that_it_does_not_know() -> None:
    assert cassandra_yaml(PLAIN)["storage_compatibility_mode"] == "CASSANDRA_4"
    assert "storage_compatibility_mode" not in cassandra_yaml(replace(PLAIN, release=(4, 1)))


def test_what_keeps_data_safe_is_there_without_being_asked_for() -> None:
    found = cassandra_yaml(PLAIN)
    assert (found["disk_failure_policy"], found["commit_failure_policy"]) == ("die", "die")
    assert (found["authenticator"], found["authorizer"]) == ("PasswordAuthenticator", "CassandraAuthorizer")
    assert "authenticator" not in cassandra_yaml(replace(PLAIN, authentication=False))


def test_certificates() -> None:
    assert not {"server_encryption_options", "client_encryption_options"} & cassandra_yaml(PLAIN).keys()
    found = cassandra_yaml(replace(PLAIN, encryption=replaced(ENCRYPTED, client=ClientTls.OPTIONAL)))
    internode, client = found["server_encryption_options"], found["client_encryption_options"]
    assert (internode["internode_encryption"], internode["optional"], internode["require_client_auth"]) == (
        "all",
        False,
        True,
    )
    assert (client["enabled"], client["optional"]) == (True, True)
    required = cassandra_yaml(replace(PLAIN, encryption=Encryption(client=ClientTls.REQUIRED)))[
        "client_encryption_options"
    ]
    assert required["optional"] is False


def test_what_the_user_sets_prevails_over_defaults() -> None:
    found = cassandra_yaml(replace(PLAIN, config={"concurrent_reads": 64, "disk_failure_policy": "stop"}))
    assert (found["concurrent_reads"], found["disk_failure_policy"]) == (64, "stop")


@pytest.mark.parametrize("key", sorted(configuration.OWN_KEYS))
def test_what_is_the_operators_is_refused_and_not_taken(key: str) -> None:
    settings = replace(PLAIN, config={key: "x"})
    assert list(refusals(settings)) == [f"config.{key} is the operator's to set: remove it"]


@pytest.mark.parametrize("authentication", [True, False])
@given(config=st.dictionaries(st.sampled_from(sorted(configuration.OWN_KEYS)), st.just("x")))
def test_no_setting_of_a_user_changes_who_a_member_is(authentication: bool, config: dict[str, str]) -> None:
    plain = replace(PLAIN, authentication=authentication, encryption=ENCRYPTED)
    fixed = {
        "cluster_name",
        "num_tokens",
        "endpoint_snitch",
        "data_file_directories",
        "commitlog_directory",
        "storage_compatibility_mode",
        "server_encryption_options",
        "client_encryption_options",
    }
    wanted, found = cassandra_yaml(plain), cassandra_yaml(replace(plain, config=config))
    assert {key: found[key] for key in fixed} == {key: wanted[key] for key in fixed}


@pytest.mark.parametrize(
    ("memory", "heap", "options", "why"),
    [
        (700 * MIB, None, (), "the memory limit is 700 MiB; a member needs 768 MiB or more"),
        (1024 * MIB, 900 * MIB, (), "jvm.heapSize is 900 MiB; the memory limit leaves room for 624 MiB"),
        (None, 100 * MIB, (), "jvm.heapSize is 100 MiB; a member needs 256 MiB or more"),
        (None, None, ("-Xmx4G",), "'-Xmx4G' is the operator's to set"),
        (None, None, ("-Dcassandra.consistent.rangemovement=false",), "is the operator's to set"),
        (None, None, ("-Dcassandra.replace_address=10.0.0.1",), "is the operator's to set"),
        (None, None, ("-Dcom.sun.management.jmxremote.port=7199",), "is the operator's to set"),
        (None, None, ("-Da=b -Dc=d",), "is not one option"),
        (None, None, ("org.example.Main",), "is not one option"),
    ],
)
def test_sizes_and_options_that_are_refused(
    memory: int | None, heap: int | None, options: tuple[str, ...], why: str
) -> None:
    (found,) = refusals(replace(PLAIN, memory=memory, heap=heap, options=options))
    assert why in found


def test_options_of_the_user_come_last() -> None:
    assert list(java.options(None, None, ["-XX:MaxGCPauseMillis=500"]))[-1] == "-XX:MaxGCPauseMillis=500"


@pytest.mark.parametrize(
    ("gib", "heap"), [(0.75, 368), (1, 512), (2, 1024), (4, 1024), (8, 2048), (32, 8192), (64, 8192)]
)
def test_the_heap_follows_from_the_memory(gib: float, heap: int) -> None:
    assert java.heap_size(int(gib * 1024) * MIB) // MIB == heap


@given(st.integers(java.LEAST_MEMORY, 1 << 40))
def test_heap_and_buffers_leave_room_beside_them(memory: int) -> None:
    initial, heap, buffers = (
        int("".join(filter(str.isdigit, option))) * MIB for option in list(java.options(memory, None, ()))[:3]
    )
    assert initial == heap
    assert heap + buffers <= memory - 300 * MIB
