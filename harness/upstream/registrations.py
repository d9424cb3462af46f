"""Which suites of upstream's CI a test file registers itself for: calls like ``register_cuda_ci(...)``."""

from __future__ import annotations

import ast
import re

from harness.upstream.figures import Found, Place, Registered, Unread
from harness.upstream.python_values import Module, Sources, Unreadable

_REGISTER = re.compile(r"register_(\w+)_ci")


def read(module: Module, sources: Sources) -> Found:
    """All registrations at the top level of a file."""
    found = Found()
    for node in module.tree.body:
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or not (known := _REGISTER.fullmatch(ast.unparse(call.func))):
            continue
        place = Place(module.path, node.lineno)
        try:
            given = {each.arg: sources.value(each.value, module) for each in call.keywords if each.arg}
            args = [sources.value(each, module) for each in call.args]
        except Unreadable as error:
            found.unread.append(Unread(place, f"registration: {error}"))
            continue
        where = [str(given[name]) for name in ("suite", "stage", "runner_config") if given.get(name)]
        where += [each for each in args if isinstance(each, str)]
        disabled = str(given.get("disabled") or "")
        found.registered.append(Registered(place, known[1], " ".join(where), disabled))
    return found
