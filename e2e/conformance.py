"""Kubernetes' own storage suite (External.Storage) against our volumes on the kind cluster: `make conformance`.

It takes long, and is no part of `make test`. The suite is that of the Kubernetes that the cluster runs. What it found
is printed test by test. It is kept until the whole suite runs anew; the newest result of each test is written into
docs/conformance.md.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from e2e import binaries, host, node_image, snapshots
from e2e import cache as store
from e2e import environment as env
from e2e.api import load
from e2e.environment import Environment
from e2e.junit import Results, read
from e2e.timetable import Timetable
from informers import JsonObject

DRIVERS = Path(__file__).parent / "testdrivers"
PAGE = env.REPOSITORY / "docs" / "conformance.md"
BEGIN, END = "<!-- Written by `make conformance`. -->", "<!-- End of what is written. -->"

PROGRAMS = ("e2e.test", "ginkgo")
SHELL, AGNHOST = "conformance-shell", "conformance-agnhost"
STANDINS = {"agnhost": AGNHOST, "busybox": SHELL, "glibc-dns-testing": SHELL, "nginx": SHELL}
"""Our images for pods of the suite, by the last part of its own images' names."""

SKIP = r"any volume data source|\[Disruptive\]|\[Feature:Windows\]|\[Feature:volumegroupsnapshot\]"
"""Tests of what is not tested here: those that restart the kubelets of nodes, Windows, groups of snapshots, and what
fills volumes from sources of any kind, whose images no Go module makes."""


@dataclass(frozen=True)
class Course:
    """A run of the suite with its own definitions of drivers.

    Attributes:
        name: What it is, for people.
        drivers: The directory of the definitions.
        focus: Which tests it carries out, a regular expression of names.
        suffix: What is put after a pattern, so that its results are told from other courses'.
    """

    name: str
    drivers: Path
    focus: str = ""
    suffix: str = ""


COURSES = (
    Course("the suite", DRIVERS),
    # Where root lacks CAP_SYS_RESOURCE, ext4 cannot grow while it is mounted. And the suite asks for capacities of the
    # very class that it is given, which only matter to claims that are bound when a pod comes.
    Course("what depends on the class", DRIVERS / "late", "(volume-expand|expansion|capacity)", ", bound late"),
)

RUN_SECONDS = 6 * 3600
_NAME = re.compile(
    r"\[It\] External Storage \[Driver: (?P<driver>[^]]+)\] \[Testpattern: (?P<pattern>[^]]+)\] (?P<test>.*)"
)


@dataclass(frozen=True)
class Row:
    """A test that was carried out, or skipped itself.

    Attributes:
        driver: The CSI driver.
        pattern: How it has its volume, "Dynamic PV (ext4)".
        suite: The part of the suite that it is of, "provisioning".
        test: What it proves.
        state: "passed", "failed" or "skipped".
        why: What it says if it did not pass.
    """

    driver: str
    pattern: str
    suite: str
    test: str
    state: str
    why: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Brings up the cluster, runs the suite, and tells what it found; the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m e2e.conformance", description=__doc__)
    parser.add_argument("--focus", default="", help="a regular expression of names: only those tests")
    parser.add_argument("--processes", type=int, default=4, help="tests at the same time (default: %(default)s)")
    given = parser.parse_args(arguments)
    timetable = Timetable()
    environment = prepare(timetable)
    rows: list[Row] = []
    for course in COURSES:
        with timetable.step(course.name):
            report = run(environment, course, given.focus, given.processes)
        rows += rows_of(read(report), course.suffix)
    print(table(rows))
    print(timetable)
    if newest := keep(rows, whole=not given.focus):
        PAGE.write_text(rewritten(PAGE.read_text(), section(newest)))
    return 1 if any(row.state == "failed" for row in rows) else 0


