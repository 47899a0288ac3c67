"""The command that generates CRDs and tables, and its check for drift."""

from pathlib import Path

import pytest

from controller.apis.__main__ import main
from controller.apis.docs import BEGIN, END, MarkerError, with_tables
from controller.apis.meta import ApiStruct, ObjectMeta

ROOT = Path(__file__).parents[3]


def run(directory: Path, *arguments: str) -> int:
    return main(["--output", str(directory / "crds"), "--docs", str(directory / "kinds"), *arguments])


def test_what_is_committed_is_what_the_types_say(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--check", "--output", str(ROOT / "manifests/crds"), "--docs", str(ROOT / "docs/kinds")])

    assert (status, capsys.readouterr().err) == (0, "")


def test_generates_the_same_each_time(tmp_path: Path) -> None:
    assert run(tmp_path) == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")}
    assert run(tmp_path) == 0

    assert {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")} == first
    assert "ceph.rook.io_cephclusters.yaml" in {path.name for path in first}
    assert run(tmp_path, "--check") == 0


def test_check_names_the_file_and_the_first_line_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    path = tmp_path / "crds" / "ceph.rook.io_cephblockpools.yaml"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    lines[4] = "  name: other\n"
    path.write_text("".join(lines), encoding="utf-8")

    assert run(tmp_path, "--check") == 1
    assert f"{path}:5: found '  name: other\\n', should be '  name: cephblockpools.ceph.rook.io\\n'" in (
        capsys.readouterr().err
    )
    assert "  name: other\n" in path.read_text(encoding="utf-8"), "a check must not write"


@pytest.mark.parametrize("change", [lambda text: text + "x", lambda text: text[:-1]], ids=["longer", "no newline"])
def test_check_sees_a_difference_at_the_end(tmp_path: Path, change: object, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path)
    path = tmp_path / "crds" / "ceph.rook.io_clusters.yaml"
    assert callable(change)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")

    assert run(tmp_path, "--check") == 1
    assert str(path) in capsys.readouterr().err


def test_a_crd_of_no_kind_is_named_by_check_and_removed_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path)
    stale = tmp_path / "crds" / "ceph.rook.io_cephgone.yaml"
    stale.write_text("kind: CustomResourceDefinition\n", encoding="utf-8")

    assert run(tmp_path, "--check") == 1
    assert f"{stale}: no kind has this CRD" in capsys.readouterr().err
    assert run(tmp_path) == 0
    assert not stale.exists()


def test_check_names_a_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, "--check") == 1
    assert f"{tmp_path}/crds/ceph.rook.io_cephclusters.yaml: missing" in capsys.readouterr().err


class Port(ApiStruct, frozen=True, kw_only=True):
    """A port."""

    number: int = 80
    """Its | number."""


class Spec(ApiStruct, frozen=True, kw_only=True):
    """A spec."""

    ports: dict[str, tuple[Port, ...]] = {}  # noqa: RUF012 -- msgspec copies an empty default
    """Ports."""


class Sample(ApiStruct, frozen=True, kw_only=True):
    """A kind."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Spec = Spec()


def test_tables_go_between_the_markers_and_have_a_row_for_each_field_at_any_depth() -> None:
    page = f"# Sample\n\nBefore.\n\n{BEGIN}\nold\n{END}\n\nAfter.\n"

    assert with_tables(page, Sample) == (
        f"# Sample\n\nBefore.\n\n{BEGIN}\n\n"
        "## Fields of `spec`\n\n"
        "| Field | Type | Meaning | Limits |\n|---|---|---|---|\n"
        "| `ports` | map of list of object | Ports. |  |\n"
        "| `ports.*[].number` | integer | Its \\| number. Default: 80. |  |\n"
        f"\n{END}\n\nAfter.\n"
    )


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(MarkerError, match="needs the lines"):
        with_tables("# Sample\n", Sample)
