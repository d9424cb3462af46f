"""What the probes of all engines do."""

import argparse
import importlib
import importlib.util
import json
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

_READ = re.compile(r"""(?:environ|getenv|env_var)[\w.\s(\[]{0,40}["']([A-Z][A-Z0-9_]+)["']""")


def first(*places: str) -> Any:
    """What moved between releases: the first of several places that exists. One that exists and breaks is an error."""
    for place in places:
        module, _, name = place.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except ModuleNotFoundError as error:
            if not error.name or not (module + ".").startswith(error.name + "."):
                raise
        except AttributeError:
            pass
    sys.exit("none of these exists: " + ", ".join(places))


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """What it takes, which is more than what its actions show: vLLM 0.33 hides --no-enable-x and still takes it."""
    taken = parser._option_string_actions  # noqa: SLF001 # no public way says it
    return {*taken, *(each for action in parser._actions for each in action.option_strings)}  # noqa: SLF001


def read_directly(package: str) -> set[str]:
    """Variables that are read where they are used, and are not in an engine's register."""
    spec = importlib.util.find_spec(package)
    found: set[str] = set()
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in pathlib.Path(folder).rglob("*.py"):
            found.update(_READ.findall(path.read_text(errors="replace")))
    return found


def report(**ways: Callable[[], Any]) -> None:
    """Print what each way finds, and of one that broke the error: the others may answer all the same."""
    found: dict[str, Any] = {"errors": {}}

    def look(name: str, way: Callable[[], Any]) -> None:
        try:
            answer = way()
            found[name] = answer if isinstance(answer, dict) else sorted(answer)
        except (Exception, SystemExit) as error:  # noqa: BLE001 # whatever an engine raises
            said = f"{error}" if isinstance(error, SystemExit) else f"{type(error).__name__}: {error}"
            found["errors"][name] = " ".join(said.split())

    for name, way in ways.items():
        look(name, way)
    print()  # whatever was printed before may have left its line open
    print(json.dumps(found), flush=True)
