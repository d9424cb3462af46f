"""What expressions of Python sources stand for, found without running any of them."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "float": float, "int": int, "list": list, "max": max, "min": min, "round": round, "str": str,
    "tuple": tuple,
}  # fmt: skip
_DEEPEST = 60
_ROOTS = ("", "python/")
"""Folders of a repository below which its packages lie."""


class Unreadable(Exception):
    """Sources alone do not say what an expression stands for; the message says which part."""


@dataclass(frozen=True)
class Record:
    """What a call of a class with keywords makes."""

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Module:
    """A parsed file."""

    path: str
    tree: ast.Module

    @cached_property
    def names(self) -> dict[str, ast.expr]:
        """What is assigned at its top level."""
        return dict(assigned(self.tree.body))

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        return {each.name: each for each in self.tree.body if isinstance(each, ast.ClassDef)}

    @cached_property
    def imports(self) -> dict[str, tuple[int, str, str]]:
        """Level, module and name of each name that is imported from another module."""
        return {
            alias.asname or alias.name: (node.level, node.module or "", alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }


def assigned(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """Names, and names on ``cls`` or ``self``, that statements assign; the blocks below them are not looked into."""
    for node in body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = getattr(node, "value", None)
        for target in targets:
            name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
            if name and isinstance(value, ast.expr):
                yield name, value


@dataclass
class Sources:
    """Files of a checkout, parsed when they are needed.

    Attributes:
        read: The text of a file by its path; None if there is none.
    """

    read: Callable[[str], str | None]
    _parsed: dict[str, Module | None] = field(default_factory=dict)

    def module(self, path: str) -> Module | None:
        """A file, parsed; None if there is none.

        Raises:
            Unreadable: It is not Python as this interpreter knows it.
        """
        if path not in self._parsed:
            text = self.read(path)
            try:
                self._parsed[path] = None if text is None else Module(path, ast.parse(text))
            except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
                raise Unreadable(f"no Python: {' '.join(str(error).split())}") from None
        return self._parsed[path]

    def imported(self, module: Module, name: str) -> tuple[Module, str] | None:
        """The module of the checkout that a name is imported from, and what it is called there."""
        if name not in module.imports:
            return None
        level, dotted, original = module.imports[name]
        folder = module.path.split("/")[:-level] if level else []
        parts = [*folder, *filter(None, dotted.split("."))]
        for root in _ROOTS if not level else ("",):
            for path in (f"{root}{'/'.join(parts)}.py", f"{root}{'/'.join(parts)}/__init__.py"):
                if found := self.module(path):
                    return found, original
        return None

    def class_of(self, module: Module, name: str) -> tuple[Module, ast.ClassDef] | None:
        """A class by the name that a module knows it by."""
        for _ in range(_DEEPEST):  # modules may import a name from one another in a circle
            if name in module.classes:
                return module, module.classes[name]
            there = self.imported(module, name)
            if there is None:
                return None
            module, name = there
        return None

    def arguments(self, call: ast.Call, module: Module) -> list[tuple[str, ast.expr]]:
        """What a call gives, by name; without names what stands for the fields of a class, in their order."""
        there = self.class_of(module, ast.unparse(call.func)) if call.args else None
        body = there[1].body if there else []
        fields = [name for each in body if isinstance(each, ast.AnnAssign) and (name := getattr(each.target, "id", ""))]
        named = [(each.arg, each.value) for each in call.keywords if each.arg]
        return [*zip(fields, call.args, strict=False), *named]

    def value(self, expression: ast.expr, module: Module, local: Mapping[str, ast.expr] | None = None) -> Any:
        """What an expression stands for: literals, :class:`Record`, and tuples, lists and dicts of them.

        Args:
            expression: In ``module``.
            module: Whose names count.
            local: Names that count before those of the module; on ``self`` and ``cls`` too.

        Raises:
            Unreadable: It depends on something that is not in the sources.
        """
        return _Reading(self, local or {}).of(expression, module, 0)


@dataclass
class _Reading:
    sources: Sources
    local: Mapping[str, ast.expr]

    def of(self, node: ast.expr, module: Module, depth: int) -> Any:
        if depth > _DEEPEST:
            raise Unreadable(f"{_short(node)} leads on without end")
        read = getattr(self, f"_{type(node).__name__.lower()}", None)
        if read is None:
            raise Unreadable(f"{_short(node)} is computed")
        try:
            return read(node, module, depth + 1)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise Unreadable(f"{_short(node)}: {error}") from None

    def _constant(self, node: ast.Constant, _module: Module, _depth: int) -> Any:
        return node.value

    def _unaryop(self, node: ast.UnaryOp, module: Module, depth: int) -> Any:
        if not isinstance(node.op, ast.USub):
            raise Unreadable(f"{_short(node)} is computed")
        return -self.of(node.operand, module, depth)

    def _binop(self, node: ast.BinOp, module: Module, depth: int) -> Any:
        if type(node.op) not in _OPERATORS:
            raise Unreadable(f"{_short(node)} is computed")
        left, right = self.of(node.left, module, depth), self.of(node.right, module, depth)
        if not all(isinstance(each, int | float) for each in (left, right)):
            raise Unreadable(f"{_short(node)} is computed")
        return _OPERATORS[type(node.op)](left, right)

    def _tuple(self, node: ast.Tuple, module: Module, depth: int) -> Any:
        return tuple(self.of(each, module, depth) for each in node.elts)

    def _list(self, node: ast.List, module: Module, depth: int) -> Any:
        return [self.of(each, module, depth) for each in node.elts]

    def _dict(self, node: ast.Dict, module: Module, depth: int) -> Any:
        pairs = zip(node.keys, node.values, strict=True)
        return {self.of(key, module, depth): self.of(value, module, depth) for key, value in pairs if key}

    def _subscript(self, node: ast.Subscript, module: Module, depth: int) -> Any:
        return self.of(node.value, module, depth)[self.of(node.slice, module, depth)]

    def _name(self, node: ast.Name, module: Module, depth: int) -> Any:
        if (found := self.local.get(node.id)) is not None and found is not node:
            return self.of(found, module, depth)
        if node.id in module.names:
            return _Reading(self.sources, {}).of(module.names[node.id], module, depth)
        if there := self.sources.imported(module, node.id):
            name = ast.Name(there[1], ast.Load())
            return _Reading(self.sources, {}).of(name, there[0], depth)
        raise Unreadable(f"{node.id} is set when it runs")

    def _attribute(self, node: ast.Attribute, module: Module, depth: int) -> Any:
        if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
            if (found := self.local.get(node.attr)) is not None:
                return self.of(found, module, depth)
            raise Unreadable(f"{_short(node)} is set when it runs")
        record = self.of(node.value, module, depth)
        if isinstance(record, Record) and node.attr in record.fields:
            return record.fields[node.attr]
        raise Unreadable(f"{_short(node)} is set when it runs")

    def _call(self, node: ast.Call, module: Module, depth: int) -> Any:
        called = ast.unparse(node.func)
        if called in {"os.environ.get", "os.getenv"} and len(node.args) == 2:
            return self.of(node.args[1], module, depth)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "values" and not node.args:
            return list(self.of(node.func.value, module, depth).values())
        if called in _FUNCTIONS and not node.keywords:
            return _FUNCTIONS[called](*(self.of(each, module, depth) for each in node.args))
        if called.rpartition(".")[2] == "approx" and node.args:
            return self.of(node.args[0], module, depth)
        if called.rpartition(".")[2] == "param":
            return tuple(self.of(each, module, depth) for each in node.args)
        if there := self.sources.class_of(module, called):
            return Record(called, self._fields(node, module, there, depth))
        raise Unreadable(f"{_short(node)} is computed")

    def _fields(self, node: ast.Call, module: Module, there: tuple[Module, ast.ClassDef], depth: int) -> dict[str, Any]:
        """Defaults of the class, and what the call gives; what cannot be read is left out."""
        defaults = [(name, value, there[0]) for name, value in assigned(there[1].body)]
        given = [(name, value, module) for name, value in self.sources.arguments(node, module)]
        found: dict[str, Any] = {}
        for name, value, where in [*defaults, *given]:
            try:
                found[name] = self.of(value, where, depth)
            except Unreadable:
                found.pop(name, None)
        return found


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
