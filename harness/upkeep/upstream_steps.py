"""Steps of an engine's own CI: which of its sources each is about, as its repository lists them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from harness.base.errors import UsageError
from harness.plan.points import below

_FOLDER = ".buildkite/test_areas"
"""Of vLLM. SGLang selects nearly all of its tests by one list, from which nothing can be taken for a suite."""
_LIST = "source_file_dependencies"


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        names: Its key and its label, what there is of them.
        paths: Folders, which end with a slash, and files whose change runs it, on any platform.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...]

    def is_like(self, pattern: str) -> bool:
        """Whether one of its names matches a pattern with ``*`` and ``?``."""
        return any(fnmatchcase(name, pattern) for name in self.names)


def steps(root: Path) -> list[Step]:
    """All steps that a checkout lists; none where it has no such lists.

    Raises:
        UsageError: A list is no YAML.
    """
    found: list[Step] = []
    for path in sorted((root / _FOLDER).glob("*.y*ml")):
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8", errors="replace"))
        except (yaml.YAMLError, OSError, RecursionError) as error:
            raise UsageError(f"{path}: no list of steps: {' '.join(str(error).split())[:200]}") from None
        listed = _list(document.get("steps") if isinstance(document, dict) else None)
        found += [_step(root, each) for each in listed if isinstance(each, dict)]
    return found


def _step(root: Path, table: dict[str, Any]) -> Step:
    """A mirror of a step on another platform has a list of its own."""
    mirrors = table.get("mirror")
    tables = [table, *(mirrors.values() if isinstance(mirrors, dict) else ())]
    paths = [path for each in tables if isinstance(each, dict) for path in _listed(each)]
    names = [str(table[name]) for name in ("key", "label") if table.get(name)]
    return Step(tuple(names), tuple(dict.fromkeys(_as_folder(root, path) for path in paths)))


def _listed(table: dict[str, Any]) -> Iterator[str]:
    """What runs a step; with ``!`` in front is what does not."""
    for path in _list(table.get(_LIST)):
        if isinstance(path, str) and not path.startswith("!"):
            yield path


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _as_folder(root: Path, path: str) -> str:
    return f"{path}/" if not path.endswith("/") and (root / path).is_dir() else path


def missing(wanted: Iterable[str], have: Iterable[str]) -> list[str]:
    """Those of ``wanted`` that no path of ``have`` covers."""
    covers = list(have)
    return [path for path in wanted if not any(below(path, each) for each in covers)]
