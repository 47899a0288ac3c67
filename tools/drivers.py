"""The CSI drivers that the chart registers, from what their storage systems can do: `make crds`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from controller.ceph.system import CSI_DRIVERS
from controller.volumes.capabilities import csi_driver

FILE: Final = Path(__file__).parents[1] / "charts/rook/files/drivers.json"


def rendered() -> str:
    """The content of the file: what the names of drivers end in, and the `spec` of their CSIDriver objects."""
    kinds = [{"suffix": suffix, "spec": csi_driver(capabilities)} for suffix, capabilities in CSI_DRIVERS.items()]
    return f"{json.dumps(kinds, indent=2)}\n"


if __name__ == "__main__":
    FILE.write_text(rendered())
