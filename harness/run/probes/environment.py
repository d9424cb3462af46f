"""Versions in the engine's environment, and how many sources the engine has and of when: ENGINE DISTRIBUTION...

The engine is not imported, which takes seconds. The sources count, not only versions: a checkout that is installed in
place changes without another version.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import pathlib
import platform
import sys


def versions(distributions: list[str]) -> dict[str, str]:
    """Of Python and of those distributions that are there."""
    found = {"python": platform.python_version()}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # the caller judges what is missing
            found[name] = importlib.metadata.version(name)
    return found


def sources(package: str) -> list[int]:
    """Number of source files and, where there are any, when the newest was written, in nanoseconds."""
    spec = importlib.util.find_spec(package)
    folders = (spec and spec.submodule_search_locations) or ()
    times = sorted(path.stat().st_mtime_ns for folder in folders for path in pathlib.Path(folder).rglob("*.py"))
    return [len(times), *times[-1:]]


def main(engine: str, *distributions: str) -> None:
    """Print both."""
    print(json.dumps({"versions": versions([*distributions]), "sources": sources(engine)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
