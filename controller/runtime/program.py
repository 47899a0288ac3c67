"""What a program that stands on this runtime is called, wherever others see it: nothing here has a name of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Program:
    """The names of a program, wherever others see it.

    Attributes:
        name: A DNS label, "widgets": the program's `fieldManager`, and the prefix of its own metrics (`widgets_*`) and
            of its spans' attributes (`widgets.*`).
        domain: Prefix of its annotations and of `reportingController` in its events, "example.com"; "": the name.
        secrets: Regular expressions for what must not be shown in any text, such as keys of the systems that the
            program manages. Tokens and private keys are known already.

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
        """The annotation of applied objects with a digest of what was applied last."""
        return f"{self.domain or self.name}/applied-digest"

    @property
    def status_manager(self) -> str:
        """The field manager of status fields. It differs from `name`, so that neither unsets the other's fields."""
        return f"{self.name}-status"

    @property
    def reporting_controller(self) -> str:
        """Who reports events."""
        return f"{self.domain or self.name}/operator"

    @property
    def user_agent(self) -> str:
        """The clients' user agent, for the API server's log."""
        return f"{self.name}-operator"

    @property
    def prefix(self) -> str:
        """The prefix of names of metrics and of spans' attributes."""
        return self.name.replace("-", "_")
