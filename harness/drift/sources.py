"""The sources of a build: Python files by path, read by :mod:`ast` and never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from harness.base.texts import without_sequences

_NOT_THE_ENGINE = re.compile(r"(?:^|/)(?:tests?|testing|benchmarks?)/|(?:^|/)(?:test_|conftest)[^/]*$")
_HOPS = 8  # of names that one module takes from another
_TEXT_OF_VALUE = "{}"


@dataclass(frozen=True)
class Place:
    """A line of a file."""

    path: str
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Text:
    """A string of the code or a comment, in one line.

    Attributes:
        owner: First name in the code below a comment; empty for strings.
    """

    place: Place
    text: str
    owner: str = ""


Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


class Module:
    """One file, parsed."""

    def __init__(self, path: str, text: str, tree: ast.Module) -> None:
        self.path, self.text, self.tree = path, text, tree

    @cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def imports(self) -> dict[str, tuple[str, str]]:
        """Names taken from elsewhere, in functions too: module, and the name there; empty for the module itself."""
        found: dict[str, tuple[str, str]] = {}
        folder = self.path.removesuffix(".py").removesuffix("/__init__").split("/")
        for node in self.nodes:
            if isinstance(node, ast.ImportFrom):
                up = len(folder) - node.level + (1 if self.path.endswith("/__init__.py") else 0)
                base = ".".join([*folder[:up], *([node.module] if node.module else [])]) if node.level else node.module
                for each in node.names:
                    found.setdefault(each.asname or each.name, (base or "", each.name))
            elif isinstance(node, ast.Import):
                for each in node.names:
                    found.setdefault(each.asname or each.name, (each.name, ""))
        return found

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """What stands at the top of the module by name; of several the first."""
        found: dict[str, Definition] = {}
        for node in _top(self.tree.body):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(node.name, node)
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        found.setdefault(target.id, node)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.setdefault(node.target.id, node)
        return found

    def comment_above(self, line: int) -> str:
        """The comment that ends on the line above ``line``, in one line; empty without one."""
        first = line - 1
        while first >= 1 and self.lines[first - 1].lstrip().startswith("#"):
            first -= 1
        return " ".join(each.strip().lstrip("#").strip() for each in self.lines[first : line - 1])

    @cached_property
    def texts(self) -> list[Text]:
        """Strings, those that explain a field too, and comments. Docstrings of modules, classes, functions are not."""
        documentation = set(_docstrings(self.nodes))
        inside = {id(part) for node in self.nodes if isinstance(node, ast.JoinedStr) for part in node.values}
        found = [
            Text(Place(self.path, node.lineno), " ".join(without_sequences(string_of(node)).split()))
            for node in self.nodes
            if (isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)))
            and id(node) not in documentation
            and id(node) not in inside
        ]
        return found + list(self._comments())

    def _comments(self) -> Iterator[Text]:
        strings = {
            line
            for node in self.nodes
            if isinstance(node, ast.Constant | ast.JoinedStr) and (node.end_lineno or 0) > node.lineno
            for line in range(node.lineno + 1, (node.end_lineno or 0) + 1)
        }
        first = 0
        for number, line in enumerate([*self.lines, ""], 1):
            if line.lstrip().startswith("#") and number not in strings:
                first = first or number
            elif first:
                owner = re.match(r"\s*[\"']?([A-Za-z_]\w*)", line)
                yield Text(Place(self.path, first), self.comment_above(number), owner[1] if owner else "")
                first = 0


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those in ``if`` and ``try`` too."""
    for node in body:
        yield node
        for part in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try):
                yield from _top(getattr(node, part, []))


def _docstrings(nodes: list[ast.AST]) -> Iterator[int]:
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield id(first.value)


def string_of(node: ast.AST | None) -> str:
    """A string as it will read, ``{}`` for what is put in; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(string_of(part) if isinstance(part, ast.Constant) else _TEXT_OF_VALUE for part in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return string_of(left) + string_of(right)
    return ""


class Sources:
    """Everything that a build has in Python.

    Args:
        name: Of the distribution, for people.
        version: Of the build; empty if nobody knows.
        files: Text of each Python file by its path from the folder that is imported from, with slashes. Tests and
            benchmarks are left out: what only they read, no server reads.
        requires: Its requirements, one line each.
    """

    def __init__(self, name: str, version: str, files: Mapping[str, str], requires: tuple[str, ...] = ()) -> None:
        self.name, self.version, self.requires = name, version, requires
        self.files = {path: text for path, text in sorted(files.items()) if not _NOT_THE_ENGINE.search(path)}
        self.unreadable: list[str] = []
        self._modules: dict[str, Module | None] = {}

    def __str__(self) -> str:
        return f"{self.name} {self.version}".strip()

    def holding(self, *words: str) -> list[Module]:
        """Files with one of these words somewhere."""
        found = (path for path, text in self.files.items() if any(word in text for word in words))
        return [module for module in map(self.module, found) if module]

    def near(
        self, words: Iterable[str], what: re.Pattern[str], letters: int, within: Callable[[str], bool]
    ) -> list[Module]:
        """Files in which one of these words stands at most so many letters away from what a pattern matches."""
        names = list(words)
        found = []
        for path, text in self.files.items():
            for word in names if any(word in text for word in names) and within(path) else ():
                places = (each.start() for each in re.finditer(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text))
                if any(what.search(text, max(0, at - letters), at + letters) for at in places):
                    found.append(path)
                    break
        return [module for module in map(self.module, found) if module]

    def module(self, path: str) -> Module | None:
        """A file, parsed; None if it is not there or no Python of ours, which is remembered."""
        if path not in self._modules:
            text = self.files.get(path)
            tree = self._parsed(path, text) if text is not None else None
            self._modules[path] = Module(path, text or "", tree) if tree else None
        return self._modules[path]

    def _parsed(self, path: str, text: str) -> ast.Module | None:
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            self.unreadable.append(path)
            return None

    def named(self, module: str) -> Module | None:
        """A module by its dotted name."""
        base = module.replace(".", "/")
        paths = (f"{base}.py", f"{base}/__init__.py")
        return next(filter(None, map(self.module, paths)), None)

    def resolve(self, module: Module, name: str, hops: int = _HOPS) -> tuple[Module, Definition | None] | None:
        """Where a name of a module is defined; a module itself has no definition. None if it is not ours."""
        if name in module.definitions:
            return module, module.definitions[name]
        if name not in module.imports or not hops:
            return None
        base, there = module.imports[name]
        whole = self.named(f"{base}.{there}" if there else base)
        part = self.named(base) if there else None
        if part and part is not module and (found := self.resolve(part, there, hops - 1)):
            return found
        return (whole, None) if whole else None

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Paths of the files that define a class, by its name."""
        found: dict[str, list[str]] = {}
        for path, text in self.files.items():
            for name in re.findall(r"^class (\w+)", text, re.MULTILINE):
                found.setdefault(name, []).append(path)
        return found
