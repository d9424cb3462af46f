"""Which tests touch what a machine has one of, and so cannot run beside each other.

``harness reap`` finds all that is ours, wherever it runs; a kill leaves what it would find; images are removed by one
test under the name that another knows.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

_ALL_OF_IT = re.compile(r"^import docker$", re.MULTILINE)
_PART = re.compile(r'"reap"|SIGKILL|\.kill\(\)')


def test_is(path: Path, name: str) -> bool:
    """Whether the function ``name`` of a module of tests is one.

    Args:
        path: Of the module.
        name: Of the function, or of a class around it; without parameters.
    """
    return name in _tests(path)


@cache
def _tests(path: Path) -> frozenset[str]:
    """Names of a module that reap or kill, or use one that does: a helper, a fixture, a constant."""
    source = path.read_text(encoding="utf-8")
    statements = {name: node for node in ast.parse(source).body for name in _defined(node)}
    if _ALL_OF_IT.search(source):
        return frozenset(statements)
    lines = source.splitlines()
    found = {name for name, node in statements.items() if _PART.search("\n".join(_lines(lines, node)))}
    used = {name: _used(node) for name, node in statements.items()}
    while more := {name for name in statements.keys() - found if used[name] & found}:
        found |= more
    return frozenset(found)


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def _lines(lines: list[str], node: ast.stmt) -> list[str]:
    decorators = [each.lineno for each in getattr(node, "decorator_list", [])]
    return lines[min([node.lineno, *decorators]) - 1 : node.end_lineno]


def _used(node: ast.stmt) -> set[str]:
    """Names that a statement speaks of: those it reads, those of its fixtures, and strings, which may name fixtures."""
    found = set[str]()
    for each in ast.walk(node):
        match each:
            case ast.Name(id=name) | ast.arg(arg=name) | ast.Constant(value=str(name)):
                found.add(name)
    return found
