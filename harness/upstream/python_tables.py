"""Figures in tables of Python tests: calls with keywords, dicts by model, columns of ``parametrize``."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.upstream import figure_settings
from harness.upstream.figures import (
    ACCURACY,
    PER_POSITION,
    Figure,
    Found,
    Place,
    Unread,
    is_repository,
    is_tolerance,
    kind_of_bound,
    measured_kind,
    platform_of,
)
from harness.upstream.python_classes import Function
from harness.upstream.python_values import Module, Sources, Unreadable, assigned


def read(module: Module, sources: Sources) -> Found:
    """All figures of a file that stand in tables."""
    reader = _Reader(module, sources)
    reader.visit(module.tree)
    return reader.found


@dataclass
class _Reader(ast.NodeVisitor):
    module: Module
    sources: Sources
    found: Found = field(default_factory=Found)
    _functions: list[Function] = field(default_factory=list)
    _assigned: list[str] = field(default_factory=list)
    _calls: list[ast.Call] = field(default_factory=list)

    def visit_FunctionDef(self, node: Function) -> None:
        for each in node.decorator_list:
            self.visit(each)
        self._defaults(node)
        self._functions.append(node)
        for statement in node.body:
            self.visit(statement)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Assign(self, node: ast.Assign | ast.AnnAssign) -> None:
        names = [name for name, _ in assigned([node])]
        self._assigned.append(names[0] if names else "")
        if names and node.value and not isinstance(node.value, ast.Dict):
            self._tuple_by_name(names[0], node.value)
        self.generic_visit(node)
        self._assigned.pop()

    visit_AnnAssign = visit_Assign  # noqa: N815

    def visit_Dict(self, node: ast.Dict) -> None:
        keys = [self._key(each) for each in node.keys]
        if any(is_repository(key) for key in keys):
            self._by_model(node, keys)
            return
        if keys:
            for key, value in zip(keys, node.values, strict=True):
                if isinstance(key, str) and (kind := kind_of_bound(key)):
                    self._named(key, kind, value, [node])
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if ast.unparse(node.func).endswith("parametrize") and len(node.args) > 1:
            self._parametrized(node)
        for name, value in self.sources.arguments(node, self.module):
            if kind := kind_of_bound(name):
                self._named(name, kind, value, [node, *reversed(self._calls)])
        self._calls.append(node)
        self.generic_visit(node)
        self._calls.pop()

    def _defaults(self, node: Function) -> None:
        """Bounds that a function takes where its caller says nothing."""
        arguments = node.args.args[len(node.args.args) - len(node.args.defaults) :]
        named = [
            *zip(arguments, node.args.defaults, strict=True),
            *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
        ]
        for each, default in named:
            plain = isinstance(default, ast.Constant) and isinstance(default.value, int | float)
            if default and plain and (kind := kind_of_bound(each.arg)):
                self._figures(f"{node.name}({each.arg})", kind, default, [])

    def _tuple_by_name(self, name: str, value: ast.expr) -> None:
        """A list of positional records at the top of a file, where its name says what the numbers are."""
        if self._functions or not isinstance(value, ast.List | ast.Tuple) or not kind_of_bound(name):
            return
        if any(isinstance(each, ast.Tuple) for each in value.elts):
            self._cannot(value, name, "rows without names of their columns")

    def _key(self, node: ast.expr | None) -> object:
        try:
            return self.sources.value(node, self.module, self._local()) if node else None
        except Unreadable:
            return None

    def _by_model(self, node: ast.Dict, models: Sequence[object]) -> None:
        name = self._assigned[-1] if self._assigned else ""
        kind = kind_of_bound(name)
        if not kind and name.lower().startswith(("expected", "reference", "threshold", "baseline")):
            kind = measured_kind(self.module.path) or ACCURACY
        for model, table in zip(models, node.values, strict=True):
            if is_repository(model) and isinstance(table, ast.Dict):
                self._of_model(str(model), table)
        if not kind:
            return
        for model, value in zip(models, node.values, strict=True):
            if isinstance(value, ast.Dict):
                continue
            if is_repository(model):
                self._figures(f"{name}[{model}]", kind, value, [("model", model)])
            else:
                self._cannot(value, name, "a key that is computed, or no model")

    def _of_model(self, model: str, table: ast.Dict) -> None:
        """The figures of a model, each by what it measures; bounds in it are found as in any dict."""
        around = [("model", model), *self._entry("", table)]
        for key, value in zip(table.keys, table.values, strict=True):
            name = self._key(key)
            if isinstance(name, str) and (kind := measured_kind(name)):
                self._figures(f"{self._assigned[-1] if self._assigned else ''}[{model}].{name}", kind, value, around)

    def _named(self, name: str, kind: str, value: ast.expr, around: Sequence[ast.AST]) -> None:
        """A bound that is given by name, unless it is only handed on."""
        if self._handed_on(value):
            return
        self._figures(name, kind, value, self._around(around))

    def _handed_on(self, value: ast.expr) -> bool:
        """Whether it is what the function was given: where that came from, the figure stands."""
        given = {each.arg for one in self._functions for each in [*one.args.args, *one.args.kwonlyargs]}
        loops = {
            name.id
            for one in self._functions
            for each in ast.walk(one)
            if isinstance(each, ast.For | ast.comprehension)
            for name in ast.walk(each.target)
            if isinstance(name, ast.Name)
        }
        names = [each.id for each in ast.walk(value) if isinstance(each, ast.Name)]
        return any(name in given | loops | {"self", "cls"} for name in names)

    def _parametrized(self, node: ast.Call) -> None:
        columns = self._columns(node.args[0])
        kinds = [kind_of_bound(each) for each in columns]
        if not any(kinds):
            return
        rows = node.args[1]
        if not isinstance(rows, ast.List | ast.Tuple):
            self._cannot(rows, ", ".join(columns), "rows that are computed")
            return
        for row in rows.elts:
            cells = self._cells(row, len(columns))
            if len(cells) != len(columns):
                self._cannot(row, ", ".join(columns), "a row of another length")
                continue
            around = [pair for name, cell in zip(columns, cells, strict=True) for pair in self._pairs(name, cell)]
            for name, kind, cell in zip(columns, kinds, cells, strict=True):
                if kind:
                    self._figures(name, kind, cell, around)

    def _columns(self, node: ast.expr) -> list[str]:
        try:
            names = self.sources.value(node, self.module)
        except Unreadable:
            return []
        return [each.strip() for each in names.split(",")] if isinstance(names, str) else [str(each) for each in names]

    def _cells(self, row: ast.expr, count: int) -> Sequence[ast.expr]:
        if isinstance(row, ast.Call) and ast.unparse(row.func).endswith("param"):
            return row.args
        return row.elts if isinstance(row, ast.Tuple | ast.List) and count > 1 else [row]

    def _pairs(self, name: str, node: ast.expr) -> Iterator[tuple[str, Any]]:
        try:
            yield from figure_settings.pairs(self.sources.value(node, self.module, self._local()), name)
        except Unreadable:
            for part in node.elts if isinstance(node, ast.Tuple | ast.List) else []:
                yield from self._pairs(name, part)

    def _local(self) -> Mapping[str, ast.expr]:
        return {name: value for one in self._functions for name, value in assigned(one.body)}

    def _around(self, nodes: Sequence[ast.AST]) -> list[tuple[str, Any]]:
        """Values named beside a figure; if no model is among them, those of the calls around and of the function."""
        found: list[tuple[str, Any]] = []
        for node in nodes:
            found += self._within(node)
            if any(is_repository(value) for _, value in found):
                return found
        for one in reversed(self._functions):
            found += [pair for name, value in assigned(one.body) for pair in self._pairs(name, value)]
            for each in ast.walk(one):
                found += self._within(each) if isinstance(each, ast.Call) else []
        return found

    def _within(self, node: ast.AST) -> Iterator[tuple[str, Any]]:
        if isinstance(node, ast.Call):
            for each in node.args:
                yield from self._pairs("", each)
            for name, value in self.sources.arguments(node, self.module):
                yield from self._entry(name, value)
            if there := self.sources.class_of(self.module, ast.unparse(node.func)):  # its defaults come last
                for name, value in assigned(there[1].body):
                    yield from self._pairs(name, value)
        elif isinstance(node, ast.Dict):
            yield from self._entry("", node)

    def _entry(self, name: str, node: ast.expr) -> Iterator[tuple[str, Any]]:
        """Of a dict entry by entry, so that one which is computed does not hide the others."""
        if not isinstance(node, ast.Dict):
            yield from self._pairs(name, node)
            return
        for key, value in zip(node.keys, node.values, strict=True):
            text = str(key.value) if isinstance(key, ast.Constant) else ""
            yield from self._entry(f"{name}.{text}" if name else text, value)

    def _figures(self, name: str, kind: str, node: ast.expr, around: Sequence[tuple[str, Any]]) -> None:
        try:
            value = self.sources.value(node, self.module, self._local())
        except Unreadable as error:
            self._cannot(node, name, str(error))
            return
        place = Place(self.module.path, node.lineno, name)
        asked = self._dataset(kind)
        widths = tuple(each for each in (figure_settings.tolerance(around), self._own()) if each is not None)
        for dataset, numbers in _numbers(value):
            shape = PER_POSITION if len(numbers) > 1 and kind != PER_POSITION else kind
            held = figure_settings.setting(around, dataset or asked, platform_of(name))
            where = place if not dataset else Place(place.path, place.line, f"{name}[{dataset}]")
            self.found.figures.append(Figure(where, shape, numbers, held, widths))

    def _dataset(self, kind: str) -> str:
        """What accuracy is of, where the name of a function or its file says so."""
        return "gsm8k" if kind == ACCURACY and "gsm8k" in ast.unparse(self.module.tree).lower() else ""

    def _own(self) -> float | None:
        """The tolerance of the file."""
        for name, value in self.module.names.items():
            if is_tolerance(name):
                try:
                    found = self.sources.value(value, self.module)
                except Unreadable:
                    continue
                return float(found) if isinstance(found, int | float) else None
        return None

    def _cannot(self, node: ast.expr, name: str, why: str) -> None:
        self.found.unread.append(Unread(Place(self.module.path, node.lineno, name), why))


def _numbers(value: Any) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Name of a data set, where there are several, and its number, or one a position."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            for _, numbers in _numbers(each):
                yield str(key), numbers
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield "", (float(value),)
    elif isinstance(value, list | tuple) and value and all(isinstance(each, int | float) for each in value):
        yield "", tuple(float(each) for each in value)
