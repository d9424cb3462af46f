"""The engine, asked: what its environment has, which flags and variables its server knows, and whether a case fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from harness.base import programs
from harness.base.clock import Deadline
from harness.base.domain import Server
from harness.base.errors import CannotJudge, UsageError
from harness.containers import lifecycle
from harness.engines.capabilities import Capabilities, adapt, unknown
from harness.engines.diagnosis import root_cause, tail
from harness.engines.engine import EngineSpec
from harness.host import answer_cache, files, machine, processes
from harness.host.data_files import cache_folder
from harness.host.ownership import PROCESS
from harness.plan import limits
from harness.run.context import Context
from harness.run.probes import environment as environment_probe
from harness.run.rundir import Runtime

_ENVIRONMENT = programs.text(environment_probe)
Ask = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program, given with its arguments, with the engine's interpreter, and returns exit status and output."""

_VERSIONS = TypeAdapter(dict[str, str])
_CAPABILITIES = TypeAdapter(Capabilities)


def ask(context: Context) -> None:
    """Ask once per build: write the versions into ``case.json`` and what the build knows into ``capabilities.json``.

    Raises:
        CannotJudge: The engine is not there or does not answer.
    """
    engine, runtime = context.engine, context.runtime
    asked = asker(context)
    versions, state = environment(engine, runtime.engine_python, asked)
    context.rundir.save(context.prepared.model_copy(update={"versions": versions}))
    if not engine.probe:
        return
    where = runtime.environment if runtime.container else runtime.engine_python
    answer = cache_folder("capabilities") / f"{files.digest_text(engine.probe, where, state)}.json"
    found = answer_cache.read(answer, _CAPABILITIES)
    if found is None:
        context.progress.note(f"asking {engine.name} for its flags, which takes seconds; the next run knows")
        status, output = asked([engine.probe])
        found = _parsed(output) if status == 0 else None
        if found is None:
            raise CannotJudge(
                f"{engine.name} cannot be asked for its flags",
                cause=root_cause(output, engine.echoes) or "no error in its output",
                details=tail(output, 40),
            )
        answer_cache.keep(answer, _CAPABILITIES, found)
    context.rundir.write("capabilities", Capabilities, found)


def fitted(context: Context, servers: Sequence[Server]) -> list[Server]:
    """``servers`` as this build takes them, on this host: with old spellings where it lacks the newest one, and with
    what the host's fabric asks of it. The router is no engine: it stays as it is.

    Raises:
        CannotJudge: The build does not know what the case sets. That is no wrong input: the case may be right for a
            newer build, and who runs it on several finds in the JUnit file of which build it is not.
    """
    prepared, engine = context.prepared, context.engine
    if not engine.probe:
        return list(servers)
    known = context.rundir.read("capabilities", Capabilities)
    if known is None:
        raise UsageError(f"{context.rundir.path}: nothing is prepared; start again with `harness serve`")
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
    return adapted


def environment(engine: EngineSpec, python: str, asked: Ask) -> tuple[dict[str, str], str]:
    """Versions of the engine and of what it runs on, and all that changes when the build does, as text.

    Raises:
        CannotJudge: The interpreter does not run, or has no engine.
    """
    status, output = asked([_ENVIRONMENT, engine.name, *engine.distributions])
    if status != 0:
        raise CannotJudge(
            f"{python} does not run Python", cause=root_cause(output, engine.echoes) or "no error in its output"
        )
    state = next((line for line in reversed(output.splitlines()) if line.startswith("{")), "")
    try:
        said: Any = from_json(state)
        versions = _VERSIONS.validate_python(said.get("versions"))
    except ValueError:
        raise CannotJudge(f"{python} does not run Python", cause=tail(output, 1)) from None
    if not engine.build(versions):
        raise CannotJudge(f"{python} has no {engine.name}; give another with --engine-python")
    return versions, state


def asker(context: Context) -> Ask:
    """Runs programs with the engine's interpreter, where the engine is, within one limit for all of them."""
    return partial(_execute, context, Deadline(limits.questions(context.case), context.clock))


def _execute(context: Context, deadline: Deadline, arguments: Sequence[str]) -> tuple[int, str]:
    runtime, prepared = context.runtime, context.prepared
    argv = [runtime.engine_python, "-c", *arguments]

    limit = Deadline(deadline.cut(context.case.timeouts.start), context.clock)

    def on_tick(_line: str = "") -> None:
        if limit.passed:
            raise CannotJudge(f"{runtime.engine_python} did not answer within {round(limit.seconds, 1):g} s")

    if runtime.container:
        return _in_container(context, runtime, argv, on_tick)
    # Labelled like a server, so that `harness reap` finds it after a killed harness.
    env = processes.environment(prepared.label(context.rundir.path).under(PROCESS))
    try:
        return processes.run(argv, env=env, on_tick=on_tick)
    except OSError as error:
        raise CannotJudge(f"{runtime.engine_python} cannot be run", cause=str(error)) from error


def _in_container(
    context: Context, runtime: Runtime, argv: Sequence[str], on_tick: Callable[[], None]
) -> tuple[int, str]:
    """The container shares nothing but the run directory, so the output comes back as a log in it."""
    log = context.rundir.log("engine-asked")
    command = ["sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", str(log), *argv]
    try:
        return lifecycle.execute(runtime.container, command, on_tick), log.read_text(errors="replace")
    except (lifecycle.ContainerFailed, OSError) as error:
        raise CannotJudge(f"{runtime.engine_python} cannot be run in the container", cause=str(error)) from error


def _parsed(output: str) -> Capabilities | None:
    """The last line that is an answer: engines write warnings before and after it."""
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            try:
                return _CAPABILITIES.validate_json(line)
            except ValidationError:
                continue
    return None
