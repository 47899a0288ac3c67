"""The system of docs/adding-a-system.md, run as it stands there."""

import re
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[3] / "docs/adding-a-system.md"


def test_the_system_of_the_page(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    code = "\n".join(blocks)
    assert len([line for line in code.splitlines() if line.strip()]) < 200
    module = ModuleType("locker")
    monkeypatch.setitem(__import__("sys").modules, "locker", module)  # msgspec looks types up by their module
    exec(compile(code, str(PAGE), "exec"), module.__dict__)  # noqa: S102  # our own documentation
    module.test_a_locker_keeps_its_servers()
