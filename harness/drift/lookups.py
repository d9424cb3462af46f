"""One thing that is asked, looked up in a build."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

from harness.drift import deprecations
from harness.drift.asked import Asked, literal_part
from harness.drift.builds import Build
from harness.drift.classes import Field, allowed, class_named, fields, last_name
from harness.drift.declared_options import Option
from harness.drift.findings import What
from harness.drift.readers import declared_as, nearest
from harness.drift.sources import Module, Sources
from harness.engines.engine import EngineSpec


class Found(NamedTuple):
    """What a build says about one name.

    Attributes:
        of_value: Whether it is about the value that is given, and not about the name.
    """

    what: What | Literal["note", "unseen"]
    told: str
    place: str = ""
    of_value: bool = False


def found_of(engine: EngineSpec, build: Build, asked: Asked) -> Iterator[Found]:
    """Everything that does not fit."""
    match asked.kind:
        case "module":
            yield from _module(build, asked)
        case "option" if build.parser.options:
            yield from _option(build, asked)
        case "key" if build.parser.options:
            yield from _key(build, asked)
        case "variable" if asked.name.startswith(engine.prefixes):
            yield from _variable(build, asked)
        case "metric":
            yield from _metric(engine, build, asked)
        case "setting":
            yield from _setting(build, asked)
        case "path":
            yield from _path(build, asked)
        case "log line":
            yield from _log_line(build, asked)


def _path(build: Build, asked: Asked) -> Iterator[Found]:
    if build.reading.text(asked.name) is None:
        if asked.program == "router":
            told = f"path {asked.name}: the router's Python does not have it, and what is compiled is not read"
            yield Found("unseen", told)
        else:
            yield Found("missing", "no route of this build has this path")


def _log_line(build: Build, asked: Asked) -> Iterator[Found]:
    if not any(build.reading.text(each) for each in filter(None, (asked.name, literal_part(asked.name)))):
        yield Found("missing", "no string of this build has this text, which the harness looks for in logs")


def _ended(said: deprecations.Said, *, of_value: bool = False) -> Found:
    debugging = deprecations.DEBUGGING.search(said.text)
    return Found("for debugging" if debugging else "deprecated", said.text, str(said.place), of_value)


def _near(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known)
    return f"; the nearest is {near}" if near else ""


def _module(build: Build, asked: Asked) -> Iterator[Found]:
    if build.sources.named(asked.name) is None:
        yield Found("missing", "this build has no such module")
    for name in (f"python -m {asked.name}", asked.name):
        if said := deprecations.about(build.sources, [name]):
            yield _ended(said[0])
            return


def _option(build: Build, asked: Asked) -> Iterator[Found]:
    option = build.parser.find(asked.name)
    if option is None:
        yield Found("missing", "no such option" + _near(asked.name, build.parser.names))
        return
    yield from _end_of(build, asked.name, option)
    if asked.value and option.choices:
        if not _among(asked.value, option.choices):
            yield Found("unknown value", _takes(option.choices), str(option.place), of_value=True)
        for said in deprecations.about(build.sources, [asked.value], beside=_spellings(asked.name))[:1]:
            yield _ended(said, of_value=True)


def _takes(choices: Iterable[str]) -> str:
    return f"it takes {', '.join(sorted(choices))}"


def _end_of(build: Build, name: str, option: Option) -> Iterator[Found]:
    """What says that an option goes away: what it is declared with, else any sentence of the build about it."""
    itself = deprecations.of_itself(option.told)
    if option.deprecated or itself:
        yield Found("deprecated", itself or "it is declared as deprecated", str(option.place))
        return
    shown, *in_code = _spellings(name)
    said = deprecations.about(build.sources, [shown])
    for each in in_code:
        # A name of the code may be another thing's elsewhere; a class of this name is hardly.
        files = {option.place.path, *(place.path for _, place in build.parser.places)} if each.islower() else None
        said = said or deprecations.about(build.sources, [each], within=files.__contains__ if files else _anywhere)
    if said:
        yield _ended(said[0])


def _anywhere(_path: str) -> bool:
    return True


def _spellings(option: str) -> list[str]:
    """On a command line and, if it cannot be mistaken for a word, in the code."""
    plain = option.lstrip("-").replace("-", "_")
    words = plain.split("_")
    if len(words) == 1:
        return [option]
    camel = "".join(map(str.capitalize, words))
    return list(dict.fromkeys([option, plain, camel, "".join([*map(str.capitalize, words[:-1]), words[-1].upper()])]))


def _among(value: str, choices: Iterable[str]) -> bool:
    return value.lower().replace("-", "_") in {each.lower().replace("-", "_") for each in choices}


def _key(build: Build, asked: Asked) -> Iterator[Found]:
    top, *nested = asked.owner.removeprefix("--").split(".")
    option = build.parser.find(f"--{top}")
    if option is None:
        return  # which is said of the option
    if nested and asked.connector and build.reading.connectors:
        yield from _of_connector(build, asked)
        return
    classes = build.reading.config_class(top) or _classes_of(build.sources, option.kind)
    if nested or not classes:
        yield Found("unseen", f"{asked.owner}.{asked.name}: what may be in it is not declared in this build")
        return
    have = {name: each for where, node in classes for name, each in fields(build.sources, where, node).items()}
    each = have.get(asked.name)
    if each is None:
        yield Found("missing", f"{classes[0][1].name} has no such key" + _near(asked.name, have))
        return
    if not build.reading.of_field(each):
        yield Found("never read", "nothing in this build reads it", str(each.place))
    if told := deprecations.of_itself([each.doc, each.module.comment_above(each.line)]):
        yield Found("deprecated", told, str(each.place))
    yield from _value(build, asked, allowed(build.sources, each.module, each.annotation), str(each.place))


def _classes_of(sources: Sources, each: Field | None) -> list[tuple[Module, ast.ClassDef]]:
    """The classes in the type of a field."""
    if each is None:
        return []
    names = {last_name(node) for node in ast.walk(each.annotation) if isinstance(node, ast.Name | ast.Attribute)}
    found = [class_named(sources, each.module, name) for name in sorted(names)]
    return [known for known in found if known and fields(sources, *known)]


def _value(build: Build, asked: Asked, choices: set[str] | None, place: str) -> Iterator[Found]:
    connectors = build.reading.connectors
    if asked.name == "kv_connector" and connectors and asked.value not in connectors:
        told = "no such connector is registered" + _near(asked.value, connectors)
        yield Found("unknown value", told, of_value=True)
    elif asked.value and choices and not _among(asked.value, choices):
        yield Found("unknown value", _takes(choices), place, of_value=True)
    elif asked.value and choices:
        said = deprecations.about(
            build.sources, [asked.value], beside=[asked.name], within=_not_of_others(build, asked)
        )
        if said:
            yield _ended(said[0], of_value=True)


def _not_of_others(build: Build, asked: Asked) -> Callable[[str], bool]:
    """Whether what a file says concerns the connector that is asked; without one, no connector's does."""
    reading = build.reading

    def counts(path: str) -> bool:
        if asked.connector:
            return not reading.is_of_another(path, asked.connector)
        return not any(reading.is_of_another(path, each) for each in reading.connectors)

    return counts


