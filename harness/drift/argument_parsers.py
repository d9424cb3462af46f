"""The argument parser of a server, found by following its calls: wherever a build keeps it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from harness.drift.classes import class_named, last_name, method
from harness.drift.declared_options import Function, Known, Option, declared, running
from harness.drift.sources import Module, Place, Sources

_DEPTH = 5  # calls from the server's module to its parser


@dataclass
class Parser:
    """What a server's parser takes.

    Attributes:
        options: By each of their names.
        places: The functions that declare them, in the order in which they were found.
        hides: Where a build takes option strings away that it still takes, and does not show any more.
    """

    options: dict[str, Option] = field(default_factory=dict)
    places: list[tuple[str, Place]] = field(default_factory=list)
    hides: list[Place] = field(default_factory=list)

    def takes(self, name: str) -> bool:
        """Whether it takes an option as it stands on a command line, ``--no-x`` too."""
        return self.find(name) is not None

    def find(self, name: str) -> Option | None:
        """The option behind a name."""
        if name in self.options:
            return self.options[name]
        base = self.options.get("--" + name.removeprefix("--no-")) if name.startswith("--no-") else None
        return base if base and base.negatable is not False else None

    @property
    def names(self) -> set[str]:
        """Everything that it takes."""
        negated = [name for name, each in self.options.items() if each.negatable and name.startswith("--")]
        return {*self.options, *(f"--no-{name[2:]}" for name in negated)}


def parser_of(sources: Sources, module: str) -> Parser:
    """The parser of what is run as a module; without options if there is none to be found."""
    start = sources.named(module)
    start = sources.named(f"{module}.__main__") if start and start.path.endswith("__init__.py") else start
    found = Parser()
    if start is None:
        return found
    level: list[tuple[Module, ast.AST]] = [(start, start.tree)]
    seen = {id(start.tree)}
    for _ in range(_DEPTH):
        following: list[tuple[Module, ast.AST]] = []
        for where, node in level:
            for callee in _called(sources, where, node):
                if id(callee.node) not in seen:
                    seen.add(id(callee.node))
                    following.append((callee.module, callee.node))
        builders = [(where, node) for where, node in [*level, *following] if _builds(node)]
        if builders:
            _collect(sources, builders, found)
            break
        level = following
    found.hides = [*_hiding(sources)] if found.options else []
    return found


@dataclass(frozen=True, eq=False)
class _Callee:
    """A function, or what runs of a module; the class that it is a method of, and the classes that it is given."""

    module: Module
    node: ast.AST
    of: Known | None = None
    given: tuple[Known, ...] = ()


def _called(sources: Sources, module: Module, node: ast.AST) -> Iterator[_Callee]:
    """Functions that are called in some code, as far as they are the build's."""
    body = running(node) if isinstance(node, ast.Module) else ast.walk(node)
    for call in body:
        if not isinstance(call, ast.Call):
            continue
        given = tuple(
            known
            for each in call.args
            if isinstance(each, ast.Name) and (known := class_named(sources, module, each.id))
        )
        match call.func:
            case ast.Name(id=name):
                resolved = sources.resolve(module, name)
                if resolved and isinstance(resolved[1], Function):
                    yield _Callee(resolved[0], resolved[1], None, given)
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                resolved = sources.resolve(module, owner)
                if resolved and isinstance(resolved[1], ast.ClassDef):
                    if has := method(sources, resolved[0], resolved[1], name):
                        yield _Callee(*has, (resolved[0], resolved[1]), given)
                elif resolved and resolved[1] is None:
                    found = resolved[0].definitions.get(name)
                    if isinstance(found, Function):
                        yield _Callee(resolved[0], found, None, given)


def _builds(node: ast.AST) -> bool:
    """Whether a function makes a parser, or is given one to add to."""
    if isinstance(node, Function):
        arguments = [*node.args.posonlyargs, *node.args.args]
        parsers = {each.arg for each in arguments if each.arg == "parser" or _is_parser(each.annotation)}
        if parsers:
            return any(isinstance(each, ast.Call) and _hands_on(each, parsers) for each in ast.walk(node))
    body = running(node) if isinstance(node, ast.Module) else ast.walk(node)
    return any(isinstance(each, ast.Call) and last_name(each.func).endswith("ArgumentParser") for each in body)


def _hands_on(call: ast.Call, parsers: set[str]) -> bool:
    """Whether a call adds to a parser, or gives it to another function."""
    given = {each.id for each in call.args if isinstance(each, ast.Name)}
    return last_name(call.func).startswith("add_argument") or bool(given & parsers)


def _is_parser(annotation: ast.expr | None) -> bool:
    return annotation is not None and any(name in ast.dump(annotation) for name in ("ArgumentParser", "_ArgumentGroup"))


def _collect(sources: Sources, builders: list[tuple[Module, ast.AST]], found: Parser) -> None:
    """Add the options of these functions, and of those that they hand the parser to."""
    waiting = [_Callee(where, node) for where, node in builders]
    seen = set[tuple[int, tuple[int, ...]]]()
    while waiting:
        each = waiting.pop(0)
        where, node = each.module, each.node
        classes = (*((each.of,) if each.of else ()), *each.given)
        key = (id(node), tuple(id(known) for _, known in classes))
        if key in seen:
            continue
        seen.add(key)
        before = len(found.options)
        for option in declared(sources, where, node, classes):
            for name in option.names:
                found.options.setdefault(name.replace("_", "-"), option)
        if len(found.options) > before and isinstance(node, Function):
            found.places.append((node.name, Place(where.path, node.lineno)))
        waiting += [one for one in _called(sources, where, node) if _builds(one.node)]


def _hiding(sources: Sources) -> Iterator[Place]:
    for module in sources.holding(".option_strings ="):
        for node in module.nodes:
            match node:
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=owner), attr="option_strings")]):
                    if owner != "self":
                        yield Place(module.path, node.lineno)
