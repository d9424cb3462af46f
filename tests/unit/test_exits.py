"""One place ends the program: everything else returns an exit code or raises an error of ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.helpers import REPOSITORY

ALLOWED = {
    "harness/__main__.py": "a signal ends it at once, before anything of ours is imported",
    "harness/program.py": "this is the place",
    "harness/bundle/standalone.py": "the program of a bundle, where no harness is installed",
    "harness/engines/probes/common.py": "a program of the engine's interpreter",
    "harness/run/probes/together.py": "another one",
}
_NAMES = {"exit", "_exit", "quit", "Exit", "Abort", "SystemExit"}


def ends(source: str) -> Iterator[int]:
    """Lines that end the program, or fetch what does. An ``except SystemExit`` only sees that somebody did."""
    for node in ast.walk(ast.parse(source)):
        found = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
        name = found.attr if isinstance(found, ast.Attribute) else found.id if isinstance(found, ast.Name) else ""
        fetched = {each.name for each in node.names} if isinstance(node, ast.ImportFrom) else set()
        if _NAMES & {name, *fetched}:
            yield getattr(node, "lineno", 0)


@pytest.mark.parametrize(
    "line",
    [
        "sys.exit(1)", "exit()", "os._exit(1)", "raise SystemExit", "raise SystemExit(2)", "raise typer.Exit(1)",
        "raise typer.Exit", "context.exit()", "from sys import exit as leave", "from typer import Exit",
    ],
)  # fmt: skip
def test_each_way_to_end_is_seen(line: str) -> None:
    assert list(ends(f"import sys\n{line}\n"))


def test_only_one_place_ends_the_program() -> None:
    paths = {str(path.relative_to(REPOSITORY)): path for path in sorted((REPOSITORY / "harness").rglob("*.py"))}
    found = {name: lines for name, path in paths.items() if (lines := list(ends(path.read_text())))}
    assert found.keys() == ALLOWED.keys(), found
