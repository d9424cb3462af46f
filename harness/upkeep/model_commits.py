"""Commits of models that case files leave ``unresolved``, looked up and written down."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit

from harness.base.errors import UsageError
from harness.cases.document import editable
from harness.cases.load import DEFAULTS
from harness.cases.serve_settings import UNRESOLVED
from harness.host import files, hub


@dataclass(frozen=True)
class Looked:
    """What the hub said about one repository; ``commit`` is empty where it said nothing, and ``problem`` why.

    ``is_silent`` means that it would say nothing about any other either.
    """

    repo: str
    path: Path
    commit: str = ""
    problem: str = ""
    is_silent: bool = False


def pin(cases: Path) -> Iterator[Looked]:
    """Pin every unresolved model in the case files, each to what its default branch is at now.

    A repository that cannot be looked up stays as it is; the others are written. A hub that does not answer is asked
    once.

    Raises:
        UsageError: No such folder of case files.
    """
    if not (cases / DEFAULTS).is_file():
        raise UsageError(f"{cases}: no case folder ({DEFAULTS} is not there); run from the repository or give --cases")
    known: dict[str, Looked] = {}
    for path in sorted(cases.glob("*/*.toml")):
        document = editable(path)
        for model in _unresolved(document):
            repo = str(model["repo"])
            known[repo] = known.get(repo) or _look_up(repo, path)
            if known[repo].commit:
                model["revision"] = known[repo].commit
            elif known[repo].is_silent:
                yield known[repo]
                return
        files.write(path, tomlkit.dumps(document))
    yield from known.values()


def _look_up(repo: str, path: Path) -> Looked:
    try:
        return Looked(repo, path, commit=hub.head(repo))
    except hub.Unavailable as error:
        return Looked(repo, path, problem=str(error), is_silent=error.is_silent)


def _unresolved(table: Any) -> Iterator[MutableMapping[str, Any]]:
    """Every table below that names a repository without its commit."""
    if isinstance(table, MutableMapping):
        if "repo" in table and table.get("revision") == UNRESOLVED:
            yield table
        for value in table.values():
            yield from _unresolved(value)
    elif isinstance(table, list):
        for value in table:
            yield from _unresolved(value)
