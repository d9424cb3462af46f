"""Print, of a lock file, what an environment lacks: nothing if it has the distribution that the lock is for.

    lacking.py NAME LOCK

The interpreter is the environment's, which may be of Python 3.10.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path


def normalised(name: str) -> str:
    """A distribution's name as the packaging specifications compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


name, lock = sys.argv[1:]
# By module and not by distribution: official images build some of them from source, under other names.
if importlib.util.find_spec(name.replace("-", "_")) is None:
    present = {normalised(each.metadata["Name"] or "") for each in importlib.metadata.distributions()}
    for block in re.split(r"\n(?=\S)", Path(lock).read_text()):
        found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", block)
        if found and normalised(found.group()) not in present:
            print(block.rstrip("\n"))
else:
    print(f"the base has {name}", file=sys.stderr)
