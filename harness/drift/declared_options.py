"""The options that a function of a build declares, in one of three ways.

``add_argument("--x", …)``; a loop over the fields of a class; fields that carry what ``add_argument`` is told
(``x: A[int, Arg(...)]``).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from harness.drift.classes import (
    Field,
    allowed,
    class_named,
    fields,
    last_name,
    lineage,
    listed,
    mentions,
    own_fields,
)
from harness.drift.sources import Module, Place, Sources, string_of

Known = tuple[Module, ast.ClassDef]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Option:
    """An option of a parser.

    Attributes:
        names: With dashes.
        told: What its help, the text below its field and the comment above it say.
        deprecated: Whether it is declared so, whatever the words.
        negatable: Whether ``--no-x`` is taken, shown or not; None if nobody can tell.
        choices: The values it takes, if these are few.
        kind: Where the type of its value stands.
    """

    names: tuple[str, ...]
    place: Place
    told: tuple[str, ...] = ()
    deprecated: bool = False
    negatable: bool | None = False
    choices: frozenset[str] | None = None
    kind: Field | None = None


def running(tree: ast.Module) -> Iterator[ast.AST]:
    """What runs when a module is run: not the bodies of its functions, but those it calls are followed."""
    for statement in tree.body:
        if not isinstance(statement, Function | ast.ClassDef):
            yield from ast.walk(statement)


def declared(sources: Sources, module: Module, function: ast.AST, classes: tuple[Known, ...]) -> Iterator[Option]:
    """The options that one function declares.

    Args:
        sources: Of the build.
        module: That holds the function.
        function: With its calls.
        classes: Of which it is a method, and those it is given: what it goes through where names are computed.
    """
    bound = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    body = running(function) if isinstance(function, ast.Module) else ast.walk(function)
    for call in body:
        if isinstance(call, ast.Call) and last_name(call.func) == "add_argument":
            names = tuple(name for each in call.args if (name := _spelt(each)))
            if names:
                yield _option(sources, module, call, names, bound, classes)
            elif not all(isinstance(each, ast.Constant) for each in call.args):
                for where, known in classes:
                    yield from _of_fields(sources, where, known, module)


def _spelt(node: ast.expr) -> str:
    """An option string; of one with a prefix in it that may be empty, without."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("-"):
        return node.value
    if isinstance(node, ast.JoinedStr):
        text = string_of(node).replace("{}", "")
        return text if text.startswith("--") and len(text) > 2 else ""
    return ""


def _option(
    sources: Sources,
    module: Module,
    call: ast.Call,
    names: tuple[str, ...],
    bound: dict[str, ast.expr],
    classes: tuple[Known, ...],
) -> Option:
    keywords = {each.arg: each.value for each in call.keywords if each.arg}
    kind = next(
        (found for each in call.keywords if not each.arg and (found := _behind(sources, module, each.value, bound))),
        None,
    )
    destination = string_of(keywords.get("dest")) or names[0].lstrip("-").replace("-", "_")
    for where, known in classes if kind is None else ():
        kind = kind or fields(sources, where, known).get(destination)
    computed = any(not each.arg for each in call.keywords)
    action = keywords.get("action")
    told = (_words(keywords.get("help")), kind.doc if kind else "", module.comment_above(call.lineno), *_told(call))
    return Option(
        names=tuple(names),
        place=Place(module.path, call.lineno),
        told=tuple(filter(None, told)),
        deprecated=_is_true(keywords.get("deprecated")) or "deprecat" in last_name(action).lower(),
        negatable=_negatable(sources, module, action, kind if computed else None, computed=computed),
        choices=_choices(sources, module, keywords.get("choices"), kind, keywords.get("type"), computed=computed),
        kind=kind,
    )


def _told(call: ast.Call) -> Iterator[str]:
    """What else an action of the build's own is told in words."""
    for each in call.keywords:
        if each.arg and each.arg.startswith("new") and string_of(each.value):
            yield f"Use {string_of(each.value)} instead."


