"""A package among the files of an image."""

from __future__ import annotations

import email
import re
from collections.abc import Collection, Mapping
from email.message import Message
from pathlib import Path

from packaging.utils import canonicalize_name

from harness.drift.sources import Sources

METADATA = ".dist-info/METADATA"
"""How the path of what a distribution says of itself ends."""


def metadata(content: bytes) -> Message:
    """What a distribution says of itself."""
    return email.message_from_string(content.decode(errors="replace"))


def is_of(path: str, packages: Collection[str]) -> bool:
    """Whether a file is Python below one of these packages, or metadata of any distribution."""
    folders = path.split("/")[:-1]
    return path.endswith(METADATA) or (path.endswith(".py") and any(each in folders for each in packages))


def package(found: Mapping[str, bytes], name: str, distributions: Collection[str]) -> Sources | None:
    """A package, where its distribution lies beside it, else where it lies least deep; None if it is not there.

    Args:
        found: Python files and metadata by path.
        name: Of the package.
        distributions: Those it may be of.
    """
    said = [(Path(path).parent.parent, metadata(found[path])) for path in sorted(found) if path.endswith(METADATA)]
    own = [(root, each) for root, each in said if canonicalize_name(str(each["Name"])) in distributions]
    beside = {root for root, _ in own}
    roots = [Path(path).parent.parent for path in found if re.search(rf"(^|/){re.escape(name)}/__init__\.py$", path)]
    if not roots:
        return None
    root = min(roots, key=lambda each: (each not in beside, len(each.parts), str(each)))
    texts = {
        Path(path).relative_to(root).as_posix(): content.decode(errors="replace")
        for path, content in found.items()
        if path.endswith(".py") and Path(path).is_relative_to(root / name)
    }
    about = next((each for of, each in own if of == root), own[0][1] if own else metadata(b""))
    requires = tuple(map(str, about.get_all("Requires-Dist") or ()))
    return Sources(str(about["Name"] or name), str(about["Version"] or ""), texts, requires)
