"""Which flags and variables the server of a build knows, how it is started, and whether a case fits.

A build is asked in several ways, from the fastest to what it offers everybody: its argument parser, the help of the
command that its users type, its sources read as text. No way is needed: where none works the case runs, and its result
says that flags were not verified, and why.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from signal import Signals

from pydantic import TypeAdapter, ValidationError

from harness.base import programs, secrets
from harness.base.clock import Deadline, utc_now
from harness.base.domain import Server
from harness.base.errors import CannotJudge, UsageError
from harness.base.texts import shortened
from harness.engines import help_text
from harness.engines.capabilities import FLAGS, VARIABLES, Capabilities, adapt, doubtful, unknown
from harness.engines.engine import EngineSpec
from harness.engines.probes import sources_probe
from harness.host import answer_cache, files, machine
from harness.host.data_files import cache_folder
from harness.logs.root_cause import root_cause
from harness.plan import limits
from harness.run import ask_together
from harness.run.ask_engine import Ask, Build, asker, environment
from harness.run.ask_together import Beside
from harness.run.context import Context

_CAPABILITIES = TypeAdapter(Capabilities)
_SOURCES = programs.text(sources_probe)
_REFUSAL = timedelta(days=1)
"""How long it counts that a build did not answer: unlike an answer, it may be this machine's doing."""
_NOT_UNDERSTOOD = f"lists no {' and no '.join(sorted(help_text.SURE))}: a form that is not understood"
_LONGEST = 300  # characters of a reason


@dataclass(frozen=True)
class _Answer:
    """What a program of :mod:`harness.engines.probes` prints; None is what it did not look for, or could not find."""

    options: tuple[str, ...] | None = None
    variables: tuple[str, ...] | None = None
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


_ANSWER = TypeAdapter(_Answer)


def ask(context: Context, beside: Callable[[Context, Build], Beside | None] = lambda *_: None) -> None:
    """Ask once per build: write the versions into ``case.json`` and what the build knows into ``capabilities.json``.

    Args:
        context: Of the run.
        beside: What else is to be asked of the build, where it is asked at all.

    Raises:
        CannotJudge: The engine is not there, or its interpreter does not run.
    """
    engine, runtime = context.engine, context.runtime
    build = environment(engine, runtime.engine_python, asker(context))
    where = runtime.environment if runtime.container else runtime.engine_python
    known_by = {"versions": build.versions, "build": files.digest_text(where, build.state)}
    context.rundir.save(context.prepared.model_copy(update=known_by))
    if not engine.probe:
        return

    every = Deadline(limits.flags(context.case), context.clock)

    def one_way() -> Ask:
        return asker(context, every.cut(limits.one_way(context.case)))

    known = capabilities(
        engine, build, where, runtime.engine_python, one_way, context.progress.note, beside(context, build)
    )
    context.rundir.write("capabilities", Capabilities, known)
    if engine.command and not known.command:
        lacks = "" if build.starts.command else ": the build has no such command"
        context.progress.note(f"{engine.name} is run as a module and not as `{shlex.join(engine.command)}`{lacks}")
    for way, why in known.refused.items():
        context.progress.note(f"asking {engine.name}: {way}: {why}")
    if known.not_verified:
        context.progress.note(f"{' and '.join(known.unverified)} are not verified beforehand")


def capabilities(
    engine: EngineSpec,
    build: Build,
    where: str,
    python: str,
    one_way: Callable[[], Ask],
    note: Callable[[str], None],
    beside: Beside | None = None,
) -> Capabilities:
    """What a build knows, asked or kept from an earlier run; kept is also that it did not say.

    Args:
        engine: Its module.
        build: The build.
        where: What stands for the build's place in the key of its kept answer: image or interpreter.
        python: The engine's interpreter, as it is called.
        one_way: Gives what runs a command, within a limit of its own for each way of asking.
        note: Called before what takes seconds.
        beside: Asked in the same process, if anything is asked.
    """
    if there := kept(engine, build, where):
        return there
    note(f"asking {engine.name} for its flags, which takes seconds; the next run knows")
    found = _asked(engine, build, python, one_way, beside)
    with suppress(OSError):  # the canary says that the cache cannot be written to
        answer_cache.keep(_answer(engine, build, where), _CAPABILITIES, found)
    return found


def kept(engine: EngineSpec, build: Build, where: str) -> Capabilities | None:
    """What is known of a build from an earlier run; None if nothing is that still counts. Arguments as above."""
    found = answer_cache.read(_answer(engine, build, where), _CAPABILITIES)
    return None if found is None or (found.unverified and _old(found.asked)) else found


def _answer(engine: EngineSpec, build: Build, where: str) -> Path:
    return cache_folder("capabilities") / f"{files.digest_text(engine.probe, where, build.state)}.json"


def _old(asked: str) -> bool:
    try:
        return utc_now() - datetime.fromisoformat(asked) > _REFUSAL
    except (ValueError, TypeError):
        return True


