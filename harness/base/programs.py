"""Programs of ours that another interpreter runs, as text: it may be an older Python, and it has no harness."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

_OURS = re.compile(r"^from harness\.[\w.]+ import (?:\([^)]*\)|.*)\n", re.MULTILINE)


def text(*modules: ModuleType) -> str:
    """The sources of the modules, one after the other, as one program for ``python -c``.

    The last one is the program; what it imports of ours must be in those before it, and the import is left out.
    """
    return _OURS.sub("", "\n".join(map(inspect.getsource, modules)))


def answer(output: str) -> str:
    """The line of JSON that such a program printed last, of an output in which an engine's words stand too."""
    return next((line for line in reversed(output.splitlines()) if line.startswith("{")), "")
