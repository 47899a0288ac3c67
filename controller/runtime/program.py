"""What a program that stands on this runtime is called, wherever others see it: nothing here has a name of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Program:
    """The names of a program, as others see them.

    Attributes:
        name: A DNS label, "widgets": the program's `fieldManager`, and the prefix of its own metrics (`widgets_*`) and
            of its spans' attributes (`widgets.*`).
        domain: Prefix of its annotations and of `reportingController` in its events, "example.com"; "": the name.
        secrets: Regular expressions for what must not be shown wherever it occurs in a text, beside tokens and private
            keys, which are known: the keys of the systems that the program manages.

    Raises:
        ValueError: The name is no DNS label.
    """

    name: str
    domain: str = ""
    secrets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.name):
            raise ValueError(f"Program: name is {self.name!r}, must be a DNS label such as 'widgets'")

    @property
    def digest_annotation(self) -> str:
        """The annotation of applied objects that tells what was applied last."""
        return f"{self.domain or self.name}/applied-digest"

    @property
    def status_manager(self) -> str:
        """The owner of status fields: another one than that of all others, so that neither apply unsets the other's."""
        return f"{self.name}-status"

    @property
    def reporting_controller(self) -> str:
        """Who reports events."""
        return f"{self.domain or self.name}/operator"

    @property
    def user_agent(self) -> str:
        """Who asks, for the API server's log."""
        return f"{self.name}-operator"

    @property
    def prefix(self) -> str:
        """What names of metrics and of spans' attributes begin with."""
        return self.name.replace("-", "_")
