"""What an engine build knows, and how a case written for the newest one is spelt for an older one.

A case and an engine module use the newest spelling. :func:`adapt` translates what a build spells in another way, and
:func:`unknown` names what it does not know at all, before anything is started.
"""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.base.domain import Server
from harness.base.settings import FlagValue
from harness.cases.model import Case

FLAGS, VARIABLES = "flags", "environment variables"


@dataclass(frozen=True)
class Capabilities:
    """What an engine's server knows, as the build itself says it.

    Attributes:
        options: Option strings that it takes, each with its dashes: ``--port``, ``--no-enable-eplb``, ``-tp``.
        variables: Environment variables that it reads.
        choices: Values of those variables that take one of a few.
        mentioned: Options that are not listed where the build was asked, and that its sources name: it may take them.
        command: How its server is started by the command that users type; empty where the build lacks it.
        refused: Why a way of asking, by what it is, gave no answer.
        unverified: Of ``FLAGS`` and ``VARIABLES`` those of which the build says nothing in any way.
        doubts: What a case sets and ``mentioned`` has, each with its key.
        asked: When, as ISO 8601; empty: never mind.
    """

    options: tuple[str, ...]
    variables: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    mentioned: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    unverified: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    asked: str = ""

    @property
    def not_verified(self) -> str:
        """What nobody could verify before the servers were started, and why, in words; empty if all was."""
        why = "; ".join(f"{way}: {reason}" for way, reason in self.refused.items())
        whole = f"{' and '.join(self.unverified)} were not verified beforehand" if self.unverified else ""
        single = f"not listed by the build, though its sources name it: {', '.join(self.doubts)}" if self.doubts else ""
        return "; ".join(filter(None, [whole, single, why if whole or single else ""]))

    def knows(self, name: str) -> bool:
        """Whether it knows an option or an environment variable; where the build does not say, it may.

        Abbreviations, which argparse takes, count as unknown: the next option with the same beginning breaks them. Of
        ``--option=value`` and of ``--option.key``, a key of its table, the option counts.
        """
        return (FLAGS if name.startswith("-") else VARIABLES) in self.unverified or self.lists(name)

    def lists(self, name: str) -> bool:
        """The same, and only what the build says itself."""
        option = name.partition("=")[0]
        return {option, option.partition(".")[0]} & {*self.options, *self.variables} != set()

    def takes(self, variable: str, value: str) -> bool:
        """Whether a variable may have a value; some disregard its case."""
        choices = self.choices.get(variable, ())
        return not choices or value.lower() in map(str.lower, choices)

    def nearest(self, name: str) -> str:
        """What was probably meant: what ``name`` abbreviates, or the most similar one; empty if none is similar."""
        known = self.options if name.startswith("-") else self.variables
        longer = [each for each in known if each.startswith(name)]
        return next(iter(longer or difflib.get_close_matches(name, known, n=1, cutoff=0.7)), "")


@dataclass(frozen=True)
class Rename:
    """One setting, spelt in two ways. Options begin with ``--``; anything else is an environment variable.

    Attributes:
        new: The newest spelling; empty for a switch that newer builds do without.
        old: What older builds call it; of an option whose value is a table, the options that they have for its keys.
    """

    new: str
    old: str | Mapping[str, str]


def adapt(
    server: Server, capabilities: Capabilities, renames: Sequence[Rename]
) -> tuple[Server, list[tuple[str, str]]]:
    """``server`` as this build spells it, and what was translated to what.

    A setting is translated only if the build lacks the new spelling and has the old one, and then wholly or not at all.
    """
    program, options = _split(server.argv)
    env, done = dict(server.env), list[tuple[str, str]]()
    for rename in renames:
        if not rename.new:
            if isinstance(rename.old, str) and not capabilities.knows(rename.old) and rename.old in env:
                del env[rename.old]
                done.append((rename.old, "left out"))
            continue
        if capabilities.knows(rename.new):
            continue
        spelt = _respelt(rename, env, options)
        if spelt and all(capabilities.lists(name) for name in spelt):
            if rename.new in env:
                del env[rename.new]
            options = [each for each in options if each[0] != rename.new]
            env |= {name: value[0] for name, value in spelt.items() if not name.startswith("--")}
            options += [(name, *value) for name, value in spelt.items() if name.startswith("--")]
            done.append((rename.new, ", ".join(spelt)))
    argv = (*program, *(part for option in options for part in option))
    return replace(server, argv=argv, env=env), done


