"""Does the code of a build read a name, and whose code is it?"""

from __future__ import annotations

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from harness.drift.classes import Field, allowed, last_name, listed, own_fields
from harness.drift.sources import Module, Place, Sources, string_of

_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@dataclass(frozen=True, eq=False)
class Metric:
    """A metric that a build declares; ``guard``: names of the condition under which it does."""

    name: str
    place: Place
    documentation: str
    guards: frozenset[str] = frozenset()


@dataclass
class Variable:
    """What a build does with an environment variable.

    Attributes:
        registered: Where it is declared.
        read: Where it is read; a register that reads it for others is not enough.
        choices: The values it takes, if these are few.
    """

    registered: list[Place] = field(default_factory=list)
    read: list[Place] = field(default_factory=list)
    choices: set[str] | None = None

    @property
    def known(self) -> bool:
        return bool(self.registered or self.read)


def variable(sources: Sources, name: str) -> Variable:
    """Everything about one environment variable."""
    found = Variable()
    for module in sources.holding(name):
        register = _registers(module, name)
        if register is not None:
            found.registered.append(Place(module.path, register.lineno))
            choices = _choices(sources, module, name)
            found.choices = choices or found.choices
        for place in _read_in(module, name):
            # What a register itself says of a name is how it would be read.
            if register is None or not _is_in(place.line, register):
                found.read.append(place)
    return found


def _registers(module: Module, name: str) -> ast.stmt | ast.expr | None:
    """Where a module declares a variable for others to read: an entry of a table, or a field of a class."""
    for node in module.nodes:
        match node:
            case ast.ClassDef(body=body):
                for each in body:
                    if isinstance(each, ast.Assign) and last_name(each.targets[0]) == name:
                        return each
            case ast.Assign(value=ast.Dict() as table) | ast.AnnAssign(value=ast.Dict() as table):
                for key, value in zip(table.keys, table.values, strict=True):
                    if string_of(key) == name and isinstance(value, ast.Lambda | ast.Call):
                        return value
    return None


def _is_in(line: int, node: ast.stmt | ast.expr) -> bool:
    return node.lineno <= line <= (node.end_lineno or node.lineno)


def _read_in(module: Module, name: str) -> Iterator[Place]:
    """``envs.NAME``, ``environ["NAME"]``, ``getenv("NAME")``, ``"NAME" in environ``, a local list of names."""
    for node in module.nodes:
        match node:
            case ast.Attribute(attr=attr, ctx=ast.Load()) if attr == name:
                yield Place(module.path, node.lineno)
            case ast.Name(id=word, ctx=ast.Load()) if word == name:
                yield Place(module.path, node.lineno)
            case ast.Call(args=args) if any(string_of(each) == name for each in args):
                if not re.search(r"deprecat|warn|print|log", last_name(node.func), re.IGNORECASE):
                    yield Place(module.path, node.lineno)
            case ast.Subscript(slice=inside, ctx=ast.Load()) if string_of(inside) == name:
                yield Place(module.path, node.lineno)
            case ast.Compare(left=left) if string_of(left) == name:
                yield Place(module.path, node.lineno)
            case ast.Assign(value=ast.Constant(value=word)) if word == name:
                yield Place(module.path, node.lineno)


def _choices(sources: Sources, module: Module, name: str) -> set[str] | None:
    """Of a list that stands behind the name where it is declared; else of an annotation, which may know fewer."""
    for node in module.nodes:
        match node:
            case ast.Call(args=[first, *rest]) if string_of(first) == name:
                for each in rest:
                    if found := listed(sources, module, each):
                        return found
    for node in module.nodes:
        match node:
            case ast.AnnAssign(target=ast.Name(id=target), annotation=annotation) if target == name:
                return allowed(sources, module, annotation)
    return None