def _asked(
    engine: EngineSpec, build: Build, python: str, one_way: Callable[[], Ask], beside: Beside | None
) -> Capabilities:
    parsed, start = (python, "-c", engine.probe), build.starts.command
    alone = ask_together.asker(python, [parsed, *([(*start, engine.helps[0])] if start else [])], beside, one_way)
    refused: dict[str, str] = {}
    silent: set[str] = set()

    def tried(way: str, argv: Sequence[str]) -> str | None:
        """What the command printed, if it ended well."""
        try:
            status, output = alone(argv)
        except CannotJudge as error:
            refused[way] = _reason(str(error))
            silent.add(way)
            return None
        if status != 0:
            cause = root_cause(output, engine.echoes)
            refused[way] = _reason(f"{_ended(status)}: {cause or 'no error in its output'}")
            return None
        return output

    parser = _parsed(tried("its argument parser", parsed))
    if parser is None:
        refused.setdefault("its argument parser", "no answer in its output")
        parser = _Answer()
    refused |= {f"its {name}, imported": _reason(error) for name, error in parser.errors.items()}
    if parser.options is not None and not help_text.SURE.issubset(parser.options):
        refused["its options, imported"] = _NOT_UNDERSTOOD
        parser = replace(parser, options=None)
    command, by, listed = _started(engine, build, tried, refused, silent, needed=parser.options is None)
    sources = _Answer()
    if parser.options is None or parser.variables is None:
        question = json.dumps({"package": engine.name, "prefixes": engine.prefixes})
        sources = _parsed(tried("its sources", [python, "-c", _SOURCES, question])) or _Answer()
    # A parser that moved may have left another behind: what the help lists is taken too.
    options = tuple(sorted({*(parser.options or ()), *listed}))
    variables = parser.variables or sources.variables or ()
    return Capabilities(
        options,
        variables,
        parser.choices,
        mentioned=() if parser.options or not listed else tuple(sorted({*(sources.options or ())} - listed)),
        listed_by="its argument parser" if parser.options else by,
        command=command,
        refused=refused,
        unverified=(*([] if options else [FLAGS]), *([] if variables else [VARIABLES])),
        asked=utc_now().isoformat(),
    )


def _started(
    engine: EngineSpec,
    build: Build,
    tried: Callable[[str, Sequence[str]], str | None],
    refused: dict[str, str],
    silent: set[str],
    *,
    needed: bool,
) -> tuple[tuple[str, ...], str, frozenset[str]]:
    """The command that starts a server, empty if it is to be run as its module; whose help came, and its options.

    A command that cannot even print its help does not start a server either, unless it is the help that breaks: so the
    module counts only if its own help comes.

    Args:
        engine: Its module.
        build: The build.
        tried: Runs a command.
        refused: Gets why a help says nothing.
        silent: Gets which of these commands did not answer in time.
        needed: Whether the options are known in no other way.
    """
    typed, slow = shlex.join(engine.command), list[str]()
    ways = ((build.starts.command, typed), (build.starts.module, f"python -m {engine.module}"))
    chosen: tuple[str, ...] | None = None
    for start, named in ways:
        for option in engine.helps if start else ():
            way = f"`{named} {option}`"
            output = tried(way, [*start, option])
            if output is None and "status 2" not in refused[way]:
                slow += [named] if way in silent else []
                break  # it is not this option that it does not take
            if output is None:
                continue
            chosen = start if chosen is None else chosen
            if listed := help_text.options(output, engine.help_ends):
                return chosen if chosen == build.starts.command else (), way, listed
            refused[way] = _NOT_UNDERSTOOD
        if chosen and not needed:
            break
    if chosen is None and slow == [ways[1][1]]:
        return (), "", frozenset()  # what users type broke, and the module was only slow, as on a busy machine
    # If neither prints its help, what users type is started.
    return build.starts.command if chosen in (None, build.starts.command) else (), "", frozenset()


def _reason(text: str) -> str:
    return shortened(secrets.mask(" ".join(text.split())), _LONGEST)


def _ended(status: int) -> str:
    with suppress(ValueError):
        return f"killed by {Signals(-status if status < 0 else status - 128).name}"
    return f"ended with status {status}"


def _parsed(output: str | None) -> _Answer | None:
    """The last line that is an answer: engines write warnings before and after it."""
    for line in reversed((output or "").splitlines()):
        if line.startswith("{"):
            with suppress(ValidationError):
                return _ANSWER.validate_json(line)
    return None


def known(context: Context) -> Capabilities | None:
    """What the build knows; None of an engine that nobody asks.

    Raises:
        UsageError: It was not asked yet.
    """
    if not context.engine.probe:
        return None
    found = context.rundir.read("capabilities", Capabilities)
    if found is None:
        raise UsageError(f"{context.rundir.path}: nothing is prepared; start again with `harness serve`")
    return found


def fitted(context: Context, known: Capabilities, servers: Sequence[Server]) -> list[Server]:
    """``servers`` as this build takes them, on this host: with old spellings where it lacks the newest one, and with
    what the host's fabric asks of it. The router is no engine: it stays as it is.

    Raises:
        CannotJudge: The build does not know what the case sets. That is no wrong input: the case may be right for a
            newer build, and who runs it on several finds in the JUnit file of which build it is not.
    """
    prepared, engine = context.prepared, context.engine
    roles = prepared.case.topology.roles
    asked = engine.no_multicast if machine.SYMMETRIC_MEMORY in machine.no_multicast() else {}
    host = {name: value for name, value in asked.items() if known.knows(name)}
    found = [
        adapt(replace(each, env={**host, **each.env}), known, engine.renames) if each.role in roles else (each, [])
        for each in servers
    ]
    for server, translated in found:
        for new, old in translated:
            context.progress.note(f"{server.name}: {new} is {old} in this build")
    adapted = [server for server, _ in found]
    own = [server for server in adapted if server.role in roles]
    if wrong := unknown(prepared.case, own, known, engine.renames, engine.prefixes):
        build = engine.build(prepared.versions)
        raise CannotJudge(f"{prepared.suite}/{prepared.name} does not fit {build}", cause="; ".join(wrong))
    if doubts := doubtful(prepared.case, own, known, engine.prefixes):
        context.rundir.write("capabilities", Capabilities, replace(known, doubts=doubts))
        context.progress.note(replace(known, doubts=doubts).not_verified)
    return adapted
