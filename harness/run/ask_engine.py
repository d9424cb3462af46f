"""The engine, asked: how programs run with its interpreter, and what its environment has."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from pydantic import TypeAdapter

from harness.base import programs
from harness.base.clock import Deadline
from harness.base.errors import CannotJudge
from harness.containers import lifecycle
from harness.engines.engine import EngineSpec
from harness.host import processes
from harness.host.ownership import PROCESS
from harness.logs.root_cause import root_cause, tail
from harness.plan import limits
from harness.run.context import Context
from harness.run.probes import environment as environment_probe
from harness.run.rundir import Runtime

_ENVIRONMENT = programs.text(environment_probe)
MOST = 8 << 20
"""Bytes of output that are read: a help has a fifth of a megabyte."""
Ask = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command where the engine is, and returns exit status and output."""


@dataclass(frozen=True)
class Starts:
    """The ways to start its server that a build has, empty where it lacks one: what users type, and the module."""

    command: tuple[str, ...] = ()
    module: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Environment:
    versions: dict[str, str]
    starts: Starts = field(default_factory=Starts)


@dataclass(frozen=True)
class Build:
    """What is known of a build without importing it.

    Attributes:
        versions: Of the engine and of what it runs on, by distribution.
        starts: The ways to start its server.
        state: All that changes when the build does, as text.
    """

    versions: dict[str, str]
    starts: Starts
    state: str


_SAID = TypeAdapter(_Environment)


def environment(engine: EngineSpec, python: str, asked: Ask) -> Build:
    """What the engine's environment has.

    Raises:
        CannotJudge: The interpreter does not run, or has no engine.
    """
    question = {
        "engine": engine.name,
        "distributions": engine.distributions,
        "command": engine.command,
        "module": engine.module,
        "called": python,
    }
    status, output = asked([python, "-c", _ENVIRONMENT, json.dumps(question)])
    if status != 0:
        raise CannotJudge(
            f"{python} does not run Python", cause=root_cause(output, engine.echoes) or "no error in its output"
        )
    state = programs.answer(output)
    try:
        said = _SAID.validate_json(state)
    except ValueError:
        raise CannotJudge(f"{python} does not run Python", cause=tail(output, 1)) from None
    if not engine.build(said.versions):
        raise CannotJudge(f"{python} has no {engine.name}; give another with --engine-python")
    return Build(said.versions, said.starts, state)


def asker(context: Context, seconds: float | None = None) -> Ask:
    """Runs commands where the engine is, within one limit for all of them: ``seconds``, or that of all questions."""
    whole = limits.questions(context.case) if seconds is None else seconds
    return partial(_execute, context, Deadline(whole, context.clock))


def here(seconds: float) -> Ask:
    """Runs commands on this machine without a case, within one limit for all of them."""
    deadline = Deadline(seconds)

    def asked(argv: Sequence[str]) -> tuple[int, str]:
        def on_tick(_line: str) -> None:
            if deadline.passed:
                raise CannotJudge(f"{argv[0]} did not answer within {deadline.seconds:g} s")

        return _run(argv, processes.environment({}), on_tick)

    return asked


def _run(argv: Sequence[str], env: Mapping[str, str], on_tick: Callable[[str], None]) -> tuple[int, str]:
    try:
        return processes.run(argv, env=env, on_tick=on_tick, most=MOST)
    except processes.WroteTooMuch as error:
        raise CannotJudge(f"{argv[0]} {error}") from None
    except OSError as error:
        raise CannotJudge(f"{argv[0]} cannot be run", cause=str(error)) from error


def _execute(context: Context, deadline: Deadline, argv: Sequence[str]) -> tuple[int, str]:
    runtime, prepared = context.runtime, context.prepared
    limit = Deadline(deadline.cut(context.case.timeouts.start), context.clock)

    def on_tick(_line: str = "") -> None:
        if limit.passed:
            raise CannotJudge(f"{argv[0]} did not answer within {round(limit.seconds, 1):g} s")

    if runtime.container:
        return _in_container(context, runtime, argv, on_tick)
    # Labelled like a server, so that `harness reap` finds it after a killed harness.
    return _run(argv, processes.environment(prepared.label(context.rundir.path).under(PROCESS)), on_tick)


def _in_container(
    context: Context, runtime: Runtime, argv: Sequence[str], on_tick: Callable[[], None]
) -> tuple[int, str]:
    """The container shares nothing but the run directory, so the output comes back as a log in it."""
    log = context.rundir.log("engine-asked")
    command = ["sh", "-c", 'log=$1; shift; exec "$@" >"$log" 2>&1', "sh", str(log), *argv]
    try:
        status = lifecycle.execute(runtime.container, command, on_tick)
        with log.open(errors="replace") as output:
            return status, output.read(MOST)
    except (lifecycle.ContainerFailed, OSError) as error:
        raise CannotJudge(f"{argv[0]} cannot be run in the container", cause=str(error)) from error
