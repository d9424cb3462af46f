"""Classes of a build: their fields, and the values that an annotation allows."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from harness.drift.sources import Module, Place, Sources, string_of

_OPTIONAL = {"Optional", "Union"}
_ANNOTATED = {"Annotated", "A"}
_MOST_BASES = 20


@dataclass(frozen=True, eq=False)
class Field:
    """A field of a class.

    Attributes:
        metadata: What an annotation carries beside the type.
        doc: The string below it.
    """

    name: str
    module: Module
    line: int
    annotation: ast.expr
    metadata: tuple[ast.expr, ...] = ()
    doc: str = ""

    @property
    def place(self) -> Place:
        return Place(self.module.path, self.line)


def last_name(node: ast.AST | None) -> str:
    """``C`` of ``C``, ``a.b.C``, ``C[...]`` and ``C(...)``; empty for anything else."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value) | ast.Call(func=value):
            return last_name(value)
    return ""


def class_named(sources: Sources, module: Module, name: str) -> tuple[Module, ast.ClassDef] | None:
    """The class that a name of a module stands for."""
    found = sources.resolve(module, name)
    return (found[0], found[1]) if found and isinstance(found[1], ast.ClassDef) else None


def lineage(sources: Sources, module: Module, node: ast.ClassDef) -> list[tuple[Module, ast.ClassDef]]:
    """A class and its bases, as far as they are the build's; the class first."""
    found = [(module, node)]
    for where, each in found:
        for base in each.bases:
            known = class_named(sources, where, last_name(base))
            if known and known[1] not in [one for _, one in found] and len(found) < _MOST_BASES:
                found.append(known)
    return found


def fields(sources: Sources, module: Module, node: ast.ClassDef) -> dict[str, Field]:
    """Annotated fields by name, those of its bases too."""
    found: dict[str, Field] = {}
    for where, each in lineage(sources, module, node):
        for field in own_fields(where, each):
            found.setdefault(field.name, field)
    return found


def own_fields(module: Module, node: ast.ClassDef) -> Iterator[Field]:
    for position, statement in enumerate(node.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            below = node.body[position + 1] if position + 1 < len(node.body) else None
            doc = string_of(below.value) if isinstance(below, ast.Expr) else ""
            kind, metadata = _unpacked(statement.annotation)
            yield Field(statement.target.id, module, statement.lineno, kind, metadata, " ".join(doc.split()))


def _unpacked(annotation: ast.expr) -> tuple[ast.expr, tuple[ast.expr, ...]]:
    """Type and metadata."""
    match annotation:
        case ast.Subscript(slice=ast.Tuple(elts=[kind, *metadata])) if last_name(annotation) in _ANNOTATED:
            return kind, tuple(metadata)
        case ast.Constant(value=str(text)):
            with contextlib.suppress(SyntaxError):
                return _unpacked(ast.parse(text, mode="eval").body)
    return annotation, ()


def method(
    sources: Sources, module: Module, node: ast.ClassDef, name: str
) -> tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef] | None:
    """A method of a class, or of the nearest base that has it."""
    for where, each in lineage(sources, module, node):
        for statement in each.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and statement.name == name:
                return where, statement
    return None


def allowed(sources: Sources, module: Module, annotation: ast.expr, depth: int = 8) -> set[str] | None:
    """The values of a type that takes one of a few, as text; None for every other type, or if it cannot be told."""
    found: set[str] | None = None
    match annotation:
        case ast.Constant(value=None):
            found = set()
        case ast.Constant(value=str(text)):
            with contextlib.suppress(SyntaxError):
                found = allowed(sources, module, ast.parse(text, mode="eval").body, depth)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            found = _joined([allowed(sources, module, each, depth) for each in (left, right)])
        case ast.Subscript(slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            found = _allowed_in(sources, module, last_name(annotation), parts, depth)
        case ast.Name() | ast.Attribute() if depth:
            match sources.resolve(module, last_name(annotation)):
                case (_, ast.ClassDef() as node):
                    found = _members(node)
                case (where, ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value)):
                    found = allowed(sources, where, value, depth - 1)
    return found


def _allowed_in(sources: Sources, module: Module, name: str, parts: list[ast.expr], depth: int) -> set[str] | None:
    """The same of ``name[parts]``."""
    if name == "Literal":
        return _joined([_literal(sources, module, each, depth) for each in parts])
    if name in _OPTIONAL:
        return _joined([allowed(sources, module, each, depth) for each in parts])
    return allowed(sources, module, parts[0], depth) if name in _ANNOTATED else None


def _literal(sources: Sources, module: Module, part: ast.expr, depth: int) -> set[str] | None:
    match part:
        case ast.Constant(value=None):
            return set()
        case ast.Constant(value=value):
            return {str(value)}
    return allowed(sources, module, part, depth - 1) if depth else None


def _members(node: ast.ClassDef) -> set[str] | None:
    """Names and values of an enumeration; None of another class."""
    if not any("Enum" in last_name(base) for base in [*node.bases, *(each.value for each in node.keywords)]):
        return None
    found = set[str]()
    for statement in node.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found |= {statement.targets[0].id, string_of(statement.value)} - {""}
    return found


def _joined(parts: list[set[str] | None]) -> set[str] | None:
    return None if None in parts else set[str]().union(*(part for part in parts if part is not None))


def listed(sources: Sources, module: Module, node: ast.expr | None, depth: int = 8) -> set[str] | None:
    """The constants of a list, also one that is named or added up; None if it is computed."""
    match node:
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            if any(not isinstance(part, ast.Constant) for part in parts):
                return None
            return {str(part.value) for part in parts if isinstance(part, ast.Constant) and part.value is not None}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _joined([listed(sources, module, each, depth) for each in (left, right)])
        case ast.Name(id=name) if depth:
            match sources.resolve(module, name):
                case (where, ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value)):
                    return listed(sources, where, value, depth - 1)
        case ast.Subscript() if last_name(node) == "Literal":
            return allowed(sources, module, node)
    return None


def mentions(node: ast.AST, name: str) -> bool:
    """Whether a name stands anywhere in an expression."""
    return any(last_name(each) == name for each in ast.walk(node))