def _of_connector(build: Build, asked: Asked) -> Iterator[Found]:
    own, others = build.reading.of_key(asked.name, asked.connector)
    if not own:
        elsewhere = f"; {others[0]} reads it, for another connector" if others else ", nor does anything else"
        yield Found("never read", f"no code of {asked.connector} reads it{elsewhere}")


def _variable(build: Build, asked: Asked) -> Iterator[Found]:
    found = build.variable(asked.name)
    said = deprecations.about(build.sources, [asked.name])
    if said:
        yield _ended(said[0])
    elif not found.known:
        prefix = asked.name.partition("_")[0]
        words = {word for text in build.sources.files.values() for word in re.findall(rf"\b{prefix}_[A-Z0-9_]+", text)}
        yield Found("missing", "nothing in this build reads it" + _near(asked.name, words - {asked.name}))
    if found.registered and not found.read:
        yield Found("never read", "it is declared, and nothing reads it", str(found.registered[0]))
    if asked.value and found.choices and not _among(asked.value, found.choices):
        place = str((found.registered or found.read)[0])
        yield Found("unknown value", _takes(found.choices), place, of_value=True)


def _metric(engine: EngineSpec, build: Build, asked: Asked) -> Iterator[Found]:
    declared = build.reading.metrics(asked.name.partition(":")[0] + ":")
    name = declared_as(asked.name, declared)
    if name:
        if told := deprecations.of_itself([declared[name].documentation]):
            yield Found("deprecated", told, str(declared[name].place))
        return
    since = next((each.since for each in engine.metrics if each.sample == asked.name), "")
    if since and _older(build.sources.version, since):
        yield Found("note", f"this build does not have it yet; the harness reads it since {since}")
    else:
        yield Found("missing", "no metric of this build has this name" + _near(asked.name, declared))


def _older(version: str, other: str) -> bool:
    one, two = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (version, other))
    return bool(one) and one < two


def _setting(build: Build, asked: Asked) -> Iterator[Found]:
    first, *rest = asked.name.split(".")
    known = [each for where in build.sources.holding(first) for each in _fields_named(build.sources, where, first)]
    option = build.parser.find("--" + first.replace("_", "-"))
    if not known and option is None and not build.reading.of_key(first)[0]:
        yield Found("missing", "no part of this build's configuration has this name")
        return
    for part in rest:
        inner = [found for each in known for found in _classes_of(build.sources, each)]
        known = [have[part] for found in inner if part in (have := fields(build.sources, *found))]
        if not known:
            yield Found("missing", f"this build's configuration has no {part!r} there")
            return


def _fields_named(sources: Sources, module: Module, name: str) -> Iterator[Field]:
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef) and name in (have := fields(sources, module, node)):
            yield have[name]
