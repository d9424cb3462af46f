"""Where packages are in an environment, and what their distributions say, without importing them.

The argument is JSON: lists of a package and the distributions that it may be of; of these the first that is there
counts.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import sys
from typing import Any


def found(package: str, distributions: list[str]) -> dict[str, Any]:
    """Folder, and of the distribution name, version and requirements; nothing if the package is not there."""
    spec = importlib.util.find_spec(package)
    if not (spec and spec.submodule_search_locations):
        return {}
    folder = next(iter(spec.submodule_search_locations))
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(name)
            requires = importlib.metadata.requires(name) or []
            return {"folder": folder, "name": name, "version": version, "requires": requires}
    return {"folder": folder}


if __name__ == "__main__":
    told = {package: found(package, names) for package, *names in json.loads(sys.argv[1])}
    print(json.dumps({package: each for package, each in told.items() if each}))
