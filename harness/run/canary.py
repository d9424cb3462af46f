"""The canary: is everything in place that a case needs? Asked before a device is taken."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from harness import __version__
from harness.base import programs, secrets
from harness.base.domain import Platform
from harness.base.errors import CannotJudge, UsageError
from harness.cases.model import Case
from harness.containers import image_store, lifecycle
from harness.datasets.pinned_files import DATASETS
from harness.devices import accelerators
from harness.devices.platform import DriverSilent
from harness.engines import ENGINES
from harness.engines.capabilities import Capabilities
from harness.host.data_files import DATA_FOLDER, fetch
from harness.images import engine_image
from harness.logs.root_cause import root_cause, tail
from harness.protocols import datasets
from harness.run import ask_engine, ask_flags, canary_checks, canary_imports
from harness.run.canary_checks import Finding, Imports, Live, Needs
from harness.run.context import Context
from harness.run.probes import imports as imports_probe
from harness.run.probes import surroundings
from harness.run.selection import matching

IN_IMAGE = "INFERENCE_HARNESS_IMAGE"
"""Environment variable that images of ours set."""

_BY_HAND = 600.0
"""Seconds for all questions where no case says how long an engine may take to start."""
_ONE_WAY = 120.0
"""The same for one way of asking for flags, none of which is needed."""
_FINDINGS = list[Finding]
_IMPORTS = TypeAdapter(Imports)
_IMPORTS_PROGRAM = programs.text(imports_probe)
_LIVE_PROGRAM = programs.text(surroundings)
"""Asked every time; what can be imported is kept."""
T = TypeVar("T")


def check(context: Context) -> list[Finding]:
    """Ask everything where the run's engine is, and write the answers into ``canary.json``.

    Raises:
        CannotJudge: Something is not in place: the first that is not.
    """
    prepared, runtime = context.prepared, context.runtime
    known = ask_flags.known(context)
    needs = _of_case(prepared.case, prepared.platform, prepared.data, known, image=runtime.kind == "docker")
    where = runtime.environment if runtime.container else runtime.engine_python
    harness_python = str(Path(engine_image.HARNESS).parent / "python") if runtime.container else ""
    found = look(
        needs,
        runtime.engine_python,
        ask_engine.asker(context),
        where=where,
        folder=context.rundir.path,
        harness_python=harness_python,
        note=context.progress.note,
    )
    context.rundir.write("canary", _FINDINGS, found)
    require(found)
    return found


def by_hand(
    wanted: str | None, cases: Path, name: str, platform: str, python: Path | None, environments: Path
) -> list[Finding]:
    """Every check on this machine, or in the image that the harness runs in.

    Args:
        wanted: Id of a case; None for all that an engine may need, data files included where their folder is named.
        cases: Folder of the case files.
        name: Of the engine, where no case is given.
        platform: ``cpu``, ``cuda`` or ``rocm``.
        python: The engine's interpreter; None for that of the image that this runs in, else of the locked environment.
        environments: Folder of the locked environments.

    Raises:
        UsageError: There is no such engine, platform or interpreter.
        CannotJudge: The interpreter does not run, or has no engine.
    """
    on = accelerators.named(platform)
    case = matching(cases, wanted=[wanted], platform=platform)[0].case if wanted is not None else None
    name = case.engine.name if case else name
    if name not in ENGINES:
        raise UsageError(f"--engine {name}: must be one of {', '.join(ENGINES)}")
    called = str(python.absolute() if python else _interpreter(name, on, environments))
    asked = ask_engine.here(_BY_HAND)
    known = None
    if ENGINES[name].probe:
        build = ask_engine.environment(ENGINES[name], called, asked)
        known = ask_flags.capabilities(
            ENGINES[name], build, called, called, lambda: ask_engine.here(_ONE_WAY), lambda _: None
        )
    if case:
        data = {each.file: str(fetch(each)) for each in datasets(case.evaluation)}
        needs = _of_case(case, on, data, known, image=False)
    else:
        needs = Needs(
            engine=name,
            platform=on,
            modules=canary_checks.modules(ENGINES[name], command=bool(known and known.command), router=True),
            flags=canary_checks.flags(known),
            transports=canary_checks.ALL_TRANSPORTS[name],
            data=_data_at_hand(),
            harness=__version__,
            image=IN_IMAGE in os.environ,
        )
    with tempfile.TemporaryDirectory(prefix="inference-harness-canary-") as folder:
        return look(needs, called, asked, where=called, folder=Path(folder), note=lambda _: None)


def _interpreter(engine: str, platform: Platform, environments: Path) -> Path:
    """That of the image that this runs in, or of the locked environment as a run installs it.

    Raises:
        UsageError: There is neither; with the next step.
    """
    own = Path(engine_image.ENGINE_PYTHON)
    locked = (environments / f"engine-{engine}-{platform}" / "bin" / "python").absolute()
    for each in (own, locked):
        if each.exists():
            return each
    try:
        there = image_store.newest(engine_image.repository(engine, platform))
    except lifecycle.ContainerFailed:
        there = None
    step = (
        f"it is in an image: docker run --rm {there} canary --engine {engine} --platform {platform}"
        if there
        else "name an interpreter with --engine-python; the first run of a case makes an image or installs it"
    )
    raise UsageError(f"no {engine} for {platform} is installed here ({locked.parent.parent} is not there); {step}")


def _of_case(
    case: Case, platform: Platform, data: Mapping[str, str], known: Capabilities | None, *, image: bool
) -> Needs:
    """What a case needs; ``data`` are the paths of its data files by name, ``known`` is what the build knows."""
    env: dict[str, str] = {}
    for role in case.topology.roles:
        env |= case.serve_of(role).env
    command, router = bool(known and known.command), case.topology.kind == "disagg"
    return Needs(
        engine=case.engine.name,
        platform=platform,
        modules=canary_checks.modules(ENGINES[case.engine.name], command=command, router=router),
        flags=canary_checks.flags(known),
        transports=canary_checks.transports(case),
        libraries=ENGINES[case.engine.name].needed(case),
        env=env,
        data={data[each.file]: each.sha256 for each in datasets(case.evaluation)},
        harness=__version__,
        image=image or IN_IMAGE in os.environ,
    )


def _data_at_hand() -> dict[str, str]:
    """SHA-256 of every data file by path, where the user or the image names a folder of them."""
    folder = os.environ.get(DATA_FOLDER)
    return {str(Path(folder) / each.file): each.sha256 for each in DATASETS} if folder else {}


def require(found: list[Finding]) -> None:
    """Raise if something is not in place.

    Raises:
        CannotJudge: The first that is not.
    """
    for each in found:
        if not each.ok:
            raise CannotJudge(f"canary: {each.check}", cause=each.text)


def look(
    needs: Needs,
    python: str,
    asked: ask_engine.Ask,
    *,
    where: str,
    folder: Path,
    harness_python: str = "",
    note: Callable[[str], None],
) -> list[Finding]:
    """Every check, in order.

    Args:
        needs: Of the case.
        python: The engine's interpreter, as it is called.
        asked: Runs commands where it is.
        where: What stands for the build's place in the key of its kept answer: image or interpreter.
        folder: The run directory.
        harness_python: Interpreter of the image's harness; empty where the harness that asks is the one that runs.
        note: Called before what takes seconds.

    Raises:
        CannotJudge: The interpreter does not run, or has no engine.
    """
    spec = ENGINES[needs.engine]
    build = ask_engine.environment(spec, python, asked)
    accelerator = accelerators.of(needs.platform)
    wanted = canary_imports.question(
        python,
        needs.platform,
        where,
        build,
        modules=needs.modules,
        transports=needs.transports,
        libraries=list(needs.libraries.values()),
    )
    imports = wanted.kept
    if imports is None:
        note(f"canary: importing {needs.engine}, which takes seconds; the next run knows")
        status, output = asked(wanted.argv)
        imports = wanted.keep(output) if status == 0 else None
        if imports is None:
            raise _silent(status, output, spec.echoes)
    live_question = {
        "engine": needs.engine,
        # No more of the environment than is looked at: what a program is given, everybody on the host can read.
        "env": looked_at(needs.env),
        "folder": str(folder),
        "data": list(needs.data),
        "harness": harness_python,
        "version": needs.harness,
    }
    live = _answer(asked, python, _LIVE_PROGRAM, live_question, Live, spec.echoes)
    # The driver is the host's; it is asked here, because a container without devices does not show it.
    found, why = None, ""
    if accelerator.has_devices:
        try:
            found = accelerator.supported()
        except DriverSilent as error:
            why = str(error)
    findings = canary_checks.judge(needs, build.versions, imports, live, found, why)
    return [replace(each, check=secrets.mask(each.check), text=secrets.mask(each.text)) for each in findings]


def looked_at(env: Mapping[str, str]) -> dict[str, str]:
    """What the canary looks at of an environment."""
    return {name: env[name] for name in surroundings.LOOKED_AT if name in env}


def _answer(
    asked: ask_engine.Ask,
    python: str,
    program: str,
    question: Mapping[str, object],
    kind: type[T],
    echoes: tuple[str, ...],
) -> T:
    status, output = asked([python, "-c", program, json.dumps(question)])
    if status == 0:
        with suppress(ValidationError):
            return TypeAdapter(kind).validate_json(programs.answer(output))
    raise _silent(status, output, echoes)


def _silent(status: int, output: str, echoes: tuple[str, ...]) -> CannotJudge:
    return CannotJudge(
        f"canary: the engine's interpreter ended with status {status}",
        cause=root_cause(output, echoes) or "no error in its output",
        details=tail(output, 40),
    )
