"""Figures in assertions of Python tests, of functions and of classes with all that they inherit."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from harness.base.domain import Platform
from harness.upstream import figure_settings, python_classes
from harness.upstream.figures import (
    Figure,
    Found,
    Place,
    Setting,
    Unread,
    is_tolerance,
    kind_of_bound,
    measured_kind,
    platform_of,
)
from harness.upstream.python_classes import Function, TestClass
from harness.upstream.python_values import Module, Sources, Unreadable, assigned

_ASSERTIONS = {
    "assertGreater", "assertGreaterEqual", "assertLess", "assertLessEqual", "assertAlmostEqual",
}  # fmt: skip


@dataclass(frozen=True)
class _Assertion:
    """Two sides that a test compares, and the platform whose branch it is in."""

    line: int
    sides: tuple[ast.expr, ast.expr]
    platform: Platform | None


def read(module: Module, sources: Sources) -> Found:
    """All figures of a file that stand in assertions; a class counts once with each of its inherited tests."""
    found = Found()
    for node in module.tree.body:
        if isinstance(node, Function) and node.name.startswith("test"):
            found.add(_Test(sources, module, module, node).read())
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            found.add(_of_class(module, sources, node))
    return found


def _of_class(module: Module, sources: Sources, node: ast.ClassDef) -> Found:
    """Of a class, with what it inherits; bounds among its attributes too, which inherited code takes deeper down."""
    one = python_classes.resolve(module, sources, node)
    found = Found()
    for where, method in one.methods.values():
        found.add(_Test(sources, module, where, method, one).read())
    known = {(each.kind, each.values) for each in found.figures}
    for name, value in one.values:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
        kind = kind_of_bound(name) if name in one.mentioned else ""
        if number > 0 and kind and (kind, (number,)) not in known:
            line = one.attributes[name].lineno if one.owners[name] is module else node.lineno
            place = Place(module.path, line, f"{node.name}.{name}")
            found.figures.append(Figure(place, kind, (number,), figure_settings.setting(one.values)))
    return found


@dataclass
class _Test:
    """One test: of ``module``, whose code stands in ``where``."""

    sources: Sources
    module: Module
    where: Module
    node: Function
    of: TestClass | None = None

    def read(self) -> Found:
        found = Found()
        for each in _assertions(self.node.body, None):
            self._read(each, found)
        return found

    def _read(self, assertion: _Assertion, found: Found) -> None:
        for measured, bound in (assertion.sides, assertion.sides[::-1]):
            kind = self._measured(measured)
            if not kind and isinstance(bound, ast.Name):
                kind = kind_of_bound(bound.id)
            if not kind or self._number(measured) is not None:
                continue
            if is_tolerance(getattr(bound, "id", getattr(bound, "attr", ""))):
                return  # of a figure that stands in a table
            number = self._number(bound)
            if number is not None:
                if number > 0:
                    kind = f"{kind}_difference" if self._difference(measured) else kind
                    setting = self._setting(assertion.platform)
                    found.figures.append(Figure(self._place(assertion), kind, (number,), setting, source=""))
                return
            if not self._elsewhere(bound) and (isinstance(bound, ast.Name) or not measured_kind(ast.unparse(bound))):
                found.unread.append(Unread(self._place(assertion), f"the bound {ast.unparse(bound)!r} is computed"))
            return
        self._unknown(assertion, found)

    def _said(self, node: ast.expr) -> ast.expr:
        """What a name of the test stands for."""
        return self._local.get(node.id, node) if isinstance(node, ast.Name) else node

    def _measured(self, node: ast.expr) -> str:
        """What an expression measures: as it says, else what a name stands for, if that is put together of such."""
        said = self._said(node)
        called = any(isinstance(each, ast.Call) for each in ast.walk(said))
        return measured_kind(ast.unparse(node)) or ("" if called else measured_kind(ast.unparse(said)))

    def _difference(self, node: ast.expr) -> bool:
        """Whether something is measured twice, and how far apart it is compared."""
        parts = list(ast.walk(self._said(node)))
        minus = any(isinstance(each, ast.BinOp) and isinstance(each.op, ast.Sub) for each in parts)
        return minus or any(isinstance(each, ast.Call) and ast.unparse(each.func) == "abs" for each in parts)

    def _unknown(self, assertion: _Assertion, found: Found) -> None:
        """A fraction that something is compared with, of which nothing says what it measures."""
        for measured, bound in (assertion.sides, assertion.sides[::-1]):
            number = bound.value if isinstance(bound, ast.Constant) else None
            if isinstance(number, float) and number % 1 and not isinstance(measured, ast.Constant):
                why = f"{ast.unparse(measured)!r} is compared with {number:g}: what that measures is not clear"
                found.unread.append(Unread(self._place(assertion), why))

    def _place(self, assertion: _Assertion) -> Place:
        own = self.where is self.module or self.of is None
        owner = self.of.node.name if self.of else ""
        line = assertion.line if own or self.of is None else self.of.node.lineno
        return Place(self.module.path, line, ".".join(filter(None, (owner, self.node.name))))

    @property
    def _local(self) -> dict[str, ast.expr]:
        """Attributes of the class, and what the test assigns, if it does so once."""
        found = list(assigned(list(python_classes.flat(self.node.body))))
        names = [name for name, _ in found]
        return {**self._attributes, **{name: value for name, value in found if names.count(name) == 1}}

    @property
    def _attributes(self) -> Mapping[str, ast.expr]:
        return self.of.attributes if self.of else {}

    def _number(self, node: ast.expr) -> float | None:
        try:
            value = self.sources.value(node, self.where, self._local)
        except Unreadable:
            return None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def _elsewhere(self, node: ast.expr) -> bool:
        """Whether a bound comes from a table, where the figure stands: by a parameter, or a field of that name."""
        given = {each.arg for each in [*self.node.args.args, *self.node.args.kwonlyargs]} - {"self", "cls"}
        names = [each.id for each in ast.walk(node) if isinstance(each, ast.Name)]
        fields = [each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)]
        return any(name in given for name in names) or any(kind_of_bound(name) for name in [*fields, *names])

    def _setting(self, platform: Platform | None) -> Setting:
        local = self._local
        nodes = [(name, value) for name, value in local.items() if name not in self._attributes]
        nodes += [("", each) for each in ast.walk(self.node) if isinstance(each, ast.Call)]
        inside = [
            pair for name, each in nodes for pair in python_classes.named(self.sources, self.where, name, each, local)
        ]
        return figure_settings.setting([*(self.of.values if self.of else ()), *inside], platform=platform)


def _assertions(body: list[ast.stmt], platform: Platform | None) -> Iterator[_Assertion]:
    for node in body:
        if isinstance(node, ast.If):
            named = platform_of(ast.unparse(node.test).replace(".", "_"))
            negated = isinstance(node.test, ast.UnaryOp) and isinstance(node.test.op, ast.Not)
            yes: Platform | None = ("cuda" if negated else named) if named else platform
            no: Platform | None = (named if negated else "cuda") if named else platform
            yield from _assertions(node.body, yes)
            yield from _assertions(node.orelse, no)
            continue
        yield from _compared(node, platform)
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(node, ast.ClassDef):
                yield from _assertions(getattr(node, name, []), platform)
        for handler in getattr(node, "handlers", []):
            yield from _assertions(handler.body, platform)


def _compared(node: ast.stmt, platform: Platform | None) -> Iterator[_Assertion]:
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if isinstance(node, ast.Assert):
        for each in ast.walk(node.test):
            if isinstance(each, ast.Compare) and not isinstance(each.ops[0], ast.In):
                for left, right in pairwise([each.left, *each.comparators]):
                    yield _Assertion(node.lineno, (left, right), platform)
    elif call and isinstance(call.func, ast.Attribute) and call.func.attr in _ASSERTIONS and len(call.args) > 1:
        yield _Assertion(node.lineno, (call.args[0], call.args[1]), platform)
