"""What a person is told of a program that failed."""

from __future__ import annotations

import pytest

from controller.agent.system.command import CommandError, run, short
from controller.framework.text import MOST


def test_the_words_of_a_program_are_one_line_without_its_usage() -> None:
    said = "mke2fs 1.47.0 (5-Feb-2023)\n  mkfs.ext4: Device size reported to be zero.\n\nUsage: mkfs.ext4\n  more\n"
    assert short(said) == "mke2fs 1.47.0 (5-Feb-2023); mkfs.ext4: Device size reported to be zero."
    assert short("usage: all that it says") == "usage: all that it says"
    assert short("") == ""
    assert len(short("word " * MOST)) <= MOST


async def test_a_failure_says_why() -> None:
    with pytest.raises(CommandError, match=r"^sh: exit status 3: first; second$") as failed:
        await run("sh", "-c", "echo first >&2; echo second >&2; exit 3")
    assert failed.value.returncode == 3
