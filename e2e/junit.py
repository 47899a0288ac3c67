"""Reports of Ginkgo's, in JUnit's form: which tests passed, failed or were skipped, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

_SKIPPED = "skipped - "
"""What stands before the reason why a test skipped itself; one that was not chosen has none."""


@dataclass(frozen=True)
class Results:
    """What a run found, by the names of its tests. Those that were not chosen are not in it.

    Attributes:
        passed: Those that passed.
        failed: Those that failed, with what they say.
        skipped: Those that were skipped, with why.
    """

    passed: tuple[str, ...]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]


def read(report: str | bytes) -> Results:
    """What a report says."""
    passed, failed, skipped = [], {}, {}
    for case in ElementTree.fromstring(report).iter("testcase"):  # noqa: S314 - our own program's
        name = case.get("name", "")
        for why in (*case.iter("failure"), *case.iter("error")):
            failed[name] = f"{why.get('message', '')}\n{why.text or ''}"
        for why in case.iter("skipped"):
            message = why.get("message", "")
            if message.startswith(_SKIPPED) or message == "pending":
                skipped[name] = message.removeprefix(_SKIPPED)
        if case.get("status") == "passed" and name.startswith("[It]"):
            passed.append(name)
    return Results(tuple(passed), failed, skipped)
