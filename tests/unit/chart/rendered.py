"""The chart, and what helm makes of it, for tests to look at."""

from pathlib import Path
from typing import Any

CHART = Path(__file__).parents[3] / "charts" / "rook"

type Manifest = dict[str, Any]


class Rendered:
    """What one `helm template` made: the objects by (kind, namespace, name)."""

    def __init__(self, objects: list[Manifest]) -> None:
        self.objects = objects

    def of_kind(self, kind: str) -> list[Manifest]:
        return [o for o in self.objects if o["kind"] == kind]

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest:
        found = [
            o
            for o in self.of_kind(kind)
            if o["metadata"]["name"] == name and namespace in (None, o["metadata"].get("namespace"))
        ]
        assert len(found) == 1, f"{len(found)} objects {kind} {namespace or ''}/{name}"
        return found[0]

    def pod(self, kind: str, name: str) -> Manifest:
        """The pod template's spec of a workload."""
        spec: Manifest = self.get(kind, name)["spec"]["template"]["spec"]
        return spec
