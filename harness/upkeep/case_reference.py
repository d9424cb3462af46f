"""The page about case files: every key with its type, its default and what it means, made from the schema."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.upkeep import case_schema
from harness.upkeep.tables import table

_HEAD = """\
# The case file

<!-- written by `harness generate` from the models of harness/cases, checks and protocols; change the text there -->

A case file says what a case shows, how its servers are started, what they are asked and what is judged. Files lie over
one another: [`_defaults.toml`](../baselines/_defaults.toml), the `[defaults]` of the suite's `_suite.toml` and the case
itself, each with its table for the platform on top; then comes the point of the `[matrix]`. What is required may stand
in any of them. A default in *italics* is from `_defaults.toml`. `harness show CASE` prints what comes of it all.
"""
_WORDS = {"string": "text", "boolean": "true or false", "integer": "whole number", "number": "number", "date": "date"}
_WHOLE_FILE = "Layer"
"""The definition that is a case file again."""

Schema = Mapping[str, Any]
Keys = tuple[str, ...]


def page(cases: Path) -> str:
    """The page, with the defaults from this folder of case files."""
    given = tomllib.loads((cases / "_defaults.toml").read_text())
    schema = case_schema.of_a_file()
    return "\n".join([_HEAD, *_Page(schema["$defs"], given).section((), "Top level", schema)])


class _Page:
    def __init__(self, definitions: Schema, given: Schema) -> None:
        self._definitions = definitions
        self._given = given
        self._described: dict[str, str] = {_WHOLE_FILE: "Top level"}
        """Title of the section in which a definition is described: one, wherever it occurs."""

    def section(self, path: Keys, title: str, schema: Schema, known: Schema | None = None) -> Iterator[str]:
        """A table of a case file, and the tables in it.

        Args:
            path: Of the table.
            title: Of the section.
            schema: Of the table.
            known: Keys that are described elsewhere.
        """
        keys = {name: value for name, value in schema["properties"].items() if name not in (known or {})}
        inside = [text for name, value in keys.items() for text in self._inside((*path, name), value)]
        yield f"## {title}\n"
        if about := _about(title, schema):
            yield f"{about}\n"
        rows = [["key", "type", "default", "meaning"]]
        for name, value in keys.items():
            required = name in schema.get("required", ())
            meaning = " ".join(self._meaning(value).split())
            rows.append([f"`{name}`", self._type(value), self._default((*path, name), value, required), meaning])
        if keys:
            yield table([[cell.replace("|", r"\|") for cell in row] for row in rows]) + "\n"
        yield from inside

    def _inside(self, path: Keys, value: Schema) -> Iterator[str]:
        """The sections of the tables that a key has in it."""
        if "oneOf" in value:
            yield from self._alternatives(path, value)
        for below, name in _tables(path, value):
            if name not in self._described:
                title = ".".join(below)
                self._described[name] = f"`[[{title}]]`" if value.get("type") == "array" else f"`[{title}]`"
                yield from self.section(below, self._described[name], self._definitions[name])

    def _alternatives(self, path: Keys, value: Schema) -> Iterator[str]:
        """One of several tables, told apart by the value of a key: what all have, and what each has beside it."""
        found = [self._definitions[_name(each)] for each in value["oneOf"]]
        first, *others = [each["properties"] for each in found]
        common = {name: key for name, key in first.items() if all(each.get(name) == key for each in others)}
        which = {
            name: [each["properties"][name]["const"] for each in found] for name in first if "const" in first[name]
        }
        common = {**{name: {"enum": values} for name, values in which.items()}, **common}
        title = f"`[{'.'.join(path)}]`"
        yield from self.section(path, title, {**value, "properties": common, "required": found[0]["required"]})
        for each in found:
            told = ", ".join(f'`{name} = "{each["properties"][name]["const"]}"`' for name in which)
            yield from self.section(path, f"{title} with {told}", each, common)

    def _type(self, value: Schema) -> str:
        """In words of TOML, with the values or the range that are allowed."""
        if "$ref" in value:
            return f"table: see {self._described[_name(value)]}"
        if "anyOf" in value or "enum" in value:
            several = [self._type(each) for each in value.get("anyOf", ()) if each.get("type") != "null"]
            return " or ".join(dict.fromkeys([*several, *(f"`{each}`" for each in value.get("enum", ()))]))
        if value.get("type") == "array":
            return f"list of {self._type(value['items'])}" if value.get("items") else "list"
        if value.get("type") == "object" or "oneOf" in value:
            return "; ".join(["table", *(f"each: {self._type(each)}" for each in _by_name(value))])
        return _WORDS.get(value.get("format", value.get("type", "")), "anything") + _range(value)

    def _default(self, path: Keys, value: Schema, required: bool) -> str:
        if any(_tables(path, value)) or "oneOf" in value:
            return ""  # of the keys in it
        found: Any = self._given
        for part in path:
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None:
            return f"*`{json.dumps(found)}`*"
        if required:
            return "required"
        return "" if value.get("default") is None else f"`{json.dumps(value['default'])}`"

    def _meaning(self, value: Schema) -> str:
        """What a key means; of a table that says nothing itself, the first line of its section."""
        if "description" in value or "$ref" not in value:
            return str(value.get("description", ""))
        name = _name(value)
        return _about(self._described[name], self._definitions[name]).partition("\n")[0]


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _tables(path: Keys, value: Schema) -> Iterator[tuple[Keys, str]]:
    """The definitions of tables that a value has in it, and where they are."""
    if "$ref" in value:
        yield path, _name(value)
    for each in value.get("anyOf", ()):
        yield from _tables(path, each)
    if isinstance(value.get("items"), dict):
        yield from _tables(path, value["items"])
    for each in _by_name(value):
        yield from _tables((*path, "NAME"), each)


def _by_name(value: Schema) -> Iterator[Schema]:
    """What the values of a table may be whose keys anybody chooses."""
    found = [*value.get("patternProperties", {}).values(), value.get("additionalProperties")]
    yield from (each for each in found if isinstance(each, dict) and each)


def _range(value: Schema) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    parts = [f"{word} {json.dumps(value[name])}" for name, word in words.items() if name in value]
    return f", {' '.join(parts)}" if parts else ""


def _about(title: str, schema: Schema) -> str:
    """The docstring of a table as Markdown, without its title where it begins with that."""
    text = re.sub(r"(?::\w+:)?`+~?([^`]*)`+", r"`\1`", schema.get("description", ""))
    without = re.sub(rf"^{re.escape(title)}[.:]\s*", "", text)
    return without[:1].upper() + without[1:]
