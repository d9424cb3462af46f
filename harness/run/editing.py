"""TOML files that the harness edits: comments and layout stay."""

from __future__ import annotations

from pathlib import Path

import tomlkit

from harness.ground.errors import UsageError
from harness.policy.cases.document import parse, text


def document(path: Path) -> tomlkit.TOMLDocument:
    """A file as it is to be edited.

    Raises:
        UsageError: It is no file of ours, or the library that keeps the layout does not take it.
    """
    content = text(path)
    parse(content, path)
    try:
        return tomlkit.parse(content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: cannot be edited ({' '.join(str(error).split())}); write its tables plainly"
        ) from None