def _words(node: ast.expr | None) -> str:
    return " ".join(string_of(node).split())


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _negatable(
    sources: Sources, module: Module, action: ast.expr | None, kind: Field | None, *, computed: bool
) -> bool | None:
    if action is None:
        return _is_switch(kind) if kind else (None if computed else False)
    if string_of(action):
        return False
    known = class_named(sources, module, last_name(action))
    bases = [last_name(base) for _, node in lineage(sources, *known) for base in node.bases] if known else []
    return "BooleanOptionalAction" in (last_name(action), *bases)


def _is_switch(kind: Field) -> bool:
    """Whether a type makes a switch; one that may be text as well is an option with a value."""
    return mentions(kind.annotation, "bool") and not mentions(kind.annotation, "str")


def _choices(
    sources: Sources,
    module: Module,
    named: ast.expr | None,
    kind: Field | None,
    converted: ast.expr | None,
    *,
    computed: bool,
) -> frozenset[str] | None:
    if named is not None:
        found = listed(sources, module, named)
    elif kind is not None and computed and converted is None:
        found = allowed(sources, kind.module, kind.annotation)
    else:
        return None
    return frozenset(found) if found else None


def _behind(sources: Sources, module: Module, node: ast.expr, bound: dict[str, ast.expr]) -> Field | None:
    """The field of a class from which arguments are taken: ``**x["field"]`` where ``x = f(Class)``."""
    if isinstance(node, ast.Name) and node.id in bound:
        node = bound[node.id]
    match node:
        case ast.Subscript(value=ast.Name(id=table), slice=ast.Constant(value=str(name))):
            match bound.get(table):
                case ast.Call(args=[ast.Name(id=owner), *_]) if known := class_named(sources, module, owner):
                    return fields(sources, *known).get(name)
    return None


def _of_fields(sources: Sources, module: Module, node: ast.ClassDef, maker: Module) -> Iterator[Option]:
    """An option for each field of a class; where fields are put together at run time, of all that are declared alike.

    Args:
        sources: Of the build.
        module: Of the class.
        node: The class.
        maker: Module of the function that goes through the fields.
    """
    known = list(fields(sources, module, node).values())
    carried = [each for each in known if each.metadata]
    if not carried and not known:
        carried = [
            each
            for other in sources.holding(f"{maker.path.rpartition('/')[2].removesuffix('.py')} import")
            if maker in [sources.named(base) for base, _ in other.imports.values()]
            for class_ in ast.walk(other.tree)
            if isinstance(class_, ast.ClassDef)
            for each in own_fields(other, class_)
            if each.metadata
        ]
    for each in carried or known:
        plain = Option(
            names=("--" + each.name.replace("_", "-"),),
            place=each.place,
            told=tuple(filter(None, (each.doc, each.module.comment_above(each.line)))),
            negatable=None if carried else _is_switch(each),
            choices=_few(allowed(sources, each.module, each.annotation)),
            kind=each,
        )
        option = _carried(sources, each, plain) if each.metadata else plain
        if option:
            yield option


def _few(found: set[str] | None) -> frozenset[str] | None:
    return frozenset(found) if found else None


def _carried(sources: Sources, each: Field, option: Option) -> Option | None:
    """The option of a field with what it carries; None if it says that it is none."""
    for part in each.metadata:
        if string_of(part):
            return replace(option, told=(*option.told, _words(part)), negatable=False)
        if isinstance(part, ast.Call):
            keywords = {one.arg: one.value for one in part.keywords if one.arg}
            if _is_true(keywords.get("no_cli")):
                return None
            aliases = listed(sources, each.module, keywords.get("aliases")) or set()
            action = keywords.get("action")
            choices = listed(sources, each.module, keywords.get("choices"))
            return replace(
                option,
                names=(string_of(keywords.get("cli_name")) or option.names[0], *sorted(aliases)),
                told=tuple(filter(None, (*option.told, _words(keywords.get("help")), *_told(part)))),
                deprecated=_is_true(keywords.get("deprecated")) or "deprecat" in last_name(action).lower(),
                negatable=_negatable(sources, each.module, action, None, computed=False),
                choices=_few(choices) or option.choices,
            )
    return None
