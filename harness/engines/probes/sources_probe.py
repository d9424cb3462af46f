"""What an engine's sources name, read as text: nothing is imported, so nothing that moved or breaks can be in the way.

The argument is JSON: the ``package``, and the ``prefixes`` of its environment variables.
"""

import importlib.util
import json
import pathlib
import re
import sys


def named(package: str, prefixes: list[str]) -> dict[str, list[str]]:
    """Environment variables and options that its sources have between quotes."""
    variable = re.compile("[\"']((?:" + "|".join(map(re.escape, prefixes)) + ")[A-Z0-9_]+)[\"']")
    option = re.compile("[\"'](--[a-z0-9][a-z0-9_.-]*)[\"']")
    spec = importlib.util.find_spec(package)
    variables: set[str] = set()
    options: set[str] = set()
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in pathlib.Path(folder).rglob("*.py"):
            text = path.read_text(errors="replace")
            variables.update(variable.findall(text))
            options.update(option.findall(text))
    return {"variables": sorted(variables), "options": sorted(options)}


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    answer = named(asked["package"], asked["prefixes"])
    print()  # whatever Python's start printed may have left its line open
    print(json.dumps(answer))
