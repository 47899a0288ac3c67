"""Writes what is generated from the kinds, or checks that it is up to date."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from controller.apis.crd import render
from controller.apis.docs import page_name, with_tables
from controller.apis.registry import KINDS, SERVED


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    wanted = {**crd_files(options.output), **doc_pages(options.docs)}
    stale = sorted(set(options.output.glob("*.yaml")) - set(wanted))
    if options.check:
        differences = [*drift(wanted), *(f"{path}: no kind has this CRD; remove it" for path in stale)]
        for difference in differences:
            sys.stderr.write(f"{difference}\n")
        if differences:
            sys.stderr.write("run `python -m controller.apis` and commit the result\n")
        return 1 if differences else 0
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in stale:
        path.unlink()
    return 0


def crd_files(directory: Path) -> dict[Path, str]:
    """The text of each CRD's file, named as `kubectl` names the CRD's group and plural."""
    return {
        directory / f"{kind.group}_{kind.plural}.yaml": render(kind, struct, SERVED.get(kind))
        for kind, struct in KINDS.items()
    }


def doc_pages(directory: Path) -> dict[Path, str]:
    """The text of each kind's page in the documentation, for the kinds that have one."""
    pages = {directory / page_name(struct): (struct, SERVED.get(kind)) for kind, struct in KINDS.items()}
    return {
        path: with_tables(path.read_text(encoding="utf-8"), *about) for path, about in pages.items() if path.exists()
    }


def drift(wanted: Mapping[Path, str]) -> Iterator[str]:
    """For each file that is not as it should be: its name, and the first line that differs."""
    for path, text in wanted.items():
        if not path.exists():
            yield f"{path}: missing"
            continue
        pairs = zip_longest(path.read_text(encoding="utf-8").splitlines(keepends=True), text.splitlines(keepends=True))
        for number, (found, right) in enumerate(pairs, start=1):
            if found != right:
                yield f"{path}:{number}: found {_quoted(found)}, should be {_quoted(right)}"
                break


def _quoted(line: str | None) -> str:
    return "the end of the file" if line is None else repr(line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m controller.apis", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what is out of date")
    parser.add_argument(
        "--output", type=Path, default=Path("manifests/crds"), help="directory of the CRDs (default: %(default)s)"
    )
    parser.add_argument(
        "--docs", type=Path, default=Path("docs/kinds"), help="directory of the kinds' pages (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
