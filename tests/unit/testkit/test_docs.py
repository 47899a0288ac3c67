"""The example of docs/testing-controllers.md, run as it stands there, on the controller of docs/runtime.md."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[3] / "docs"


def code(page: str) -> str:
    """The first Python block of a page."""
    found = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example() -> None:
    names: dict[str, Any] = {"__name__": "example"}
    for page in ("runtime.md", "testing-controllers.md"):
        exec(compile(code(page), page, "exec"), names)  # noqa: S102  # our own documentation
    names["test_a_pool_has_its_config_map"]()
