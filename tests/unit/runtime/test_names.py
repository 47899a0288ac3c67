"""The packages that others may build on know nothing of the program that they were written for."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("workqueue", "informers", "controller/runtime", "controller/testkit")


def test_no_word_of_the_program_nor_of_its_storage_systems() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search("rook|ceph|cassandra", line, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)
