"""Everything of upstream's tests that is about our suites, read file by file by what sort of file it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from harness.upstream import python_asserts, python_tables, registrations, shell, yaml_tables
from harness.upstream.figures import Found, Place, Unread
from harness.upstream.python_values import Sources, Unreadable

_NO_TABLES = (".md", ".rst", ".png", ".jpg", ".bazel", ".txt", ".cfg", ".ini", ".gitignore", ".patch")
"""Files that hold no figure in any form."""


@dataclass
class Read:
    """What was read of a checkout.

    Attributes:
        found: All figures, points, registrations, and what could not be read.
        files: Files that were looked into.
    """

    found: Found = field(default_factory=Found)
    files: list[str] = field(default_factory=list)


def selected(paths: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Files at or below what is wanted: files, folders with a slash at the end, with ``*`` and ``?``."""
    return [path for path in paths if any(_below(path, each) for each in wanted)]


def _below(path: str, pattern: str) -> bool:
    return fnmatchcase(path, f"{pattern}*" if pattern.endswith("/") else pattern)


def read(
    paths: Sequence[str],
    text: Callable[[str], str | None],
    commands: Mapping[Place, Sequence[str]],
    everything: Sequence[str],
) -> Read:
    """Read files.

    Args:
        paths: What is to be read.
        text: The content of a file by its path; None if there is none.
        commands: What the steps of upstream's CI run, by where a step stands.
        everything: All files of the checkout, in which scripts are found that others name.
    """
    sources = Sources(text)

    def ending(name: str) -> str | None:
        found = [path for path in everything if path == name or path.endswith(f"/{name.lstrip('./')}")]
        return text(found[0]) if len(found) == 1 else None

    calls = [
        (place, script, arguments)
        for place, lines in commands.items()
        for line in lines
        for script, arguments in shell.calls(line)
    ]
    result = Read()
    for path in paths:
        if path.endswith(_NO_TABLES):
            continue
        content = text(path)
        if content is None:
            result.found.unread.append(Unread(Place(path, 1), "it cannot be opened, or is far too large for a test"))
            continue
        result.files.append(path)
        if path.endswith(".py"):
            result.found.add(_python(path, sources))
        elif path.endswith((".sh", ".bash")):
            result.found.add(shell.read(path, content, ending))
            own = [(place, arguments) for place, script, arguments in calls if path.endswith(script.lstrip("./"))]
            result.found.add(shell.bounds(path, content, own))
        elif path.endswith((".yaml", ".yml")):
            result.found.add(yaml_tables.read(path, content))
        else:
            result.found.unread.append(Unread(Place(path, 1), "no reader knows files of this sort"))
    return result


def _python(path: str, sources: Sources) -> Found:
    found = Found()
    try:
        module = sources.module(path)
        if module:
            for reader in (registrations, python_tables, python_asserts):
                found.add(reader.read(module, sources))
    except (Unreadable, RecursionError) as error:
        found.unread.append(Unread(Place(path, 1), str(error)))
    return found