def _split(argv: Sequence[str]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """The program, and each option with its values."""
    starts = [index for index, part in enumerate(argv) if part.startswith("--")] + [len(argv)]
    return argv[: starts[0]], [tuple(argv[start:end]) for start, end in itertools.pairwise(starts)]


def _respelt(rename: Rename, env: Mapping[str, str], options: Sequence[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The old spelling with its values; empty if the setting is not used, or has no old spelling."""
    found = [option[1:] for option in options if option[0] == rename.new]
    found += [(env[rename.new],)] if rename.new in env else []
    if len(found) != 1:
        return {}
    values = found[0]
    if isinstance(rename.old, str):
        return {rename.old: values} if rename.old.startswith("--") or len(values) == 1 else {}
    table: dict[str, FlagValue] = json.loads(values[0])
    if not table.keys() <= rename.old.keys():
        return {}
    return dict(_switch(rename.old[key], value) for key, value in table.items())


def _switch(option: str, value: FlagValue) -> tuple[str, tuple[str, ...]]:
    if isinstance(value, bool):
        return option if value else f"--no-{option.removeprefix('--')}", ()
    return option, (str(value),)


def unknown(
    case: Case,
    servers: Sequence[Server],
    capabilities: Capabilities,
    renames: Sequence[Rename],
    prefixes: Sequence[str],
) -> list[str]:
    """Every option, environment variable and value that this build does not know, each with its key.

    Of options and variables with what comes nearest, of values with those that it does know.

    Args:
        case: That the servers are of.
        servers: Of the engine itself, adapted.
        capabilities: Of the build.
        renames: Of the engine.
        prefixes: What names of the engine's own environment variables begin with; no others are looked at.
    """
    replaced = {old: rename.new for rename in renames for old in _olds(rename) if rename.new}
    found = []
    for server in servers:
        for key, name in _names(case, server, prefixes):
            if name in capabilities.mentioned:
                continue
            if not capabilities.knows(name):
                newer, near = replaced.get(name), capabilities.nearest(name)
                advice = f"it is {newer} now" if newer else f"the nearest it knows is {near}" if near else ""
                found.append(f"{key}: no {name}" + (f", {advice}" if advice else ""))
            elif not capabilities.takes(name, server.env.get(name, "")):
                found.append(f"{key}: no {server.env[name]}, it is one of {', '.join(capabilities.choices[name])}")
    return list(dict.fromkeys(found))


def doubtful(
    case: Case, servers: Sequence[Server], capabilities: Capabilities, prefixes: Sequence[str]
) -> tuple[str, ...]:
    """Every option that the build does not list and may take all the same, with its key.

    Arguments as of :func:`unknown`.
    """
    names = [pair for server in servers for pair in _names(case, server, prefixes)]
    return tuple(dict.fromkeys(f"{name} ({key})" for key, name in names if name in capabilities.mentioned))


def _olds(rename: Rename) -> Sequence[str]:
    return [rename.old] if isinstance(rename.old, str) else list(rename.old.values())


def _names(case: Case, server: Server, prefixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Key and name of every option, and of every environment variable with one of ``prefixes``."""
    _, options = _split(server.argv)
    for option, *_ in options:
        yield _key(case, server, "flags", (option.removeprefix("--"), option.removeprefix("--no-"))), option
    for table in ("env", "pass_env"):
        for name in getattr(server, table):
            if name.startswith(tuple(prefixes)):
                yield _key(case, server, table, (name,)), name


def _key(case: Case, server: Server, table: str, names: Sequence[str]) -> str:
    """Where the case sets one of ``names``; what no case sets comes from the engine's module."""
    roles = [(f"roles.{role}", settings) for role, settings in case.roles.items() if role == server.role]
    for where, settings in (*roles, ("serve", case.serve.model_dump())):
        for name in names:
            if name in settings.get(table, {}):
                return f"{where}.{table}.{name}"
    return f"set by the harness for {server.name}"
