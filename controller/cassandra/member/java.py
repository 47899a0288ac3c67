"""The Java machine that a member runs in: its heap by the memory of the pod, and its options.

The list of opened packages is that of Cassandra 5.0 for Java 17, and those whose objects 4.1 looks into to tell their
size. It does for Java 11 too, on which 4.1 is shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MIB = 1 << 20
LEAST_MEMORY = 768 * MIB
"""Bytes below which a member is killed for its memory sooner or later."""
BESIDE = 400 * MIB
"""Bytes that a member needs beside heap and buffers: classes, code, threads, mapped files."""
LEAST_HEAP = 256 * MIB
HEAP_WITHOUT_LIMIT = 1024 * MIB
LEAST_DIRECT = 64 * MIB
SERIAL_BELOW = 512 * MIB
"""Bytes of heap below which the collector without threads of its own needs less."""

FORBIDDEN = (
    "-Xm",
    "-XX:MaxHeapSize",
    "-XX:InitialHeapSize",
    "-Dcassandra.config",
    "-Dcassandra.storagedir",
    "-Dcassandra.replace_address",
    "-Dcassandra.replace_node",
    "-Dcassandra.consistent.rangemovement",
    "-Dcassandra.allow_unsafe_replace",
    "-Dcassandra.override_decommission",
    "-Dcassandra.join_ring",
    "-Dcassandra.start_gossip",
    "-Dcassandra.start_native_transport",
    "-Dcassandra.initial_token",
    "-Dcassandra.ignore_dc",
    "-Dcassandra.ignore_rack",
    "-Dcassandra.reset_bootstrap_progress",
    "-Dcassandra.write_survey",
    "-Dcassandra.jmx",
    "-Dcom.sun.management.jmxremote",
)
"""How options begin that would undo what keeps data safe, open JMX to others, or that have a field of their own."""

_EXPORTS = (
    "java.base/java.lang.ref",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.ref",
    "java.base/sun.nio.ch",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.compiler/com.sun.tools.javac.file",
    "jdk.unsupported/sun.misc",
)
_OPENS = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.ref",
    "java.base/java.lang.reflect",
    "java.base/java.math",
    "java.base/java.net",
    "java.base/java.nio",
    "java.base/java.time",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/java.util.concurrent.locks",
    "java.base/java.util.function",
    "java.base/java.util.regex",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.compiler/com.sun.tools.javac",
    "jdk.management/com.sun.management.internal",
)
_ALWAYS = (
    "-XX:+UseThreadPriorities",
    "-Xss256k",
    "-XX:+PerfDisableSharedMem",
    # The pod is started anew, and the others see that it was gone.
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.io.tmpdir=/run/rook/tmp",
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.maxOrder=11",
    "-Dcassandra.jmx.local.port=7199",
    "-Dsun.nio.PageAlignDirectMemory=true",
    "-Dlogback.configurationFile=logback.xml",
)
_CONCURRENT = (
    "-XX:+UseG1GC",
    "-XX:+ParallelRefProcEnabled",
    "-XX:MaxTenuringThreshold=1",
    "-XX:G1RSetUpdatingPauseTimePercent=5",
    "-XX:MaxGCPauseMillis=300",
    "-XX:InitiatingHeapOccupancyPercent=70",
)


def refusals(memory: int | None, heap: int | None, options: Sequence[str]) -> Iterator[str]:
    """Why members must not be started with these sizes in bytes and options."""
    if memory is not None and memory < LEAST_MEMORY:
        yield f"resources: the memory limit is {memory // MIB} MiB; a member needs {LEAST_MEMORY // MIB} MiB or more"
    elif memory is not None and heap is not None and heap > memory - BESIDE:
        most = (memory - BESIDE) // MIB
        yield f"jvm.heapSize is {heap // MIB} MiB; the memory limit leaves room for {most} MiB"
    if heap is not None and heap < LEAST_HEAP:
        yield f"jvm.heapSize is {heap // MIB} MiB; a member needs {LEAST_HEAP // MIB} MiB or more"
    for option in options:
        if not option.startswith("-") or any(letter.isspace() for letter in option):
            yield f"jvm.options: {option!r} is not one option, such as -Dcassandra.ring_delay_ms=30000"
        elif option.startswith(FORBIDDEN):
            yield f"jvm.options: {option!r} is the operator's to set: remove it"


def heap_size(memory: int | None) -> int:
    """The bytes of the heap by those of the memory limit, as Cassandra reckons, but with room beside it."""
    if memory is None:
        return HEAP_WITHOUT_LIMIT
    usual = max(min(memory // 2, 1024 * MIB), min(memory // 4, 8192 * MIB))
    return max(LEAST_HEAP, min(usual, memory - BESIDE))


def options(memory: int | None, heap: int | None, more: Sequence[str]) -> Iterator[str]:
    """The options, one each; the user's last, so that they prevail."""
    size = heap if heap is not None else heap_size(memory)
    yield f"-Xms{size // MIB}M"
    yield f"-Xmx{size // MIB}M"
    if memory is not None:
        # As much as the heap, which is what Java allows by itself, may not be left.
        direct = max(LEAST_DIRECT, min(size, memory - size - BESIDE))
        yield f"-XX:MaxDirectMemorySize={direct // MIB}M"
    yield from ("-XX:+UseSerialGC",) if size < SERIAL_BELOW else _CONCURRENT
    yield from _ALWAYS
    yield from (f"--add-exports={package}=ALL-UNNAMED" for package in _EXPORTS)
    yield from (f"--add-opens={package}=ALL-UNNAMED" for package in _OPENS)
    yield from more
