"""What stands in the engine's environment, without importing the engine, which takes seconds.

Versions; how many sources the engine has and of when, because a checkout that is installed in place changes without
another version; and the ways to start its server that are there. The argument is JSON: the ``engine``, its
``distributions``, the ``command`` that its users type, the ``module`` that it was run as before, and ``called``, how
this interpreter is called.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import sys
import sysconfig
from typing import Any


def versions(distributions: list[str]) -> dict[str, str]:
    """Of Python and of those distributions that are there."""
    found = {"python": platform.python_version()}
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # the caller judges what is missing
            found[name] = importlib.metadata.version(name)
    return found


def folders(package: str) -> list[pathlib.Path]:
    """Where its sources are."""
    spec = importlib.util.find_spec(package)
    return [pathlib.Path(each) for each in (spec and spec.submodule_search_locations) or ()]


def sources(package: str) -> list[int]:
    """Number of source files and, where there are any, when the newest was written, in nanoseconds."""
    times = sorted(path.stat().st_mtime_ns for folder in folders(package) for path in folder.rglob("*.py"))
    return [len(times), *times[-1:]]


def there(module: str) -> bool:
    """Whether a module of a package exists; nothing is imported."""
    package, *inside = module.split(".")
    for folder in folders(package):
        path = folder.joinpath(*inside)
        if (path / "__init__.py").exists() or any(path.parent.glob(f"{path.name}.*")):
            return True
    return False


def entry(distributions: list[str], name: str) -> str:
    """What its console script calls, as ``module:function``; empty if none of the distributions has one."""
    for each in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            for found in importlib.metadata.distribution(each).entry_points:
                if found.group == "console_scripts" and found.name == name:
                    return found.value
    return ""


def script(name: str, called: str) -> str:
    """The console script that runs with this very interpreter; empty if there is none.

    One beside it may be another's: of the environment that it was copied from, or of the interpreter that a wrapper
    calls, whose settings would be lost.
    """
    beside = os.path.dirname(called)  # noqa: PTH120 # not resolved: a virtual environment's interpreter is a link
    own = os.path.realpath(beside) == os.path.realpath(os.path.dirname(sys.executable))  # noqa: PTH120
    for folder in [beside, *([sysconfig.get_path("scripts")] if own else [])]:
        path = pathlib.Path(folder, name)
        try:
            head = path.read_bytes()[:1000].decode(errors="replace").splitlines()[:3]
        except OSError:
            continue
        # Where the path is too long for the first line, it is in the second.
        paths = re.findall(r"(?:^#! *|exec' +)\"?(/[^\s\"']+)", "\n".join(head), re.MULTILINE)
        names = [each for each in paths if each != "/bin/sh"]
        if names and os.path.dirname(names[0]) == beside and os.access(path, os.X_OK):  # noqa: PTH120
            return str(path)
    return ""


def starts(asked: dict[str, Any]) -> dict[str, list[str]]:
    """How the server can be started: by ``command`` and by ``module``, each empty where the build lacks it."""
    name, *words = asked["command"] or [""]
    called, module = asked["called"], asked["module"]
    value = entry(asked["distributions"], name) if name else ""
    home, _, function = value.partition(":")
    command: list[str] = []
    if value and there(home):
        own = script(name, called)
        program = f"import sys; from {home} import {function} as main; sys.argv[0] = {name!r}; sys.exit(main())"
        command = [own, *words] if own else [called, "-c", program, *words]
    return {"command": command, "module": [called, "-m", module] if module and there(module) else []}


def main(argument: str) -> None:
    """Print all of it."""
    asked = json.loads(argument)
    found = {
        "versions": versions(asked["distributions"]),
        "sources": sources(asked["engine"]),
        "starts": starts(asked),
    }
    print()  # whatever Python's start printed may have left its line open
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