def prepare(timetable: Timetable) -> Environment:
    """The cluster with both kinds of volumes, snapshots, and the images of the suite's pods."""
    environment = env.prepare(timetable, more_images=("snapshot-controller", SHELL, AGNHOST))
    env.bring_up(environment, timetable)
    with timetable.step("file system, snapshots, the suite's images"):
        for manifest in load(env.EXAMPLES / "filesystem.yaml"):
            if manifest["kind"] == "CephFilesystem":
                manifest["spec"]["metadataServer"]["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}}
            environment.api.apply(manifest)
            env.wait_for_phase(environment, manifest["kind"], manifest["metadata"]["name"])
        for file in ("filesystem-storageclass.yaml", "volumeattributesclass.yaml"):
            for manifest in load(env.EXAMPLES / file):
                environment.api.apply(manifest)
        for file in ("storageclass.yaml", "filesystem-storageclass.yaml"):
            for manifest in load(env.EXAMPLES / file):
                environment.api.apply(late(manifest))
        snapshots.install(environment)
        for manifest in load(env.EXAMPLES / "filesystem-snapshotclass.yaml"):
            environment.api.apply(manifest)
        programs = binaries.ensure(*PROGRAMS)
        listed = subprocess.run([programs / "e2e.test", "--list-images"], check=True, capture_output=True, text=True)
        for wanted, image in standins(listed.stdout.split()).items():
            tag = ("ctr", "--namespace", "k8s.io", "images", "tag", "--force", environment.images[image], wanted)
            for node in environment.workers:
                host.run_on(node, *tag)
    return environment


def late(storage_class: JsonObject) -> JsonObject:
    """The class, bound when a pod comes, and with xfs where volumes have file systems of their own. Pure."""
    key = "csi.storage.k8s.io/fstype"
    parameters = storage_class["parameters"]
    return {
        **storage_class,
        "metadata": {"name": f"{storage_class['metadata']['name']}-late"},
        "parameters": {**parameters, key: "xfs"} if key in parameters else parameters,
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def standins(listed: Iterable[str]) -> dict[str, str]:
    """Our image for each of the suite's that has one. Pure."""
    found = {}
    for reference in listed:
        name = reference.rpartition("/")[2].partition(":")[0]
        if name in STANDINS and "/e2e-test-images/" in reference:
            found[reference] = STANDINS[name]
    return found


def run(environment: Environment, course: Course, focus: str, processes: int) -> bytes:
    """Runs the suite, and returns its report; its output goes to the terminal."""
    programs = binaries.ensure(*PROGRAMS)
    drivers = sorted(course.drivers.glob("*.yaml"))
    with tempfile.TemporaryDirectory(prefix="rook-conformance-") as scratch:
        command: list[str | Path] = [
            programs / "ginkgo",
            "run",
            f"--procs={processes}",
            f"--timeout={RUN_SECONDS}s",
            f"--focus=External.Storage.*{focus or course.focus}",
            f"--skip={SKIP}",
            f"--output-dir={scratch}",
            "--junit-report=junit.xml",
            "--no-color",
            (programs / "e2e.test").resolve(),
            "--",
            f"-kubeconfig={environment.kubeconfig}",
            f"-kubectl-path={programs / 'kubectl'}",
            "-provider=skeleton",
            *(f"-storage.testdriver={driver}" for driver in drivers),
        ]
        done = subprocess.run(command, timeout=RUN_SECONDS + 600)
        report = Path(scratch) / "junit.xml"
        if not report.exists():
            raise RuntimeError(f"the suite ended with {done.returncode} and left no report")
        return report.read_bytes()


def keep(rows: Sequence[Row], *, whole: bool) -> list[Row]:
    """Keeps what was found; the newest result of each test, once the whole suite has run.

    Args:
        rows: What was found now.
        whole: Whether it is of the whole suite, and what was found before counts no more.
    """
    path = store.root() / "conformance" / "rows.json"
    if not whole and not path.exists():
        return []
    known = [] if whole else msgspec.json.decode(path.read_bytes(), type=list[Row])
    newest = {(row.driver, row.suite, row.pattern, row.test): row for row in (*known, *rows)}
    found = [newest[test] for test in sorted(newest)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(found))
    return found


def rows_of(results: Results, suffix: str = "") -> list[Row]:
    """The tests of External.Storage that were chosen, by driver, suite, pattern and name. Pure.

    Args:
        results: What a run found.
        suffix: See `Course`.
    """
    states = [
        *((name, "passed", "") for name in results.passed),
        *((name, "failed", why) for name, why in results.failed.items()),
        *((name, "skipped", why) for name, why in results.skipped.items()),
    ]
    rows = []
    for name, state, why in states:
        if (found := _NAME.fullmatch(name)) is None:
            continue
        # Tags, in brackets, may stand before the suite and after the test.
        text = re.sub(r"\s*\[[^]]*\]", "", found["test"]).strip()
        suite, _, test = text.partition(" ")
        rows.append(Row(found["driver"], found["pattern"] + suffix, suite, test.strip(), state, why.strip()))
    return sorted(rows, key=lambda row: (row.driver, row.suite, row.pattern, row.test))


def table(rows: Sequence[Row]) -> str:
    """All tests that did not skip themselves, for the terminal. Pure."""
    lines = [f"{r.state:<7} {r.driver} {r.suite} {r.pattern}: {r.test}" for r in rows if r.state != "skipped"]
    counted = Counter(row.state for row in rows)
    return "\n".join([*lines, ", ".join(f"{counted[state]} {state}" for state in ("passed", "failed", "skipped"))])


def section(rows: Sequence[Row]) -> str:
    """What goes into the page: how many passed by driver and suite, what failed, and why tests were skipped. Pure."""
    lines = [f"Kubernetes {node_image.kubernetes_version()}.", "", "| driver | suite | passed | failed | skipped |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for driver, suite in dict.fromkeys((row.driver, row.suite) for row in rows):
        counted = Counter(row.state for row in rows if (row.driver, row.suite) == (driver, suite))
        lines.append(f"| `{driver}` | {suite} | {counted['passed']} | {counted['failed']} | {counted['skipped']} |")
    failed = [f"- `{r.driver}`, {r.pattern}: {r.suite} {r.test}" for r in rows if r.state == "failed"]
    lines += ["", "Failed:", "", *failed] if failed else ["", "None failed."]
    reasons = Counter(f"`{r.driver}`: {_first_line(r.why)}" for r in rows if r.state == "skipped")
    lines += ["", "Skipped by themselves, and why:", "", "| tests | what they say |", "| --- | --- |"]
    lines += [f"| {count} | {reason} |" for reason, count in sorted(reasons.items())]
    return "\n".join(lines)


def rewritten(page: str, found: str) -> str:
    """The page with other results between its marks. Pure.

    Raises:
        ValueError: It has no marks.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} has not both of {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{found}\n\n{END}{after}"


def _first_line(why: str) -> str:
    """What a reason says, without what would end a cell of a table."""
    return why.splitlines()[0].replace("|", "/") if why else "nothing"


if __name__ == "__main__":
    sys.exit(main())
