"""Test classes with all that they inherit, over the modules of a checkout."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.upstream import figure_settings
from harness.upstream.python_values import Module, Sources, Unreadable, assigned

Function = ast.FunctionDef | ast.AsyncFunctionDef
_SETUP = {"setupclass", "setup"}


@dataclass(frozen=True)
class TestClass:
    """A class and those above it, of which the nearest one counts.

    Attributes:
        node: The class itself.
        attributes: What its bodies and the methods that set it up assign, by name.
        owners: The module that each of them stands in.
        methods: All methods, each with the module that it stands in.
        values: Everything plain that the attributes and the options of command lines say, as named values.
    """

    __test__ = False  # no test of ours, whatever its name

    node: ast.ClassDef
    attributes: Mapping[str, ast.expr]
    owners: Mapping[str, Module]
    methods: Mapping[str, tuple[Module, Function]]
    values: list[tuple[str, Any]]

    @cached_property
    def mentioned(self) -> set[str]:
        """Names that its methods take from it, also by a text."""
        return {name for _, method in self.methods.values() for name in _mentioned(method)}


def resolve(module: Module, sources: Sources, node: ast.ClassDef) -> TestClass:
    """A class of a module with what it inherits from this checkout."""
    attributes: dict[str, ast.expr] = {}
    owners: dict[str, Module] = {}
    methods: dict[str, tuple[Module, Function]] = {}
    for where, each in _inherited(module, sources, node, set()):
        own = [one for one in each.body if isinstance(one, Function)]
        for body in (*(one.body for one in own if one.name.lower() in _SETUP), each.body):
            for name, value in assigned(list(flat(body))):
                if name not in attributes:
                    attributes[name], owners[name] = value, where
        for one in own:
            methods.setdefault(one.name, (where, one))
    values = _values(sources, module, attributes, owners)
    values += [pair for where, one in methods.values() for pair in _options(sources, where, one, attributes)]
    return TestClass(node, attributes, owners, methods, values)


def _inherited(
    module: Module, sources: Sources, node: ast.ClassDef, seen: set[str]
) -> Iterator[tuple[Module, ast.ClassDef]]:
    """A class and those above it, each before what it is made of, from the left."""
    if f"{module.path}:{node.name}" in seen:
        return
    seen.add(f"{module.path}:{node.name}")
    yield module, node
    for base in _bases(module, node):
        if there := sources.class_of(module, base):
            yield from _inherited(there[0], sources, there[1], seen)


def _bases(module: Module, node: ast.ClassDef) -> Iterator[str]:
    """Names of what a class is made of; ``*NAME`` stands for a tuple of the module's."""
    for base in node.bases:
        tuple_of = module.names.get(ast.unparse(base.value)) if isinstance(base, ast.Starred) else base
        for each in tuple_of.elts if isinstance(tuple_of, ast.Tuple | ast.List) else [base]:
            yield ast.unparse(each)


def flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, with those in ``with``, ``if`` and ``try``."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(node, Function | ast.ClassDef):
                yield from flat(getattr(node, name, []))


def _values(
    sources: Sources, module: Module, local: Mapping[str, ast.expr], owners: Mapping[str, Module]
) -> list[tuple[str, Any]]:
    """Everything that the attributes of a class say, as named values."""
    found: list[tuple[str, Any]] = []
    for name, value in local.items():
        found += named(sources, owners.get(name, module), name, value, local)
    return sorted(found, key=lambda pair: not _is_model(pair[0]))


def _is_model(name: str) -> bool:
    return name.rpartition(".")[2] in {"model", "draft_model", "drafter"}


def _options(
    sources: Sources, module: Module, node: Function, local: Mapping[str, ast.expr]
) -> Iterator[tuple[str, Any]]:
    """What lists of options of a command line in a function say."""
    for each in ast.walk(node):
        if isinstance(each, ast.List) and any(
            isinstance(one, ast.Constant) and "--" in str(one.value) for one in each.elts
        ):
            yield from named(sources, module, "", each, local)


def _mentioned(node: Function) -> Iterator[str]:
    """Attributes that a method takes, by name or by a text that is one."""
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute):
            yield each.attr
        elif isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def named(
    sources: Sources, module: Module, name: str, node: ast.expr, local: Mapping[str, ast.expr]
) -> Iterator[tuple[str, Any]]:
    """Of an expression what can be read: all of it, else its parts, a list as far as it goes."""
    try:
        yield from figure_settings.pairs(sources.value(node, module, local), name)
    except Unreadable:
        if isinstance(node, ast.List | ast.Tuple):
            yield from figure_settings.pairs([_or_none(sources, module, each, local) for each in node.elts], name)
        elif isinstance(node, ast.Call):
            for each in node.args:
                yield from named(sources, module, name, each, local)
            for keyword in node.keywords:
                yield from named(sources, module, keyword.arg or name, keyword.value, local)


def _or_none(sources: Sources, module: Module, node: ast.expr, local: Mapping[str, ast.expr]) -> Any:
    try:
        return sources.value(node, module, local)
    except Unreadable:
        return None
