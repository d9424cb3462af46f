"""Steps of an engine's own CI: what each runs, and which sources each is about, as lists in YAML say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import yaml

from harness.upstream.figures import Place

_LIST = "source_file_dependencies"
_NOWHERE = Place("", 0)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        names: Its key and its label, what there is of them.
        paths: Folders, which end with a slash, and files whose change runs it, on any platform.
        commands: The lines that it runs, on any platform.
        place: Where it stands.
        switched_off: Whether it stands in a comment only.
    """

    names: tuple[str, ...]
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    place: Place = _NOWHERE
    switched_off: bool = False

    def is_like(self, pattern: str) -> bool:
        """Whether one of its names matches a pattern with ``*`` and ``?``."""
        return any(fnmatchcase(name, pattern) for name in self.names)


def read(path: str, text: str, is_folder: Callable[[str], bool]) -> Iterator[Step]:
    """The steps of a list, and after them those that stand in its comments.

    Args:
        path: Of the list.
        text: Its content.
        is_folder: Whether a path of the checkout is a folder.

    Raises:
        yaml.YAMLError: It is no YAML.
        RecursionError: It is nested without end.
    """
    document = yaml.safe_load(text)
    for each in _list(document.get("steps") if isinstance(document, dict) else None):
        if isinstance(each, dict):
            yield _step(path, text, each, is_folder, switched_off=False)
    for each in _in_comments(text):
        yield _step(path, text, each, is_folder, switched_off=True)


def _in_comments(text: str) -> Iterator[dict[str, Any]]:
    """Steps that somebody switched off: blocks of comments which would be items of the list."""
    block: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            block.append(line[1:].removeprefix(" "))
            continue
        start = next((index for index, each in enumerate(block) if each.startswith("- ")), len(block))
        lines, block = block[start:], []
        try:
            found = yaml.safe_load("\n".join(lines))
        except (yaml.YAMLError, RecursionError):
            continue  # prose
        yield from (each for each in _list(found) if isinstance(each, dict) and ("key" in each or "label" in each))


def _step(path: str, text: str, table: dict[str, Any], is_folder: Callable[[str], bool], *, switched_off: bool) -> Step:
    """A mirror of a step on another platform has lists of its own."""
    mirrors = table.get("mirror")
    tables = [
        each for each in (table, *(mirrors.values() if isinstance(mirrors, dict) else ())) if isinstance(each, dict)
    ]
    paths = [
        f"{each}/" if not each.endswith("/") and is_folder(each) else each
        for one in tables
        for each in _texts(one.get(_LIST))
        if not each.startswith("!")  # what does not run it
    ]
    commands = [each for one in tables for name in ("commands", "command") for each in _texts(one.get(name))]
    names = tuple(str(table[name]) for name in ("key", "label") if table.get(name))
    place = Place(path, _line(text, names), names[0] if names else "")
    return Step(names, tuple(dict.fromkeys(paths)), tuple(commands), place, switched_off)


def _line(text: str, names: tuple[str, ...]) -> int:
    return next((number for number, line in enumerate(text.splitlines(), 1) for name in names if name in line), 1)


def _texts(found: object) -> list[str]:
    listed = [found] if isinstance(found, str) else _list(found)
    return [each for each in listed if isinstance(each, str)]


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []
