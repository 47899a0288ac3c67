"""The sources of the release before this one, from which the operator is upgraded: chart, operator and agent.

Until there are releases, that is the newest commit on the way to this checkout in which something differs that the
release consists of. Changes that are not committed count as the newest release; so the one before may be `HEAD` itself.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

from e2e import cache as store
from e2e.progress import step

CHECKOUT = Path(__file__).parent.parent
RELEASED = ("charts", "controller", "informers", "workqueue", "requirements.txt", "requirements-agent.txt")
"""What a release consists of: the chart, and what the images of operator and agent are made of."""
COMMITS = 100
"""How far back is looked: landed states only, not the commits of branches that were merged."""


class NoHistoryError(RuntimeError):
    """The history of this checkout has no release before it."""


def has_history() -> bool:
    """Whether this is a checkout, and not a copy of the sources alone."""
    return (CHECKOUT / ".git").exists()


def commit() -> str:
    """The commit of the release before.

    Raises:
        NoHistoryError: There is none, as in a shallow clone.
    """
    looked = _git("rev-list", "--first-parent", f"--max-count={COMMITS}", "HEAD").stdout.split()
    for found in looked:
        if _git("diff", "--quiet", found, "--", *RELEASED, allowed=(0, 1)).returncode:
            return found
    raise NoHistoryError(
        f"{', '.join(RELEASED)} are the same in all {len(looked)} commits that this checkout knows of: "
        "expected one before it; `git fetch --deepen=50` gets more of them"
    )


def tree() -> Path:
    """A directory with the sources of the release before, and with what is generated of them.

    Raises:
        NoHistoryError: There is none.
    """
    found = commit()
    return store.artifact("previous", found, lambda directory: _extract(found, directory))


def _extract(found: str, directory: Path) -> None:
    with step(f"the release before: {found[:12]}"):
        archive = directory / "archive.tar"
        _git("archive", f"--output={archive}", found)
        with tarfile.open(archive) as packed:
            packed.extractall(directory, filter="data")
        archive.unlink()
        command = [sys.executable, "-m", "controller.agent.node.generate"]
        result = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        if result.returncode:
            raise RuntimeError(f"{found}: {' '.join(command[1:])} failed:\n{result.stderr.strip()[-2000:]}")


def _git(*arguments: str, allowed: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
    # Tests run as root, in checkouts of other users as well.
    command = ["git", "-c", f"safe.directory={CHECKOUT}", "-C", str(CHECKOUT), *arguments]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode not in allowed:
        raise RuntimeError(f"git {' '.join(arguments)} failed:\n{result.stderr.strip()[-2000:]}")
    return result