class Reading:
    """Who reads what in a build."""

    def __init__(self, sources: Sources) -> None:
        self.sources = sources
        self._metrics: dict[str, dict[str, Metric]] = {}

    @cached_property
    def connectors(self) -> dict[str, str]:
        """Module of each connector by its name: ``register_connector("Name", "module", "Class")``."""
        found: dict[str, str] = {}
        for module in self.sources.holding("register_connector("):
            for node in module.nodes:
                match node:
                    case ast.Call(args=[name, where, *_]) if last_name(node.func) == "register_connector":
                        if string_of(name) and string_of(where):
                            found.setdefault(string_of(name), string_of(where))
        return found

    @cached_property
    def _owned(self) -> tuple[str, dict[str, set[str]]]:
        """The folder that most connectors are below, and of each part of it the connectors that live there."""
        split = [module.split(".") for module in self.connectors.values()]
        shared = Counter("/".join(parts[:end]) for parts in split for end in range(1, len(parts)))
        root = max((each for each, number in shared.items() if 2 * number > len(split)), key=len, default="")
        owners: dict[str, set[str]] = {}
        for name, parts in zip(self.connectors, split, strict=True):
            path = "/".join(parts)
            if path.startswith(f"{root}/"):
                owners.setdefault(path.removeprefix(f"{root}/").split("/")[0], set()).add(name)
        return f"{root}/", owners

    def is_of_another(self, path: str, connector: str) -> bool:
        """Whether a file belongs to connectors of which this is none."""
        root, owners = self._owned
        if not connector or not path.startswith(root):
            return False
        first = path.removeprefix(root).split("/")[0].removesuffix(".py")
        return connector not in owners.get(first, {connector})

    def of_key(self, name: str, connector: str = "") -> tuple[list[Place], list[Place]]:
        """Where a key of a table is taken out of it: by code that a connector runs, and by that of others."""
        own: list[Place] = []
        others: list[Place] = []
        for module in self.sources.holding(f'"{name}"', f"'{name}'"):
            places = [Place(module.path, getattr(node, "lineno", 0)) for node in module.nodes if _takes(node, name)]
            (others if self.is_of_another(module.path, connector) else own).extend(places)
        return own, others

    def of_field(self, each: Field) -> bool:
        """Whether any code reads a field of a class."""
        pattern = re.compile(rf"\.{re.escape(each.name)}\b|[\"']{re.escape(each.name)}[\"']")
        return any(pattern.search(text) for text in self.sources.files.values() if each.name in text)

    def config_class(self, option: str) -> list[tuple[Module, ast.ClassDef]]:
        """Classes named as an option is, but for dashes and letters' case."""
        flat = option.replace("-", "").lower()
        found = []
        for name, paths in self.sources.classes.items():
            if name.lower() == flat:
                for module in filter(None, map(self.sources.module, paths)):
                    definition = module.definitions.get(name)
                    if isinstance(definition, ast.ClassDef) and any(own_fields(module, definition)):
                        found.append((module, definition))
        return found

    def metrics(self, prefix: str) -> dict[str, Metric]:
        """Every metric whose name begins so, by its name in the code."""
        if prefix in self._metrics:
            return self._metrics[prefix]
        found = self._metrics.setdefault(prefix, {})
        spelt = re.compile(re.escape(prefix) + r"[a-z0-9_:]+")
        for module in self.sources.holding(f'"{prefix}', f"'{prefix}"):
            guards = _guards(module, prefix)
            for node in module.nodes:
                name, told = _declared(node)
                if spelt.fullmatch(name):
                    place = Place(module.path, getattr(node, "lineno", 0))
                    found.setdefault(name, Metric(name, place, told, guards.get(name, frozenset())))
        return found

    def text(self, wanted: str) -> Place | None:
        """Where a text stands in a string of the code."""
        for path, text in self.sources.files.items():
            if wanted in text and (module := self.sources.module(path)):
                for each in module.texts:
                    if wanted in each.text and not each.owner:
                        return each.place
                for node in module.nodes:
                    if isinstance(node, ast.ClassDef) and node.name == wanted:
                        return Place(path, node.lineno)
        first = wanted.partition(" ")[0]
        for module in self.sources.holding(first):
            for each in module.texts:
                if wanted in each.text:
                    return each.place
        return None


def _takes(node: ast.AST, name: str) -> bool:
    match node:
        case ast.Call(args=args):
            return any(string_of(each) == name for each in args)
        case ast.Subscript(slice=inside):
            return string_of(inside) == name
        case ast.Compare(left=left):
            return string_of(left) == name
    return False


def _declared(node: ast.AST) -> tuple[str, str]:
    """Name and description of a metric, of a call that makes one or of a row from which one is made."""
    match node:
        case ast.Call(args=args, keywords=keywords):
            named = {each.arg: each.value for each in keywords if each.arg}
            name = named.get("name") or (args[0] if args else None)
            words = named.get("documentation") or (args[1] if len(args) > 1 else None)
            return string_of(name), " ".join(string_of(words).split())
        case ast.Tuple(elts=[name, words, *_]) | ast.List(elts=[name, words, *_]) if " " in string_of(words):
            return string_of(name), " ".join(string_of(words).split())
    return "", ""


def _guards(module: Module, prefix: str) -> dict[str, frozenset[str]]:
    """Of metrics that are declared below an ``if``: the names of constants in its condition."""
    found: dict[str, frozenset[str]] = {}
    for node in module.nodes:
        if isinstance(node, ast.If):
            names = {last_name(each) for each in ast.walk(node.test)}
            loud = frozenset(name for name in names if re.fullmatch(r"[A-Z][A-Z0-9]*_[A-Z0-9_]+", name))
            if loud:
                for each in (part for one in node.body for part in ast.walk(one)):
                    if isinstance(each, ast.Constant) and str(each.value).startswith(prefix):
                        found[str(each.value)] = found.get(str(each.value), frozenset()) | loud
    return found


def declared_as(sample: str, metrics: Iterable[str]) -> str:
    """The metric behind a sample of a page; empty if there is none."""
    known = set(metrics)
    spelt = [sample, *(sample.removesuffix(end) for end in _SUFFIXES if sample.endswith(end))]
    return next((each for each in spelt if each in known), "")


def nearest(name: str, known: Iterable[str]) -> str:
    """What comes nearest to a name; empty if nothing is near."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)), "")
